"""The sweep: objects that no row leads to are found, noted as garbage, and removed when nothing can need them any more.

A process that stops between an object and its row leaves an orphan. One is taken for such when it is older than any unit of
work takes, and removed only if it still has no row after a pause in which none can come any more (see `chunks.FENCE`). After
a restore of the database the pause is longer (see `restored`).
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import chain, groupby, islice
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx, database_time
from cloudpriv.platform.ids import created_at
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor import tasks
from cloudpriv.processor.order_tables import LogExport
from cloudpriv.processor.storage import chunks, restored
from cloudpriv.processor.tables import LogAccount, LogChunk, LogGarbage, LogTask

KIND: Final = "sweep"
EXPORTS: Final = "exports"
AGE: Final = timedelta(hours=1)  # of an object without a row, by the time in its id
PAUSE: Final = timedelta(minutes=10)  # longer than chunks.FENCE, and than a reader stays at an object
KEYS_AT_ONCE: Final = 1_000
FIRST: Final = UUID(int=0)
NEEDED: Final = ("pending", "ready")  # exports whose archives are there or are being written


def carry_out(plane: Plane, objects: ObjectStore, clock: Callable[[], datetime], account_id: UUID,
              age: timedelta = AGE) -> int:  # fmt: skip
    """Note the account's objects, whole or begun, that are older than `age` and have no row as garbage; how many.

    Raises BusyError.
    """
    after = max(clock() + PAUSE, restored.unswept_until(objects) or clock())
    prefixes = (chunks.prefix_of(account_id), f"{EXPORTS}/{account_id}/")
    keys = chain.from_iterable(chain(objects.keys(each), (key for key, _ in objects.unfinished(each))) for each in prefixes)
    noted = 0
    while some := list(islice(keys, KEYS_AT_ONCE)):
        with plane.transaction(WORKER, clock()) as tx:
            if not _is_open(tx, account_id):
                return noted
            # The earlier of two clocks: one that jumped ahead must not make what is being written look old.
            old = _older(some, min(tx.now, database_time(tx)) - age)
            noted += _note(tx, account_id, sorted(old - needed(tx, account_id, old)), after)
    return noted


def enqueue_due(tx: Tx, limit: int, after: UUID = FIRST) -> UUID | None:
    """Have workers sweep up to `limit` accounts, those whose ids follow `after`; the last of them, None when there are none.

    Goes on through all accounts, once a day. Nobody is woken, so that the queue stays short: the schedule sees to it.
    """
    query = select(LogAccount.account_id).where(LogAccount.erasing_at.is_(None), LogAccount.account_id > after)
    found = list(tx.session.scalars(query.order_by(LogAccount.account_id).limit(limit)))
    rows: list[dict[str, Any]] = [tasks.new_row(tx, KIND, account_id) for account_id in found]
    if rows:
        tx.session.execute(insert(LogTask).on_conflict_do_nothing(), rows)
    return found[-1] if found else None


def remove_garbage(plane: Plane, objects: ObjectStore, clock: Callable[[], datetime]) -> int:
    """Remove objects whose time as garbage is over, all versions; how many. What has a row again stays. Raises BusyError."""
    removed = 0
    while rows := _garbage(plane, clock):
        for account_id, some in groupby(rows, key=lambda row: row.account_id):
            keys = {row.object_key for row in some}
            with plane.transaction(WORKER, clock()) as tx:
                going = keys - needed(tx, account_id, keys)
            for key in going:
                objects.delete_below(key)
            removed += len(going)
            with plane.transaction(WORKER, clock()) as tx:
                gone = LogGarbage.account_id == account_id, LogGarbage.object_key.in_(keys)
                tx.session.execute(delete(LogGarbage).where(*gone))
    return removed


def _garbage(plane: Plane, clock: Callable[[], datetime]) -> Sequence[LogGarbage]:
    with plane.transaction(WORKER, clock()) as tx:
        query = select(LogGarbage).where(LogGarbage.after <= tx.now)
        return tx.session.scalars(query.order_by(LogGarbage.account_id).limit(KEYS_AT_ONCE)).all()


def _is_open(tx: Tx, account_id: UUID) -> bool:
    query = select(LogAccount.account_id).where(LogAccount.account_id == account_id, LogAccount.erasing_at.is_(None))
    return tx.session.scalar(query) is not None


def _older(keys: Iterable[str], than: datetime) -> set[str]:
    return {key for key in keys if created_at(UUID(key.rpartition("/")[2])) < than}


def needed(tx: Tx, account_id: UUID, keys: Iterable[str]) -> set[str]:
    """Those that a row leads to."""
    of_chunks = select(LogChunk.object_key).where(LogChunk.account_id == account_id, LogChunk.object_key.in_(keys))
    of_exports = select(LogExport.object_key).where(
        LogExport.account_id == account_id, LogExport.object_key.in_(keys), LogExport.status.in_(NEEDED)
    )
    return set(tx.session.scalars(of_chunks.union_all(of_exports)))


def _note(tx: Tx, account_id: UUID, keys: Sequence[str], after: datetime) -> int:
    rows: list[dict[str, Any]] = [{"account_id": account_id, "object_key": key, "after": after} for key in keys]
    if rows:
        tx.session.execute(insert(LogGarbage).on_conflict_do_nothing(), rows)
    return len(rows)
