"""Deletions: points that are in no answer from the order's commit on, and in no object once a worker is through.

An order is a mask (see `reading`) of points up to the latest that there was. The worker takes away what chunks it covers
whole, and writes those anew that hold other points too: object first, then one transaction that swaps the rows, and the old
object goes at once. It may be stopped anywhere and begun again, and compaction may go on meanwhile: what either swapped
first is looked up again by the other, until one look finds no chunk that may hold a point of the deletion. Objects that
compaction replaced go then too, though they would stay for a restore otherwise.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import ColumnElement, delete, func, literal, select, true, update
from sqlalchemy.dialects.postgresql import ARRAY, INTEGER

from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx, database_time
from cloudpriv.platform.errors import NotFoundError, RateLimitedError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor import accounts, events, tasks
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.order_tables import LogDeletion
from cloudpriv.processor.query import masking
from cloudpriv.processor.storage import chunks, sweep
from cloudpriv.processor.storage.chunks import ALL_TAGS, Selection, Stored
from cloudpriv.processor.tables import LogAccount, LogChunk, LogGarbage
from cloudpriv.processor.tasks import LaterError

KIND: Final = "delete"
MOST_PENDING: Final = 1_000  # of an account: whoever reads has to leave out what each of them says
FROM_OUTSIDE: Final = ("customer", "datamailbox", "instruction")
ROWS_AT_ONCE: Final = 200  # chunks that go in one transaction


@dataclass(frozen=True)
class _Work:
    """What a worker carries a deletion out with."""

    plane: Plane
    objects: ObjectStore
    clock: Callable[[], datetime]
    account_id: UUID
    deletion_id: UUID

    def transaction(self) -> AbstractContextManager[Tx]:
        """A unit of work of the worker."""
        return self.plane.transaction(WORKER, self.clock())


def order(tx: Tx, account: OpenedLogAccount, *, device_id: UUID | None, tag_id: int | None, since: datetime | None,
          before: datetime | None, trigger: str, trigger_id: UUID | None = None,
          up_to_seq: int | None = None, tags: Sequence[int] | None = None) -> LogDeletion:  # fmt: skip
    """Delete the points of the account that meet all conditions, and that came by now, or by the place `up_to_seq`.

    `tags` are several of one device, in place of `tag_id`. From the commit on the points are in no answer; a worker erases
    them. Raises RateLimitedError while MOST_PENDING deletions wait that were ordered from outside.
    """
    if trigger in FROM_OUTSIDE:
        _check_pending(tx, account)
    account_id = account.row.account_id
    head = tx.session.scalars(select(LogAccount.head_seq).where(LogAccount.account_id == account_id)).one()
    row = LogDeletion(
        account_id=account_id,
        deletion_id=new_id(),
        device_id=device_id,
        tag_id=tag_id,
        tags=None if tags is None else sorted(tags),
        since=since,
        before=before,
        up_to_seq=head if up_to_seq is None else min(head, up_to_seq),
        trigger=trigger,
        trigger_id=trigger_id,
        status="pending",
        points=0,
        requested_by=tx.actor.name,
        requested_at=tx.now,
    )
    tx.session.add(row)
    tx.session.flush()
    tasks.enqueue(tx, KIND, account_id, row.deletion_id)
    events.record(tx, "deletion.order", account_id=account_id, subject_id=row.deletion_id)
    return row


def _check_pending(tx: Tx, account: OpenedLogAccount) -> None:
    ours = LogDeletion.account_id == account.row.account_id, LogDeletion.status == "pending"
    pending = select(func.count()).where(*ours, LogDeletion.trigger.in_(FROM_OUTSIDE))
    if tx.session.scalars(pending).one() >= MOST_PENDING:
        raise RateLimitedError("Too many deletions wait for a worker; try again when some are done.")


def find(tx: Tx, account_id: UUID, deletion_id: UUID) -> LogDeletion:
    """A deletion of the account. Raises NotFoundError."""
    row = tx.session.get(LogDeletion, (account_id, deletion_id))
    if row is None:
        raise NotFoundError
    return row


def carry_out(plane: Plane, objects: ObjectStore, clock: Callable[[], datetime], account_id: UUID,
              deletion_id: UUID) -> None:  # fmt: skip
    """Erase a deletion's points from all objects and mark it done; nothing when it is, or the account is being erased.

    Raises BusyError, and KeyFault or NotFoundError for an object that was altered or lost; it is to be begun again then.
    Raises LaterError while an object that may be an orphan waits for the end of its pause.
    """
    work = _Work(plane, objects, clock, account_id, deletion_id)
    clean: set[UUID] = set()
    while waiting := _look(work, clean):
        _take_covered(work)
        for chunk_id in waiting:
            clean |= _rid(work, chunk_id)
    if waiting is not None:
        _remove_replaced(work)
        _end(work)


def _look(work: _Work, clean: set[UUID]) -> list[UUID] | None:
    """Chunks that may hold points of the deletion; None when it is done, or the account is being erased.

    One statement finds them: whatever compaction makes of one that is not clean is among them, or it is. When there are
    none, there never will be: what comes later has later places.
    """
    with work.transaction() as tx:
        deletion = tx.session.get(LogDeletion, (work.account_id, work.deletion_id))
        if deletion is None or deletion.status == "done" or not _is_open(tx, work):
            return None
        query = select(LogChunk.chunk_id).where(chunks.of_selection(work.account_id, masking.mask_of(deletion)))
        return [chunk_id for chunk_id in tx.session.scalars(query) if chunk_id not in clean]


def _remove_replaced(work: _Work) -> None:
    """Remove every object of chunks that no row leads to any more: compaction's, which may hold points of the deletion.

    Raises LaterError when the sweep has found one that may be an orphan: its pause, which is short, is awaited.
    """
    with work.transaction() as tx:
        garbage = select(LogGarbage).where(LogGarbage.account_id == work.account_id)
        found = tx.session.scalars(garbage.where(LogGarbage.object_key.startswith(chunks.prefix_of(work.account_id)))).all()
        needed = sweep.needed(tx, work.account_id, [row.object_key for row in found])
        waits = tx.now + sweep.PAUSE
        pausing = [row.after for row in found if row.object_key not in needed and tx.now < row.after <= waits]
        keys = [row.object_key for row in found if row.object_key not in needed and not tx.now < row.after <= waits]
    _remove(work, keys)
    if pausing:
        raise LaterError(max(pausing))


def _end(work: _Work) -> None:
    with work.transaction() as tx:
        deletion = tx.session.get(LogDeletion, (work.account_id, work.deletion_id))
        if deletion is not None and deletion.status != "done" and _is_open(tx, work):
            deletion.status, deletion.done_at = "done", tx.now
            events.record(tx, "deletion.complete", account_id=work.account_id, subject_id=work.deletion_id)


def _take_covered(work: _Work) -> None:
    """Take away all chunks that have no other points than the deletion's, some at a time."""
    found: Sequence[LogChunk] | None = None
    while found is None or found:
        with work.transaction() as tx:
            if not _is_open(tx, work):
                return
            query = select(LogChunk).where(_is_covered(work.account_id, masking.mask_of(_row(tx, work))))
            found = list(tx.session.scalars(query.limit(ROWS_AT_ONCE).with_for_update(skip_locked=True)))
            for chunk in found:
                _take_away(tx, work, chunk, chunk.points)
        _remove(work, [chunk.object_key for chunk in found])


