"""One traffic record: its members, what makes it unacceptable, and the line it becomes for COPY.

This is done some ten thousand times a second, so a record costs one struct, a few comparisons and one formatted line.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from cloudpriv.platform.rejections import Fault, Rejection

NULL: Final = r"\N"
# A source's clock may be this much ahead of ours (design, section 4).
TOLERANCE: Final = timedelta(minutes=5)
# No clock that counts from the Unix epoch can tell of an earlier session.
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST: Final = 1e10  # seconds, 317 years: further than any acceptable end, and still a timedelta
COPY_ESCAPES: Final = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Word = Annotated[str, Meta(min_length=1, max_length=100)]
Time = Annotated[datetime, Meta(tz=True)]
# Negative ones are read, to be named as what they are.
Count = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Seconds = Annotated[float, Meta(ge=-LONGEST, le=LONGEST)]


class Record(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """What a backend tells of one session of a device, once or several times while it lasts.

    `account` and `device` are ids or names; `source` and `session` together identify the session in its account; the end is
    given as `ended_at` or as `duration_s`, or not at all while the session lasts. Counters are bytes.
    """

    account: Name
    device: Name
    session: Name
    started_at: Time
    source: Annotated[str, Meta(max_length=200)] = ""
    ended_at: Time | None = None
    duration_s: Seconds | None = None
    bytes_from_device: Count | None = None
    bytes_to_device: Count | None = None
    protocol: Word | None = None
    remote_address: Word | None = None
    username: Name | None = None
    end_reason: Word | None = None


Times = tuple[datetime | None, str, str | None]
"""When a session ended, if it did; its start and its end as texts."""


@dataclass(frozen=True)
class Batch:
    """The readable records of a request, their indexes in it, and those that could not be read."""

    records: Sequence[Record]
    indexes: Sequence[int]
    rejected: list[Rejection] = field(default_factory=list)


class CopyText(dict[str | None, str]):
    """Texts as COPY's text format writes them, each worked out once a batch."""

    def __missing__(self, text: str | None) -> str:
        made = self[text] = NULL if text is None else text.translate(COPY_ESCAPES)
        return made


class CopyAddress(dict[str | None, str | None]):
    """IP addresses as COPY writes them, None for what is none. By the C library: `ipaddress` takes six times as long."""

    def __missing__(self, text: str | None) -> str | None:
        made = self[text] = NULL if text is None else _address(text)
        return made


class Lines:
    """Makes COPY lines of the records of one batch, received at `now`."""

    def __init__(self, now: datetime) -> None:
        self._latest = now + TOLERANCE
        self._texts = CopyText()
        self._addresses = CopyAddress()

    def line(self, index: int, place: str, record: Record, times: Times) -> str | Fault:
        """The columns of the staging table in their order, `place` being those of account, device and person."""
        started, (ended, start, end), latest = record.started_at, times, self._latest
        sent, received = record.bytes_from_device or 0, record.bytes_to_device or 0
        address = self._addresses[record.remote_address]
        in_time = EARLIEST <= started <= latest and (ended is None or started <= ended <= latest)
        one_end = record.ended_at is None or record.duration_s is None
        if not (in_time and one_end) or sent < 0 or received < 0 or address is None:
            return _fault(record, ended, latest)
        return (
            f"{index}\t{place}\t\\\\x{session_key(record.source, record.session)}\t{start}\t{end or NULL}"
            f"\t{sent}\t{received}\t{self._texts[record.protocol]}\t{address}\t{self._texts[record.end_reason]}\n"
        )


def times_of(records: Sequence[Record]) -> Iterator[Times]:
    """Each record's times. As texts they are made for all at once: one by one takes as long as all the rest."""
    ends = [each.ended_at if each.duration_s is None else _end(each) for each in records]
    start_texts, end_texts = msgspec.to_builtins(([each.started_at for each in records], ends))
    return zip(ends, start_texts, end_texts, strict=True)


def session_key(source: str, session: str) -> str:
    """The key of a session in its account, 16 bytes of BLAKE2b in hexadecimal. Neither text contains NUL."""
    return blake2b(f"{source}\0{session}".encode(), digest_size=16).hexdigest()


def _end(record: Record) -> datetime | None:
    try:
        return record.started_at + timedelta(seconds=record.duration_s or 0)
    except OverflowError:
        return None  # the start is centuries away from any that is taken


def _fault(record: Record, ended: datetime | None, latest: datetime) -> Fault:
    end = "ended_at" if record.duration_s is None else "duration_s"
    faults = (
        (record.started_at > latest, "in_the_future", "started_at lies more than five minutes ahead"),
        (record.started_at < EARLIEST, "too_old", "started_at lies before 1970"),
        (
            record.ended_at is not None and record.duration_s is not None,
            "malformed",
            "ended_at and duration_s exclude each other",
        ),
        (ended is not None and ended < record.started_at, "ends_before_start", f"{end} puts the end before the start"),
        (ended is not None and ended > latest, "in_the_future", f"{end} puts the end more than five minutes ahead"),
        ((record.bytes_from_device or 0) < 0, "negative_bytes", "bytes_from_device is negative"),
        ((record.bytes_to_device or 0) < 0, "negative_bytes", "bytes_to_device is negative"),
    )
    found = (Fault(code, detail) for holds, code, detail in faults if holds)
    return next(found, Fault("malformed", "remote_address is not an IP address"))


def _address(text: str) -> str | None:
    for family in (AF_INET, AF_INET6):
        try:
            return inet_ntop(family, inet_pton(family, text))
        except (OSError, ValueError):
            continue
    return None
