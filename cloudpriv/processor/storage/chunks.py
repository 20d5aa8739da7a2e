"""Chunks: points of one device in a sealed object of the store, and the row that says what is in it.

An object is segments laid one after another, each a Parquet file sealed under the account's key with the object's key and
the segment's number as associated data. The object is there before its row, so a row never leads nowhere.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import groupby
from typing import Any, Final
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import ColumnElement, literal, true
from sqlalchemy.dialects.postgresql import ARRAY, INTEGER

from cloudpriv.platform.errors import BusyError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import DataKey
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor.storage import columns
from cloudpriv.processor.tables import LogChunk

PREFIX: Final = "chunks"
ALL_TAGS: Final = 0  # in place of a tag: the segment has points of several
RAW: Final = 0  # level of a batch as it came
DAY: Final = 1  # level of a device's day, one segment a tag
# From the look that leads to an object until its row may come, by the database's clock: a process that was stopped for
# longer might write the row of an object that the sweep took for an orphan meanwhile. Shorter than the sweep's pause.
FENCE: Final = timedelta(minutes=5)
FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)  # no point is earlier
LAST: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Selection:
    """Which points: of these devices and tags (None: all), `since <= time < until`, `after_seq < seq <= up_to_seq`."""

    device_ids: Sequence[UUID] | None = None
    tag_ids: Sequence[int] | None = None
    since: datetime | None = None
    until: datetime | None = None
    after_seq: int = 0
    up_to_seq: int | None = None


@dataclass(frozen=True)
class Stored:
    """An object that was stored: what its row says of it. `until` is the time of the last point, not one after it."""

    chunk_id: UUID
    object_key: str
    tags: list[int]
    segments: list[list[int]]
    since: datetime
    until: datetime
    points: int
    size: int


def prefix_of(account_id: UUID) -> str:
    """What the keys of all chunks of an account begin with."""
    return f"{PREFIX}/{account_id}/"


def store(objects: ObjectStore, key: DataKey, parts: Sequence[tuple[int, pa.Table]]) -> Stored:
    """Seal and store a new object with a segment for each of `parts`, which have at least one point each.

    A part is (tag, points of that tag) or (ALL_TAGS, points of several). No row is written. Raises BusyError; whether the
    object is there is not known then, and the sweep finds it.
    """
    chunk_id = new_id()
    object_key = f"{prefix_of(key.account_id)}{chunk_id}"
    plain = [_encoded(tag, points) for tag, points in parts]
    sealed = [key.seal_object(_name(object_key, number), content) for number, content in enumerate(plain)]
    objects.put(object_key, b"".join(sealed))
    segments, offset = [], 0
    for content, (tag, points) in zip(sealed, parts, strict=True):
        segments.append([offset, len(content), tag, len(points), pc.sum(columns.bytes_of_each(points)).as_py()])
        offset += len(content)
    ends = [pc.min_max(points["time"]).as_py() for _, points in parts]
    return Stored(
        chunk_id=chunk_id,
        object_key=object_key,
        tags=sorted({tag for part in parts for tag in _tags(*part)}),
        segments=segments,
        since=min(end["min"] for end in ends),
        until=max(end["max"] for end in ends),
        points=sum(len(points) for _, points in parts),
        size=offset,
    )


def discard(objects: ObjectStore, stored: Stored) -> None:
    """Remove an object that certainly has no row, as well as can be: the sweep finds what is left."""
    with suppress(BusyError):
        objects.delete_below(stored.object_key)


def row_of(
    stored: Stored, account_id: UUID, device_id: UUID, *, level: int, seqs: tuple[int, int], now: datetime
) -> LogChunk:
    """The row that makes a stored object's points visible; `seqs` are the first and the last place of them."""
    return LogChunk(
        account_id=account_id,
        device_id=device_id,
        level=level,
        first_seq=seqs[0],
        last_seq=seqs[1],
        created_at=now,
        **vars(stored),
    )