def _rid(work: _Work, chunk_id: UUID) -> set[UUID]:
    """Rid a chunk of the deletion's points, if it is still there; the chunk that is known to hold none then."""
    with work.transaction() as tx:
        chunk = tx.session.get(LogChunk, (work.account_id, chunk_id))
        if chunk is None or not _is_open(tx, work):
            return set()
        mask, began = masking.mask_of(_row(tx, work)), database_time(tx)
        key = accounts.find_account(tx, work.account_id).key
    try:
        points = chunks.load(work.objects, key, chunk)
    except NotFoundError:
        return _taken_by_others(work, chunk_id)
    kept = chunks.others(points, mask)
    if len(kept) == len(points):
        return {chunk_id}
    stored = chunks.store(work.objects, key, _parts(chunk, kept)) if len(kept) else None
    return _swap(work, chunk, kept, stored, began + chunks.FENCE)


def _swap(work: _Work, chunk: LogChunk, kept: pa.Table, stored: Stored | None, fence: datetime) -> set[UUID]:
    """Put the row of what is kept in place of the chunk's, unless others took that away or it takes too long."""
    with work.transaction() as tx:
        query = select(LogChunk.chunk_id).where(LogChunk.account_id == work.account_id, LogChunk.chunk_id == chunk.chunk_id)
        ours = _is_open(tx, work) and tx.session.scalar(query.with_for_update()) is not None and database_time(tx) < fence
        if ours:
            _take_away(tx, work, chunk, chunk.points - len(kept))
            if stored is not None:
                tx.session.add(_row_of(stored, chunk, kept))
    if ours:
        _remove(work, [chunk.object_key])
    elif stored is not None:
        chunks.discard(work.objects, stored)
    return {stored.chunk_id} if ours and stored is not None else set()


