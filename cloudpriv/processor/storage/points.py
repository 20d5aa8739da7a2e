"""Points as a device sends them: their members, what makes one unacceptable, and the columns that they become."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Meta, Struct

from cloudpriv.platform.rejections import Fault, Rejection
from cloudpriv.processor.storage import columns

MAX_POINTS: Final = 10_000
TOLERANCE: Final = timedelta(minutes=5)  # a device's clock may be this much ahead of ours (design, section 4)
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)  # no clock that counts from the Unix epoch can tell an earlier time
KINDS: Final[dict[type, str]] = {float: "float", int: "int", bool: "bool", str: "text"}

# YYYY-MM-DDThh:mm:ss, with a fraction of three or six digits or none, and Z or +hh:mm.
COMMON_LENGTHS: Final = pa.array([20, 24, 27, 25, 29, 32], pa.int32())
COMMON_ENDS: Final = "(Z|[+-][0-9]{2}:[0-9]{2})$"

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Time = Annotated[datetime, Meta(tz=True)]
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Text = Annotated[str, Meta(max_length=8192)]
Word = Annotated[str, Meta(max_length=50)]


class Point(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A value of a tag at a time, with an offset from UTC. Numbers are 64 bits: whole ones as integers, others as floats."""

    tag: Name
    time: Time
    value: bool | Whole | float | Text
    quality: Word | None = None
    unit: Word | None = None


class Sent(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A point whose time has not been read yet: `read_times` reads those of a batch at once, many times faster."""

    tag: Name
    time: str
    value: bool | Whole | float | Text
    quality: Word | None = None
    unit: Word | None = None


TIME_FAULTS: Final = {
    (True, False): Fault("in_the_future", "time lies more than five minutes ahead"),
    (False, True): Fault("too_old", "time lies before 1970"),
}


@dataclass(frozen=True)
class Batch:
    """Points of one device in order of arrival: POINTS without tag and seq, each point's tag by name, and its index as sent.

    `rejected` are those that could not be read or are not acceptable.
    """

    values: pa.Table
    tags: Sequence[str]
    indexes: Sequence[int]
    rejected: list[Rejection] = field(default_factory=list)

    @cached_property
    def names(self) -> frozenset[str]:
        """The tags that there are."""
        return frozenset(self.tags)

    def without(self, tags: frozenset[str], fault: Fault) -> "Batch":
        """The batch with the points of some tags rejected."""
        kept = [tag not in tags for tag in self.tags]
        return _keep(self, kept, [fault if not keep else None for keep in kept])


def read_times(points: Sequence[Sent]) -> pa.Array:
    """The times of points as sent. Raises msgspec.ValidationError when one is no RFC 3339 time with an offset."""
    texts = [point.time for point in points]
    found = pa.array(texts, pa.string())
    # Of these lengths and ends Arrow, which reads shorter forms too, takes nothing that msgspec does not mean by the same.
    if _all(pc.is_in(pc.binary_length(found), COMMON_LENGTHS)) and _ends_are_common(found):
        with suppress(pa.ArrowInvalid):
            return found.cast(columns.TIME)
    return pa.array(msgspec.convert(texts, list[Time]), columns.TIME)


def as_batch(points: Sequence[Sent | Point], times: pa.Array, indexes: Sequence[int], rejected: list[Rejection]) -> Batch:
    """Readable points as columns, with their times."""
    words = {"quality": _words([point.quality for point in points]), "unit": _words([point.unit for point in points])}
    values = {"time": times} | _values([point.value for point in points]) | words
    return Batch(pa.table(values), [point.tag for point in points], indexes, rejected)


def in_time(batch: Batch, now: datetime) -> Batch:
    """The batch with those points rejected whose time, received at `now`, is not acceptable."""
    times = batch.values["time"]
    late = pc.greater(times, pa.scalar(now + TOLERANCE, columns.TIME))
    early = pc.less(times, pa.scalar(EARLIEST, columns.TIME))
    if not pc.any(pc.or_(late, early)).as_py():
        return batch
    faults = [TIME_FAULTS.get(each) for each in zip(late.to_pylist(), early.to_pylist(), strict=True)]
    return _keep(batch, [fault is None for fault in faults], faults)


def _ends_are_common(times: pa.Array) -> bool:
    """Most batches tell all times in UTC: to see that costs a tenth of the pattern, which is for the others."""
    return _all(pc.ends_with(times, "Z")) or _all(pc.match_substring_regex(times, COMMON_ENDS))


def _all(found: pa.BooleanArray) -> bool:
    return bool(pc.all(found).as_py())


def _values(found: Sequence[bool | int | float | str]) -> dict[str, pa.Array]:
    types, made = set(map(type, found)), {}
    for name, kind in zip(columns.VALUES, (float, int, bool, str), strict=True):
        of_kind = columns.POINTS.field(name).type
        if types == {kind}:
            made[name] = pa.array(found, of_kind)
        elif kind in types:
            made[name] = pa.array([each if type(each) is kind else None for each in found], of_kind)
    return made


def _words(found: Sequence[str | None]) -> pa.Array:
    """A column of words, which are all the same more often than not: then it is told once."""
    if not found or found.count(found[0]) < len(found):
        return pa.array(found, pa.string())
    if found[0] is None:
        return pa.nulls(len(found), pa.string())
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), len(found)), pa.array(found[:1]))


def _keep(batch: Batch, kept: list[bool], faults: Sequence[Fault | None]) -> Batch:
    rejected = [Rejection(index, *fault) for index, fault in zip(batch.indexes, faults, strict=True) if fault is not None]
    return Batch(
        batch.values.filter(pa.array(kept, pa.bool_())),
        [tag for tag, keep in zip(batch.tags, kept, strict=True) if keep],
        [index for index, keep in zip(batch.indexes, kept, strict=True) if keep],
        sorted([*batch.rejected, *rejected]),
    )
