"""Growing waits between attempts at a password, of portal and API together, counted in Redis; while it is away, per process.

The first few attempts cost no wait, then 1, 2, 4 … seconds, 15 minutes at most: per address, and per account. Strangers
cannot lock an owner out: what the person has shown to be theirs, a browser or a session, counts apart, and a code by mail
needs no wait of the account's. Keys are keyed hashes: neither names nor addresses reach Redis.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from threading import Lock
from typing import Final, Literal

from flask import request
from redis.exceptions import RedisError

from cloudpriv.api.endpoint import call
from cloudpriv.platform.errors import RateLimitedError
from cloudpriv.platform.text import normalised

Kind = Literal["address", "site", "account", "person", "device", "devices", "code", "codes"]
# How many attempts cost no wait: many people may share an address, and one has several browsers. Those of an IPv6 site are
# 16 times those of one of its 65,536 networks.
FREE: Final[Mapping[Kind, int]] = {
    "address": 20, "site": 320, "account": 3, "person": 3, "device": 3, "devices": 12, "code": 6, "codes": 96,
}  # fmt: skip
LONGEST_WAIT: Final = 15 * 60  # seconds
FORGOTTEN: Final = 24 * 60 * 60  # seconds after the last attempt
PREFIX: Final = "cloudpriv:wait:"
MOST_KEYS: Final = 10_000  # of a process alone
IPV6_NETWORK: Final = 64  # bits that one subscriber has
IPV6_SITE: Final = 48  # bits of what one customer of a provider may have

# Either every count goes up and nobody waits, or nothing is counted and the longest wait is told.
TAKE: Final = """
local wait = 0
for i, key in ipairs(KEYS) do
  local n, at = unpack(redis.call('HMGET', key, 'n', 'at'))
  local over = (tonumber(n) or 0) - tonumber(ARGV[3 + i])
  if over >= 0 then
    local left = tonumber(at) + math.min(2 ^ math.min(over, 20), tonumber(ARGV[2])) - tonumber(ARGV[1])
    wait = math.max(wait, math.min(left, tonumber(ARGV[2])))
  end
end
if wait > 0 then return tostring(wait) end
for _, key in ipairs(KEYS) do
  redis.call('HINCRBY', key, 'n', 1)
  redis.call('HSET', key, 'at', ARGV[1])
  redis.call('EXPIRE', key, ARGV[3])
end
return '0'
"""
# A right attempt is none to be counted: its own count begins anew, that of its address goes back by this one alone, so that
# whoever has an account somewhere cannot use it to guess at others without waiting.
FORGIVE: Final = """
for i, key in ipairs(KEYS) do
  if ARGV[i] == '1' then redis.call('DEL', key)
  elseif tonumber(redis.call('HGET', key, 'n') or '0') > 0 then redis.call('HINCRBY', key, 'n', -1) end
end
return 0
"""


@dataclass(frozen=True)
class Count:
    """Attempts that are counted together, by the name of their hash."""

    kind: Kind
    name: str

    @property
    def forgiven(self) -> bool:
        """Whether a right attempt ends the count; those of an address count other people's too."""
        return self.kind not in ("address", "site", "code", "codes")