def _row_of(stored: Stored, chunk: LogChunk, kept: pa.Table) -> LogChunk:
    ends = pc.min_max(kept["seq"]).as_py()
    seqs = (ends["min"], ends["max"])
    return chunks.row_of(stored, chunk.account_id, chunk.device_id, level=chunk.level, seqs=seqs, now=chunk.created_at)


def _parts(chunk: LogChunk, kept: pa.Table) -> list[tuple[int, pa.Table]]:
    """What is kept of a chunk, in segments as it had them."""
    tags = sorted({tag for _, _, tag, *_ in chunk.segments})
    parts = [(tag, kept if tag == ALL_TAGS else kept.filter(pc.equal(kept["tag"], tag))) for tag in tags]
    return [(tag, points) for tag, points in parts if len(points)]


def _take_away(tx: Tx, work: _Work, chunk: LogChunk, points: int) -> None:
    """Take a chunk's row away, and count the points that are erased with it."""
    gone = delete(LogChunk).where(LogChunk.account_id == work.account_id, LogChunk.chunk_id == chunk.chunk_id)
    tx.session.execute(gone)
    tx.session.add(LogGarbage(account_id=work.account_id, object_key=chunk.object_key, after=tx.now))
    ours = LogDeletion.account_id == work.account_id, LogDeletion.deletion_id == work.deletion_id
    tx.session.execute(update(LogDeletion).where(*ours).values(points=LogDeletion.points + points))


def _remove(work: _Work, keys: Sequence[str]) -> None:
    """Remove objects whose rows were taken away. What is not reached is left to those who remove garbage."""
    for key in keys:
        work.objects.delete_below(key)
    with work.transaction() as tx:
        gone = delete(LogGarbage).where(LogGarbage.account_id == work.account_id, LogGarbage.object_key.in_(keys))
        tx.session.execute(gone)


def _taken_by_others(work: _Work, chunk_id: UUID) -> set[UUID]:
    """Nothing, when a chunk's row went as its object did. Raises NotFoundError when it is there still."""
    with work.transaction() as tx:
        if tx.session.get(LogChunk, (work.account_id, chunk_id)) is not None:
            raise NotFoundError
    return set()


def _is_covered(account_id: UUID, mask: Selection) -> ColumnElement[bool]:
    """Which rows of log_chunks have points of the mask only."""
    found = LogChunk.account_id == account_id
    found &= LogChunk.last_seq <= mask.up_to_seq
    found &= LogChunk.device_id.in_(mask.device_ids) if mask.device_ids is not None else true()
    within = literal(list(mask.tag_ids or ()), ARRAY(INTEGER))
    found &= LogChunk.tags.op("<@")(within) if mask.tag_ids is not None else true()
    found &= LogChunk.since >= mask.since if mask.since is not None else true()
    found &= LogChunk.until < mask.until if mask.until is not None else true()
    return found


def _is_open(tx: Tx, work: _Work) -> bool:
    """Whether the account is not being erased; nor will it be before the transaction ends."""
    query = select(LogAccount.account_id).where(LogAccount.account_id == work.account_id, LogAccount.erasing_at.is_(None))
    return tx.session.scalar(query.with_for_update(read=True)) is not None


def _row(tx: Tx, work: _Work) -> LogDeletion:
    return tx.session.get_one(LogDeletion, (work.account_id, work.deletion_id))