def load(objects: ObjectStore, key: DataKey, chunk: LogChunk, tag_ids: Sequence[int] | None = None) -> pa.Table:
    """The points of a chunk, or of its segments that may have points of `tag_ids`: others' may be among them.

    In the order in which they lie. Raises NotFoundError when compaction or deletion took the object away, BusyError,
    KeyFault when it was altered.
    """
    wanted = None if tag_ids is None else {ALL_TAGS, *tag_ids}
    found = []
    for run in _runs(chunk.segments, wanted):
        offset, size = run[0][1][0], sum(segment[1] for _, segment in run)
        content = objects.get(chunk.object_key) if size == chunk.size else objects.get_range(chunk.object_key, offset, size)
        for number, (start, length, tag, *_) in run:
            sealed = content[start - offset : start - offset + length]
            plain = key.open_object(_name(chunk.object_key, number), sealed)
            found.append(columns.decode(plain, tag=tag, first_seq=chunk.first_seq))
    return columns.together(found)


def matching(points: pa.Table, selection: Selection) -> pa.Table:
    """Those of a device's points that are selected, in the same order."""
    test = _test(points, selection)
    return points if test is None else points.filter(test)


def others(points: pa.Table, selection: Selection) -> pa.Table:
    """Those of a device's points that are not selected, in the same order."""
    test = _test(points, selection)
    return points.slice(0, 0) if test is None else points.filter(pc.invert(test))


def _test(points: pa.Table, selection: Selection) -> pa.ChunkedArray | None:
    """Which of a device's points are selected, as truth values; None for all of them."""
    tests = []
    if selection.tag_ids is not None:
        tests.append(pc.is_in(points["tag"], pa.array(list(selection.tag_ids), pa.int32())))
    if selection.since is not None:
        tests.append(pc.greater_equal(points["time"], pa.scalar(selection.since, columns.TIME)))
    if selection.until is not None:
        tests.append(pc.less(points["time"], pa.scalar(selection.until, columns.TIME)))
    if selection.after_seq:
        tests.append(pc.greater(points["seq"], selection.after_seq))
    if selection.up_to_seq is not None:
        tests.append(pc.less_equal(points["seq"], selection.up_to_seq))
    return reduce(pc.and_, tests) if tests else None


def of_selection(account_id: UUID, selection: Selection) -> ColumnElement[bool]:
    """Which rows of log_chunks may lead to selected points of an account."""
    found: ColumnElement[bool] = LogChunk.account_id == account_id
    if selection.device_ids is not None:
        found &= LogChunk.device_id.in_(selection.device_ids)
    if selection.tag_ids is not None:
        found &= LogChunk.tags.op("&&")(literal(list(selection.tag_ids), ARRAY(INTEGER)))
    found &= LogChunk.until >= selection.since if selection.since is not None else true()
    found &= LogChunk.since < selection.until if selection.until is not None else true()
    found &= LogChunk.last_seq > selection.after_seq if selection.after_seq else true()
    found &= LogChunk.first_seq <= selection.up_to_seq if selection.up_to_seq is not None else true()
    return found


def _name(object_key: str, number: int) -> str:
    return f"{object_key}#{number}"


def _encoded(tag: int, points: pa.Table) -> bytes:
    return columns.encode(points if tag == ALL_TAGS or "tag" not in points.column_names else points.drop_columns(["tag"]))


def _tags(tag: int, points: pa.Table) -> list[int]:
    found: list[int] = pc.unique(points["tag"]).to_pylist() if tag == ALL_TAGS else [tag]
    return found


def _runs(segments: Sequence[Any], wanted: set[int] | None) -> Iterator[list[tuple[int, Any]]]:
    """Segments that are wanted, with their numbers; those that lie side by side together, so that they are read at once."""
    for lies_in, run in groupby(enumerate(segments), key=lambda numbered: wanted is None or numbered[1][2] in wanted):
        if lies_in:
            yield list(run)
