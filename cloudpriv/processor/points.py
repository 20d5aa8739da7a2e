"""Points as a device sends them: their members, what makes one unacceptable, and the columns that they become."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Meta, Struct

from cloudpriv.processor import columns

MAX_POINTS: Final = 10_000
TOLERANCE: Final = timedelta(minutes=5)  # a device's clock may be this much ahead of ours (design, section 4)
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)  # no clock that counts from the Unix epoch can tell an earlier time
KINDS: Final[dict[type, str]] = {float: "float", int: "int", bool: "bool", str: "text"}

Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Text = Annotated[str, Meta(max_length=8192)]
Word = Annotated[str, Meta(max_length=50)]


class Point(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A value of a tag at a time, with an offset from UTC. Numbers are 64 bits: whole ones as integers, others as floats."""

    tag: Annotated[str, Meta(min_length=1, max_length=200)]
    time: Annotated[datetime, Meta(tz=True)]
    value: bool | Whole | float | Text
    quality: Word | None = None
    unit: Word | None = None


class Rejection(Struct, order=True, frozen=True):
    """A point that is not taken: its index in the batch, a stable code, and which member is wrong; never a value."""

    index: int
    code: str
    detail: str


class Fault(NamedTuple):
    """Why a point is not taken."""

    code: str
    detail: str


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

    def without(self, tags: frozenset[str], fault: Fault) -> "Batch":
        """The batch with the points of some tags rejected."""
        kept = [tag not in tags for tag in self.tags]
        return _keep(self, kept, [fault if not keep else None for keep in kept])


def as_batch(points: Sequence[Point], indexes: Sequence[int], rejected: list[Rejection]) -> Batch:
    """Readable points as columns."""
    values = pa.table({"time": pa.array([point.time for point in points], columns.TIME)} | _values(points))
    return Batch(values, [point.tag for point in points], indexes, rejected)


def in_time(batch: Batch, now: datetime) -> Batch:
    """The batch with those points rejected whose time, received at `now`, is not acceptable."""
    latest, times = now + TOLERANCE, batch.values["time"]
    ends = pc.min_max(times).as_py()
    if not batch.tags or (ends["min"] >= EARLIEST and ends["max"] <= latest):
        return batch
    late = pc.greater(times, pa.scalar(latest, columns.TIME)).to_pylist()
    early = pc.less(times, pa.scalar(EARLIEST, columns.TIME)).to_pylist()
    faults = [TIME_FAULTS.get(each) for each in zip(late, early, strict=True)]
    return _keep(batch, [fault is None for fault in faults], faults)


def _values(points: Sequence[Point]) -> dict[str, pa.Array]:
    found = [point.value for point in points]
    types = set(map(type, found))
    made = {}
    for name, kind in zip(columns.VALUES, (float, int, bool, str), strict=True):
        if types == {kind}:
            made[name] = pa.array(found, columns.POINTS.field(name).type)
        elif kind in types:
            made[name] = pa.array([each if type(each) is kind else None for each in found], columns.POINTS.field(name).type)
    made["quality"] = pa.array([point.quality for point in points], pa.string())
    made["unit"] = pa.array([point.unit for point in points], pa.string())
    return made


def _keep(batch: Batch, kept: list[bool], faults: Sequence[Fault | None]) -> Batch:
    rejected = [Rejection(index, *fault) for index, fault in zip(batch.indexes, faults, strict=True) if fault is not None]
    return Batch(
        batch.values.filter(pa.array(kept, pa.bool_())),
        [tag for tag, keep in zip(batch.tags, kept, strict=True) if keep],
        [index for index, keep in zip(batch.indexes, kept, strict=True) if keep],
        sorted([*batch.rejected, *rejected]),
    )
