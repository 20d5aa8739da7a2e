"""Compaction: a device's batches become days, the chunks of a day one, and days that are over and have few points one.

New objects first, then one transaction that takes the old rows away and puts the new ones in their place, if each old one is
still there: so a reader finds each point once, whatever else rearranges chunks meanwhile. Points keep their places, so what
is being deleted stays so. The old objects stay for readers that are at them and for a restore of the database, and go
later as garbage, or when a deletion ends.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Select, delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert

from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx, database_time
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.keys import DataKey
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor import accounts, tasks
from cloudpriv.processor.storage import chunks, columns
from cloudpriv.processor.storage.chunks import DAY, RAW, Stored
from cloudpriv.processor.tables import LogChunk, LogGarbage, LogTask

KIND: Final = "compact"
MANY: Final = 8  # so many batches of a device, or chunks of its current day, are worth rewriting
LONG: Final = timedelta(minutes=10)  # or a batch that has waited so long
ROWS_AT_ONCE: Final = 256
LATEST: Final = 1000  # chunks of a device that are looked at for small ones; older ones were, when they were the latest
# Of one run, so that a worker's memory is bounded: points of numbers take about 50 bytes, a text up to 32 KB.
POINTS_AT_ONCE: Final = 500_000
BYTES_AT_ONCE: Final = 64 * 1024 * 1024
FULL: Final = POINTS_AT_ONCE // 2  # two chunks of fewer points make one; a chunk of as many stays as it is
FULL_BYTES: Final = BYTES_AT_ONCE // 2  # as sealed
TRIES: Final = 8  # at chunks that seem few points, and are too many bytes of texts to become one
MOST_OBJECTS: Final = 128  # of one run: points scattered over more days share some
# What was replaced stays that long: a backup of the database that is no older finds every object that its rows name.
REPLACED_STAYS: Final = timedelta(days=2)


@dataclass(frozen=True)
class _Work:
    """What is rewritten: of which device, with what."""

    plane: Plane
    objects: ObjectStore
    clock: Callable[[], datetime]
    account_id: UUID
    device_id: UUID


@dataclass(frozen=True)
class _Look:
    """Rows that may be rewritten together, with the database's time of this look."""

    key: DataKey
    rows: Sequence[LogChunk]
    looked_at: datetime


def carry_out(plane: Plane, objects: ObjectStore, clock: Callable[[], datetime], account_id: UUID, device_id: UUID) -> None:
    """Rewrite what is due of a device's chunks, a bounded number; asks to be done again while there may be more.

    Nothing for an account that is being erased. Raises BusyError, and KeyFault for an object that was altered.
    """
    work = _Work(plane, objects, clock, account_id, device_id)
    for find, divide in ((_batches, _by_day), (_crowded_days, _undivided), (_small_days, _undivided)):
        for place in range(TRIES):
            look = _look(work, find, place)
            if look is None:
                break
            if _rewrite(work, look, divide):
                return


def enqueue_due(tx: Tx, limit: int) -> int:
    """Have workers compact devices with MANY batches or one that has waited for LONG, longest waiting first; how many.

    Those whose compaction waits already are left out, so that one that fails again and again holds up no others.
    """
    waiting = func.min(LogChunk.created_at)
    known = (LogTask.account_id == LogChunk.account_id) & (LogTask.kind == KIND) & (LogTask.subject_id == LogChunk.device_id)
    query = select(LogChunk.account_id, LogChunk.device_id).where(LogChunk.level == RAW, ~exists().where(known))
    query = query.group_by(LogChunk.account_id, LogChunk.device_id).order_by(waiting).limit(limit)
    due = tx.connection.execute(query.having((func.count() >= MANY) | (waiting <= tx.now - LONG))).all()
    for account_id, device_id in due:
        tasks.enqueue(tx, KIND, account_id, device_id)
    return len(due)


def _look(work: _Work, find: Callable[[Tx, _Work, int], Sequence[LogChunk]], place: int) -> _Look | None:
    """What is found in this place, of all that could be rewritten."""
    with work.plane.transaction(WORKER, work.clock()) as tx:
        try:
            account = accounts.find_account(tx, work.account_id)
        except NotFoundError:
            return None
        rows = find(tx, work, place)
        return _Look(account.key, rows, database_time(tx)) if rows else None


def _batches(tx: Tx, work: _Work, place: int) -> Sequence[LogChunk]:
    """The device's batches as they came, earliest first, if they are due; there is nothing in a second place."""
    if place:
        return []
    query = _of_device(work, RAW).order_by(LogChunk.first_seq).limit(ROWS_AT_ONCE)
    rows = list(tx.session.scalars(query))
    due = len(rows) >= MANY or any(row.created_at <= tx.now - LONG for row in rows)
    return rows if due else []


def _crowded_days(tx: Tx, work: _Work, place: int) -> Sequence[LogChunk]:
    """Chunks of a day that make one: two of a day that is over, MANY of the current, which grows still. Latest day first."""
    day = func.date_trunc("day", LogChunk.since, "UTC")
    small = _of_device(work, DAY).where(LogChunk.points < FULL, LogChunk.size < FULL_BYTES)
    counts = small.with_only_columns(day, func.count()).group_by(day).having(func.count() > 1).order_by(day.desc())
    today = tx.now.replace(hour=0, minute=0, second=0, microsecond=0)
    crowded = [found for found, count in tx.connection.execute(counts) if count >= MANY or found < today]
    of_day = small.order_by(LogChunk.points).limit(ROWS_AT_ONCE)
    return [row for found in crowded[place : place + 1] for row in tx.session.scalars(of_day.where(day == found))]


