"""Growing waits between attempts to sign in, counted in Redis per address and per account; while it is away, per process.

The first few attempts cost no wait, then 1, 2, 4 … seconds, 15 minutes at most. They cannot lock an owner out: a browser
that the person signed in from before has a count of its own, that nobody else can raise, and a code by mail needs no wait.
Keys are keyed hashes: neither names nor addresses reach Redis.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from threading import Lock
from typing import Final, Literal

from flask import request
from redis.exceptions import RedisError

from cloudpriv.api.endpoint import call
from cloudpriv.platform.text import normalised
from cloudpriv.portal import cookies

Kind = Literal["address", "account", "device", "code"]
# How many attempts cost no wait: many people may share an address.
FREE: Final[Mapping[Kind, int]] = {"address": 20, "account": 3, "device": 3, "code": 6}
LONGEST_WAIT: Final = 15 * 60  # seconds
FORGOTTEN: Final = 24 * 60 * 60  # seconds after the last attempt
PREFIX: Final = "cloudpriv:wait:"
MOST_KEYS: Final = 10_000
IPV6_NETWORK: Final = 64  # bits that one subscriber has

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
        return self.kind not in ("address", "code")


class _Alone:
    """Counts of this process while Redis is away."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, float]] = {}
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
                number, at = self._counts.pop(each.name, (0, 0.0))
                if not each.forgiven and number > 1:
                    self._counts[each.name] = (number - 1, at)

    def clear(self) -> None:
        """Forget every count."""
        with self._lock:
            self._counts.clear()

    def _read(self, name: str, now: float) -> tuple[int, float]:
        number, at = self._counts.get(name, (0, 0.0))
        return (0, 0.0) if at + FORGOTTEN <= now else (number, at)

    def _add(self, counts: tuple[Count, ...], now: float) -> None:
        if len(self._counts) >= MOST_KEYS:
            self._counts.clear()
        for each in counts:
            self._counts[each.name] = (self._read(each.name, now)[0] + 1, now)


ALONE: Final = _Alone()


def counts_of_sign_in(service: str, account_name: str, username: str) -> tuple[Count, ...]:
    """What an attempt to sign in is counted by: a browser that this person signed in from before counts apart."""
    if cookies.knows(service, account_name, username):
        return (_count("device", cookies.read(cookies.DEVICE) or ""),)
    return (_count("address", _network()), _count("account", f"{service}\0{normalised(account_name)}"))


def own_count(service: str, account_name: str, username: str) -> tuple[Count, ...]:
    """What a code ends: the count of the browser or the account, and nothing of the address, where it was not counted."""
    return counts_of_sign_in(service, account_name, username)[-1:]


def counts_of_code() -> tuple[Count, ...]:
    """What asking for a code and typing one is counted by: the address alone, so that nobody keeps others from it."""
    return (_count("code", _network()),)


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


def _network() -> str:
    """The caller's address; of IPv6 the network, since one subscriber has all of its addresses."""
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    return str(address) if address.version == 4 else str(ip_network((address, IPV6_NETWORK), strict=False))
