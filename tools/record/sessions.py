"""The accounting that a VPN gateway would send for the demo's devices: a seeded plan, the same on every run.

Times lie in 2018 or in autumn 2026. Within a session counters only grow. As on a real line some packets come
twice, late or in the wrong order, some Starts and Stops never come, and some counters pass 2^32.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

Account = dict[str, Any]

# First and last moment of each set; the last leaves room for its longest session.
SETS = {
    "2018": (datetime(2018, 4, 2, tzinfo=UTC), datetime(2018, 12, 19, tzinfo=UTC)),
    "recent": (datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)),
}
SESSIONS_PER_DEVICE = 20
# A session lasts two minutes to sixteen hours, moves 2 kB to 600 MB, and one in twenty more than 4 GiB.
_SECONDS = (120, 57_600)
_BYTES = (2_000, 600_000_000)
_WRAPPED = (1 << 32, 20 << 30)
_CAUSES = ("User-Request", "Lost-Carrier", "Idle-Timeout", "Session-Timeout", "NAS-Request")


@dataclass(frozen=True)
class Session:
    """One tunnel of a device; `number` is its place in the gateway's own count."""

    number: int
    user: str
    account: str
    with_class: bool
    gateway: str
    endpoint: str
    start: int
    seconds: int
    octets_in: int
    octets_out: int
    cause: str


@dataclass(frozen=True)
class Packet:
    """One Accounting-Request: the event `elapsed` seconds into the session, sent `delay` seconds later."""

    session: Session
    status: str
    elapsed: int
    delay: int

    @property
    def event(self) -> int:
        """When it happened on the gateway, the same however often and late it is sent (RFC 2869 section 5.3)."""
        return self.session.start + self.elapsed

    @property
    def sent(self) -> int:
        return self.event + self.delay


def packets(accounts: list[Account], which: str) -> list[Packet]:
    """All packets of one set in the order in which the gateways send them."""
    random = Random(f"cloudpriv {which}")  # noqa: S311 (a plan to repeat, nothing secret)
    planned = [packet for session in _sessions(accounts, which, random) for packet in _packets(session, random)]
    planned.sort(key=lambda packet: packet.sent)
    return planned


def _sessions(accounts: list[Account], which: str, random: Random) -> Iterator[Session]:
    number = 0
    first, last = (int(moment.timestamp()) for moment in SETS[which])
    for account in accounts:
        if which not in account["traffic"]:
            continue
        for place, device in enumerate(account["device"]):
            for _ in range(SESSIONS_PER_DEVICE):
                number += 1
                endpoint = _endpoint(account["account_name"], place)
                start = random.randint(first, last)
                yield _session(random, account, device["common_name"], endpoint, number=number, start=start)


def _session(random: Random, account: Account, device: str, endpoint: str, *, number: int, start: int) -> Session:
    name = account["account_name"]
    wide = random.random() < 0.05
    return Session(
        number=number,
        # Both ways in which gateways put the account into the name; without Class that is its only mention.
        user=f"{device}.{name}" if number % 3 == 0 else f"{device}@{name}",
        account=name,
        with_class=number % 4 != 0,
        gateway="vpn-eu1" if account["owner"]["locale"] != "en" else "vpn-us1",
        endpoint=endpoint,
        start=start,
        seconds=_between(random, _SECONDS),
        octets_in=_between(random, _WRAPPED if wide else _BYTES),
        octets_out=_between(random, _BYTES),
        cause=random.choice(_CAUSES),
    )


def _endpoint(account: str, place: int) -> str:
    """Where a device calls from (RFC 5737, RFC 3849: documentation); an account's second one has IPv6."""
    line = len(account)
    return f"2001:db8:{line:x}::{place:x}" if place == 1 else f"203.0.113.{line * 8 + place}"


def _packets(session: Session, random: Random) -> Iterator[Packet]:
    """Start, up to four Interim-Updates and Stop, less what is lost, plus what is sent twice."""
    moments = [("Start", 0)]
    updates = random.randint(0, 4)
    moments += [("Interim-Update", session.seconds * nth // (updates + 1)) for nth in range(1, updates + 1)]
    moments += [("Stop", session.seconds)]
    # One Start in 30 and one Stop in 20 never come; a session always keeps one of the two.
    lost = random.choices(["Start", "Stop", ""], [2, 3, 55])[0]
    for status, elapsed in moments:
        if status == lost:
            continue
        packet = Packet(session, status, elapsed, _delay(random, session.seconds - elapsed))
        yield packet
        if random.random() < 0.06:
            # The gateway saw no answer: it asks again, and says how much later (RFC 2866 section 5.2).
            yield replace(packet, delay=packet.delay + random.randint(3, 15))


def _delay(random: Random, remaining: int) -> int:
    """Mostly none; sometimes seconds, and sometimes the packet was queued until the session was over."""
    return random.choices([0, random.randint(1, 40), remaining + random.randint(5, 60)], [88, 8, 4])[0]


def _between(random: Random, limits: tuple[int, int]) -> int:
    """A number whose magnitude, not value, is evenly spread."""
    return round(math.exp(random.uniform(math.log(limits[0]), math.log(limits[1]))))