def _small_days(tx: Tx, work: _Work, place: int) -> Sequence[LogChunk]:
    """MANY chunks or more that follow each other, are of days that are over, and have few points each: they make one.

    So a month of a tag is a few reads for whoever wants it, and not one for each day. The next place begins a chunk later.
    """
    over = _of_device(work, DAY).where(LogChunk.until < tx.now.replace(hour=0, minute=0, second=0, microsecond=0))
    query = over.with_only_columns(LogChunk.chunk_id, LogChunk.points, LogChunk.size)
    latest = tx.connection.execute(query.order_by(LogChunk.since.desc(), LogChunk.chunk_id).limit(LATEST)).all()
    for is_small, run in groupby(latest, key=lambda row: row.points < FULL and row.size < FULL_BYTES):
        found = [row.chunk_id for row in run][::-1] if is_small else []
        if len(found) >= MANY + place:
            earliest = _of_device(work, DAY).where(LogChunk.chunk_id.in_(found[place : place + ROWS_AT_ONCE]))
            return list(tx.session.scalars(earliest.order_by(LogChunk.since, LogChunk.chunk_id)))
        place -= max(0, len(found) - MANY + 1)
    return []


def _of_device(work: _Work, level: int) -> Select[LogChunk]:
    return select(LogChunk).where(
        LogChunk.account_id == work.account_id, LogChunk.device_id == work.device_id, LogChunk.level == level
    )


def _rewrite(work: _Work, look: _Look, divide: Callable[[pa.Table], Iterator[pa.Table]]) -> bool:
    """Rewrite as many of the chunks as are taken at once; whether it was done."""
    rows, points = _loaded(work, look)
    if not rows or (len(rows) == 1 and rows[0].level == DAY):
        return False
    made = [(part, chunks.store(work.objects, look.key, _by_tag(part))) for part in divide(points)]
    if not _swap(work, look, rows, made):
        for _, stored in made:
            chunks.discard(work.objects, stored)
    return True


def _loaded(work: _Work, look: _Look) -> tuple[list[LogChunk], pa.Table]:
    """Chunks from the first on until it is enough, and their points by time."""
    rows: list[LogChunk] = []
    tables: list[pa.Table] = []
    count = size = 0
    for row in look.rows:
        if rows and (count + row.points > POINTS_AT_ONCE or size > BYTES_AT_ONCE):
            break
        try:
            tables.append(chunks.load(work.objects, look.key, row))
        except NotFoundError:
            _check_gone(work, row)
            return [], columns.NO_POINTS
        rows.append(row)
        count, size = count + row.points, size + tables[-1].nbytes
    return rows, columns.in_order(columns.together(tables), "time", "seq")


def _check_gone(work: _Work, row: LogChunk) -> None:
    """Raises NotFoundError when the row of an absent object is there still, which no deletion took away then."""
    with work.plane.transaction(WORKER, work.clock()) as tx:
        if tx.session.get(LogChunk, (work.account_id, row.chunk_id)) is not None:
            raise NotFoundError


def _by_day(points: pa.Table) -> Iterator[pa.Table]:
    """Points, which are by time, in a table for each day; for several days where they are many with few points each."""
    days = list(_runs(pc.floor_temporal(points["time"], unit="day")))
    least = 1 if len(days) <= MOST_OBJECTS else -(-len(points) // MOST_OBJECTS)
    start = end = 0
    for length in days:
        end += length
        if end - start >= least:
            yield points.slice(start, end - start)
            start = end
    if end > start:
        yield points.slice(start, end - start)


def _undivided(points: pa.Table) -> Iterator[pa.Table]:
    yield points


def _by_tag(points: pa.Table) -> list[tuple[int, pa.Table]]:
    """Points in a table for each tag, by time and place."""
    points = columns.in_order(points, "tag", "time", "seq")
    parts, start = [], 0
    for length in _runs(points["tag"]):
        parts.append((points["tag"][start].as_py(), points.slice(start, length)))
        start += length
    return parts


def _runs(column: pa.ChunkedArray) -> Iterator[int]:
    """How many equal values stand beside each other, again and again."""
    ends = pc.run_end_encode(column.combine_chunks()).run_ends.to_pylist()
    return (end - start for start, end in zip([0, *ends], ends, strict=False))


def _swap(work: _Work, look: _Look, rows: Sequence[LogChunk], made: Sequence[tuple[pa.Table, Stored]]) -> bool:
    """Put the rows of new objects in place of the old, unless one is gone or it took too long; asks for another run."""
    ids = [row.chunk_id for row in rows]
    with work.plane.transaction(WORKER, work.clock()) as tx:
        tasks.enqueue(tx, KIND, work.account_id, work.device_id)
        old = LogChunk.account_id == work.account_id, LogChunk.chunk_id.in_(ids)
        locked = tx.session.scalars(
            select(LogChunk.chunk_id).where(*old).order_by(LogChunk.chunk_id).with_for_update()
        ).all()
        if len(locked) < len(ids) or database_time(tx) >= look.looked_at + chunks.FENCE:
            return False
        for part, stored in made:
            ends = pc.min_max(part["seq"]).as_py()
            seqs = (ends["min"], ends["max"])
            tx.session.add(chunks.row_of(stored, work.account_id, work.device_id, level=DAY, seqs=seqs, now=tx.now))
        tx.session.execute(delete(LogChunk).where(*old))
        garbage = [
            {"account_id": work.account_id, "object_key": row.object_key, "after": tx.now + REPLACED_STAYS} for row in rows
        ]
        tx.session.execute(insert(LogGarbage).on_conflict_do_nothing(), garbage)
    return True