class _Alone:
    """Counts of this process while Redis is away, the one that was raised longest ago first.

    When there is no room for another, that one goes: to be rid of a count takes as many attempts at other names from as many
    addresses as there is room for, which is no way to guess faster.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = Lock()

    def take(self, counts: tuple[Count, ...], now: float) -> float:
        with self._lock:
            wait = max((_left(*self._read(each.name, now), FREE[each.kind], now) for each in counts), default=0.0)
            if wait <= 0:
                self._add(counts, now)
            return max(0.0, wait)

    def forgive(self, counts: tuple[Count, ...]) -> None:
        with self._lock:
            for each in counts:
                number, at = self._counts.get(each.name, (0, 0.0))
                if each.forgiven or number <= 1:
                    self._counts.pop(each.name, None)
                else:
                    self._counts[each.name] = (number - 1, at)

    def clear(self) -> None:
        """Forget every count."""
        with self._lock:
            self._counts.clear()

    def _read(self, name: str, now: float) -> tuple[int, float]:
        number, at = self._counts.get(name, (0, 0.0))
        return (0, 0.0) if at + FORGOTTEN <= now else (number, at)

    def _add(self, counts: tuple[Count, ...], now: float) -> None:
        for each in counts:
            self._counts[each.name] = (self._read(each.name, now)[0] + 1, now)
            self._counts.move_to_end(each.name)
        while len(self._counts) > MOST_KEYS:
            self._counts.popitem(last=False)


ALONE: Final = _Alone()


def counts_of_sign_in(service: str, account_name: str, username: str, known: str | None = None) -> tuple[Count, ...]:
    """What an attempt at a password is counted by: the caller's address, the account and the person.

    `known` names what this person has shown to be theirs, a browser or a session: it counts apart, by itself and together
    with all others of the person, so that whoever stole several guesses no faster.
    """
    account = f"{service}\0{normalised(account_name)}"
    person = f"{account}\0{normalised(username)}"
    if known is None:  # by the person, too: a colleague's right password forgives the account, and no guess at this one
        return (*_counts_of_caller("address", "site"), _count("account", account), _count("person", person))
    return (_count("device", f"{person}\0{known}"), _count("devices", person))


def own_counts(counts: tuple[Count, ...]) -> tuple[Count, ...]:
    """Those of them that are the person's alone: what a code ends, where no address was counted."""
    return tuple(each for each in counts if each.forgiven)


def counts_of_code(known: str | None = None) -> tuple[Count, ...]:
    """What asking for a code and typing one is counted by: the address alone, so that nobody elsewhere keeps others from it.

    `known` names a browser that the person signed in from before: it counts apart from whoever else has its address.
    """
    return _counts_of_caller("code", "codes") if known is None else (_count("code", f"browser\0{known}"),)


def take(counts: tuple[Count, ...]) -> int:
    """Count an attempt, and 0; or the seconds to wait before one is taken, and nothing is counted."""
    now = call().now.timestamp()
    try:
        script = call().run.services.redis.register_script(TAKE)
        free = [FREE[each.kind] for each in counts]
        wait = float(script([PREFIX + each.name for each in counts], [now, LONGEST_WAIT, FORGOTTEN, *free]))
    except RedisError:
        wait = ALONE.take(counts, now)
    return -int(-wait // 1)


def require(counts: tuple[Count, ...]) -> None:
    """Count an attempt. Raises RateLimitedError, which says how long to wait, and nothing is counted."""
    wait = take(counts)
    if wait:
        raise RateLimitedError(after=wait)


def forgive(counts: tuple[Count, ...]) -> None:
    """The attempt that was counted last was right."""
    ALONE.forgive(counts)
    try:
        script = call().run.services.redis.register_script(FORGIVE)
        script([PREFIX + each.name for each in counts], [int(each.forgiven) for each in counts])
    except RedisError:
        return


def _left(number: int, at: float, free: int, now: float) -> float:
    """Seconds until the next attempt; never more than the longest wait, also when a clock was put back."""
    over = number - free
    return 0.0 if over < 0 else min(at + min(2 ** min(over, 20), LONGEST_WAIT) - now, LONGEST_WAIT)


def _count(kind: Kind, of: str) -> Count:
    return Count(kind, call().run.services.plane.keys.blind_index("portal throttle", f"{kind}\0{of}").hex())


def _counts_of_caller(one: Kind, whole: Kind) -> tuple[Count, ...]:
    """By the caller's address; of IPv6 by the network, since one subscriber has all of its addresses, and by the site."""
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return (_count(one, "unknown"),)
    if address.version == 4:
        return (_count(one, str(address)),)
    network, site = (str(ip_network((address, bits), strict=False)) for bits in (IPV6_NETWORK, IPV6_SITE))
    return (_count(one, network), _count(whole, site))
