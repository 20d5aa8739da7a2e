"""Aggregates: count, least, mean, greatest and last value of each tag in each bucket of time, computed by Arrow.

Buckets begin where whole ones from the Unix epoch on do, in UTC; weeks on Mondays. Sums are made by the hour in order of
time and place, and then of the hours: so the same points give the same bits, however they lie in chunks.
"""

import re
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor.query.reading import Snapshot
from cloudpriv.processor.storage import columns

UNITS: Final = {"D": "day", "W": "week", "M": "month", "TH": "hour", "TM": "minute", "TS": "second"}
PATTERN: Final = r"^P([1-9][0-9]{0,3}[DWM]|[1-9][0-9]?Y|T[1-9][0-9]{0,3}[HMS])$"
VALUES: Final = ["f", "i", "b", "s"]
# Numbers of either kind are kept apart until the end: the least of integers is one of them, and exact.
FIRST: Final = [
    ("tag", "count"),
    ("row", "max"),
    ("number", "sum"),
    ("number", "count"),
    *((name, how) for name in "fi" for how in ("min", "max")),
]
TOTALS: Final = ("tag_count", "number_sum", "number_count")
ENDS: Final = ("f_min", "f_max", "i_min", "i_max")
MAX_HOURS: Final = 500_000  # of all tags: some 60 MB of totals, the most that is held


class TooManyError(Exception):
    """There are more buckets than are told at once."""


@dataclass(frozen=True)
class Bucket:
    """What the points of a tag in a bucket have in common; without `least`, `mean` and `greatest` for no numbers.

    Also without `mean` where the numbers are so great that their sum is none.
    """

    tag: int
    start: Any
    count: int
    least: float | int | None
    mean: float | None
    greatest: float | int | None
    last: float | int | bool | str


def aggregate(found: Snapshot, objects: ObjectStore, length: str, limit: int) -> list[Bucket]:
    """The buckets that have points, by device, tag and start, `length` as PATTERN. Raises TooManyError for over `limit`."""
    parts, hours = [], 0
    for _, points in found.tables(objects):
        parts.append(_by_hour(points, length))
        hours += len(parts[-1])
        if hours > MAX_HOURS or _count_buckets(parts[-1]) > limit:
            raise TooManyError
    return _together(parts, limit) if parts else []


def _count_buckets(totals: pa.Table) -> int:
    return len(totals.group_by(["tag", "bucket"], use_threads=False).aggregate([]))


def _by_hour(points: pa.Table, length: str) -> pa.Table:
    """Totals by tag, bucket and hour of points that are in order."""
    number = pc.coalesce(points["f"], pc.cast(points["i"], pa.float64(), safe=False))
    row = pa.array(range(len(points)), pa.int64())
    hour = pc.floor_temporal(points["time"], unit="hour")
    table = points.select(["tag", "f", "i"]).append_column("number", number).append_column("row", row)
    table = table.append_column("bucket", _floor(points["time"], length)).append_column("hour", hour)
    totals = table.group_by(["tag", "bucket", "hour"], use_threads=False).aggregate(FIRST)
    last = points.select(VALUES).take(totals["row_max"])
    for name in VALUES:
        totals = totals.append_column(name, last[name])
    return totals


def _together(parts: list[pa.Table], limit: int) -> list[Bucket]:
    hours = columns.in_order(columns.together(parts), "tag", "bucket", "hour")
    hours = hours.drop_columns(["row_max"]).append_column("row", pa.array(range(len(hours)), pa.int64()))
    wanted = [*((name, "sum") for name in TOTALS), *((name, name[-3:]) for name in ENDS), ("row", "max")]
    totals = columns.in_order(hours.group_by(["tag", "bucket"], use_threads=False).aggregate(wanted), "tag", "bucket")
    if len(totals) > limit:
        raise TooManyError
    last = hours.select(VALUES).take(totals["row_max"]).to_pylist()
    return [_bucket(total, value) for total, value in zip(totals.to_pylist(), last, strict=True)]


def _bucket(total: dict[str, Any], last: dict[str, Any]) -> Bucket:
    numbers = total["number_count_sum"]
    least = [total[name] for name in ("f_min_min", "i_min_min") if total[name] is not None]
    greatest = [total[name] for name in ("f_max_max", "i_max_max") if total[name] is not None]
    return Bucket(
        tag=total["tag"],
        start=total["bucket"],
        count=total["tag_count_sum"],
        least=min(least, default=None),
        mean=total["number_sum_sum"] / numbers if numbers and isfinite(total["number_sum_sum"]) else None,
        greatest=max(greatest, default=None),
        last=next(value for value in last.values() if value is not None),
    )


def _floor(times: pa.ChunkedArray, length: str) -> pa.ChunkedArray:
    found = re.fullmatch(r"P(T?)(\d+)([A-Z])", length)
    if found is None:
        raise ValueError(length)
    if found[3] == "Y":  # which Arrow would count from the year 0
        return pc.floor_temporal(times, multiple=12 * int(found[2]), unit="month")
    return pc.floor_temporal(times, multiple=int(found[2]), unit=UNITS[found[1] + found[3]])
