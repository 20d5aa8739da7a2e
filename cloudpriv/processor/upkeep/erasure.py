"""The erasure of an account's log data: the controller plane's purge orders it, this plane's workers carry it out.

`prepare`, `order`, `state`, `is_ordered` and `account_ids` are all that the role `cloudpriv_eraser` may do. Its order
destroys the account's data key and leaves a tombstone, so that nobody opens the account again; the rest goes in bounded
transactions, each of which may be the last of its worker. What goes is derived from the classification of the tables.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.dialects.postgresql import insert

from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.classify import Category, classification_of, erased_tables
from cloudpriv.platform.db import Plane, ProcessorBase, Tx
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor import events, tasks
from cloudpriv.processor.accounts import LOCK_SPACE, hash_of, turn_of
from cloudpriv.processor.tables import LogAccount, LogChunk, LogErased, LogTask
from cloudpriv.processor.tasks import LaterError

TASK: Final = "erase"
LOOKED_UP: Final = 500  # accounts at a time
BATCH: Final = 10_000  # rows in one transaction: some 50 ms of locks and write-ahead log
CLOSED: Final = timedelta(minutes=5)  # after which a purge that stopped in between has the account go on
# An append that began before the order may still put its object, then fails at the account's row. What is slower than that
# is found by `remove_returned`; nobody can read it meanwhile.
GRACE: Final = timedelta(seconds=10)
OBJECTS, POINTS = "log_objects", "log_points"  # what counts call what no table counts
METADATA: Final = ProcessorBase.metadata
ACCOUNTS, CHUNKS, TASKS = LogAccount.__tablename__, LogChunk.__tablename__, LogTask.__tablename__
FOLDERS: Final = ("chunks/", "exports/")
# As `accounts.take_turns` does. What follows is not awaited on disk: should a crash of the server take an order back, who
# waits for the end of the erasure gives it again.
TURN: Final = "SELECT pg_advisory_xact_lock(%(space)s, %(turn)s), set_config('synchronous_commit', 'off', true)"
# The row's lock lets appends that are at their commit end first, whose points then count, and keeps others waiting. One that
# is newer than the cutoff closes nothing.
CLOSE: Final = """
UPDATE log_accounts SET closing_until = CASE WHEN last_point_at >= %(cutoff)s::timestamptz THEN NULL
    ELSE clock_timestamp() + %(closed)s END
WHERE account_id = %(account_id)s AND erasing_at IS NULL RETURNING last_point_at
"""
# The slower clock: by the other plane's, were it ahead, the grace would not end.
ORDER: Final = """
WITH key AS (DELETE FROM log_keys WHERE account_id = %(account_id)s RETURNING account_id), marked AS (
    UPDATE log_accounts SET erasing_at = COALESCE(erasing_at, LEAST(%(now)s, clock_timestamp()))
    WHERE account_id = %(account_id)s RETURNING account_id
)
INSERT INTO log_erased (account_hash, ordered_at, erased_at, counts)
SELECT %(hash)s, %(now)s::timestamptz, CASE WHEN NOT EXISTS (SELECT FROM marked) THEN %(now)s END,
    CASE WHEN EXISTS (SELECT FROM key) THEN '{"log_keys": 1}'::jsonb ELSE '{}' END
ON CONFLICT DO NOTHING
"""
STATE: Final = """
SELECT (SELECT counts FROM log_erased WHERE account_hash = %(hash)s) AS counts,
    EXISTS (SELECT FROM log_accounts WHERE account_id = %(account_id)s) AS is_there
"""
# The SQL below is made of names of our own tables only; values are always parameters.
OF_ACCOUNT: Final = "WHERE account_id = %(account_id)s"


def prepare(tx: Tx, account_id: UUID, cutoff: datetime | None) -> datetime | None:
    """Close the account to points and tell when its last one came; None without any.

    Until the transaction ends, nobody appends to the account, or opens it; afterwards it is closed for CLOSED. A last point
    at or after the cutoff closes nothing: then it is not to be erased.
    """
    _take_turn(tx, account_id)
    values = {"account_id": account_id, "cutoff": cutoff, "closed": CLOSED}
    row = tx.fetch_one(CLOSE, values)
    last_point_at: datetime | None = row.last_point_at if row else None
    return last_point_at


def order(tx: Tx, account_id: UUID) -> None:
    """Destroy the account's data key, if it has one, and have everything else of it erased. Repeated, it changes nothing."""
    _take_turn(tx, account_id)
    values = {"account_id": account_id, "hash": hash_of(account_id), "now": tx.now}
    tx.connection.exec_driver_sql(ORDER, values)


def state(tx: Tx, account_id: UUID) -> dict[str, int] | None:
    """What was erased, by table, with OBJECTS and POINTS, once nothing is left; None while something is, or not ordered."""
    found = tx.fetch_one(STATE, {"account_id": account_id, "hash": hash_of(account_id)})
    counts: dict[str, int] | None = found.counts if found and not found.is_there else None
    return counts


def is_ordered(tx: Tx, account_hash: bytes) -> bool:
    """Whether the erasure of the account with this hash was ever ordered."""
    return tx.session.get(LogErased, account_hash) is not None


def account_ids(tx: Tx, after: UUID | None, limit: int) -> list[UUID]:
    """The ids of accounts with log data whose erasure is not ordered, in their order."""
    query = select(LogAccount.account_id).where(LogAccount.erasing_at.is_(None))
    if after is not None:
        query = query.where(LogAccount.account_id > after)
    return list(tx.session.scalars(query.order_by(LogAccount.account_id).limit(limit)))


def enqueue_ordered(tx: Tx, limit: int = 500) -> int:
    """Have a worker carry out each erasure that was ordered and has no task yet; how many."""
    known = exists().where(LogTask.account_id == LogAccount.account_id, LogTask.kind == TASK)
    query = select(LogAccount.account_id).where(LogAccount.erasing_at.is_not(None), ~known)
    found = list(tx.session.scalars(query.order_by(LogAccount.erasing_at).limit(limit)))
    for account_id in found:
        tasks.enqueue(tx, TASK, account_id)
    return len(found)


def carry_out(plane: Plane, objects: ObjectStore, account_id: UUID, clock: Callable[[], datetime]) -> None:
    """Erase everything of an account whose erasure was ordered; nothing to do for another.

    May stop anywhere and be begun again. Raises BusyError, and LaterError before the last look, which is after the GRACE.
    """
    with plane.transaction(WORKER, clock()) as tx:
        erasing_at = tx.session.scalar(select(LogAccount.erasing_at).where(LogAccount.account_id == account_id))
    if erasing_at is None:
        return
    _erase_objects(plane, objects, account_id, clock)
    while _erase_batch(plane, account_id, clock):
        pass
    if clock() < erasing_at + GRACE:
        raise LaterError(erasing_at + GRACE)
    _erase_objects(plane, objects, account_id, clock)
    _end(plane, account_id, clock)


def remove_returned(plane: Plane, objects: ObjectStore, clock: Callable[[], datetime]) -> int:
    """Remove objects of accounts that were erased: put after their end, or brought back with a backup. How many accounts."""
    removed = 0
    for folder in FOLDERS:
        names = objects.folders(folder)
        while some := [UUID(name) for name in islice(names, LOOKED_UP)]:
            with plane.transaction(WORKER, clock()) as tx:
                gone = _gone_among(tx, some)
            for account_id in gone:
                objects.delete_below(f"{folder}{account_id}/")
            removed += len(gone)
    return removed


def category_of(counted: str) -> Category | None:
    """The category of the policy that what is counted under this name is of, if it is log data."""
    columns = METADATA.tables[counted].columns if counted in METADATA.tables else ()
    is_log_data = any(mark.category is Category.LOG_DATA for each in columns if (mark := classification_of(each)))
    return Category.LOG_DATA if is_log_data or counted == POINTS else None


def _take_turn(tx: Tx, account_id: UUID) -> None:
    tx.fetch_one(TURN, {"space": LOCK_SPACE, "turn": turn_of(account_id)})


def _gone_among(tx: Tx, account_ids: Sequence[UUID]) -> list[UUID]:
    """Those that were erased and are not there."""
    hashes = {hash_of(account_id): account_id for account_id in account_ids}
    erased = tx.session.scalars(select(LogErased.account_hash).where(LogErased.account_hash.in_(hashes)))
    there = set(tx.session.scalars(select(LogAccount.account_id).where(LogAccount.account_id.in_(account_ids))))
    return [hashes[found] for found in erased if hashes[found] not in there]


def _erase_objects(plane: Plane, objects: ObjectStore, account_id: UUID, clock: Callable[[], datetime]) -> None:
    below = [f"{folder}{account_id}/" for folder in FOLDERS]
    found = sum(sum(1 for _ in objects.keys(prefix)) + len(objects.unfinished(prefix)) for prefix in below)
    if not found:
        return
    with plane.transaction(WORKER, clock()) as tx:  # before they go, so that the count survives a stop in between
        tombstone = _tombstone(tx, account_id)
        tombstone.counts = {**tombstone.counts, OBJECTS: max(found, tombstone.counts.get(OBJECTS, 0))}
    for prefix in below:
        objects.delete_below(prefix)


def _erase_batch(plane: Plane, account_id: UUID, clock: Callable[[], datetime]) -> bool:
    """Delete up to BATCH rows, dependants first, but tasks, by one of which this is done; whether there may be more."""
    with plane.transaction(WORKER, clock()) as tx:
        tombstone, budget = _tombstone(tx, account_id), BATCH
        for name in (name for name in _erased() if name != TASKS):
            erased = _delete(tx, name, account_id, limit=budget)
            tombstone.counts = _added(tombstone.counts, erased)
            budget -= erased.get(name, 0)
            if not budget:
                return True
    return False


def _end(plane: Plane, account_id: UUID, clock: Callable[[], datetime]) -> None:
    """Delete what came meanwhile, the tasks and the account's row, and complete the tombstone."""
    with plane.transaction(WORKER, clock()) as tx:
        # Also against rows that refer to it, none of which can be added from here on.
        there = select(LogAccount.account_id).where(LogAccount.account_id == account_id).with_for_update()
        if tx.session.scalar(there) is None:
            return
        tombstone = _tombstone(tx, account_id)
        for name in (*_erased(), ACCOUNTS):
            tombstone.counts = _added(tombstone.counts, _delete(tx, name, account_id))
        tombstone.erased_at = tx.now
        events.record(tx, "account.erased", account_id=account_id)


def _tombstone(tx: Tx, account_id: UUID) -> LogErased:
    """The account's tombstone, locked; made where a restore took it away."""
    row = insert(LogErased).values(account_hash=hash_of(account_id), ordered_at=tx.now, counts={})
    tx.session.execute(row.on_conflict_do_nothing())
    query = select(LogErased).where(LogErased.account_hash == hash_of(account_id))
    return tx.session.scalars(query.with_for_update()).one()


def _erased() -> list[str]:
    """The tables whose rows go, dependants first; the accounts' goes last, by itself."""
    return [table.name for table in erased_tables(METADATA) if table.name != ACCOUNTS]


def _delete(tx: Tx, name: str, account_id: UUID, *, limit: int | None = None) -> dict[str, int]:
    """Delete the account's rows, so many at most where a limit is given; how many, and how many points they told of."""
    some = "" if limit is None else f" AND ctid = ANY (ARRAY(SELECT ctid FROM {name} {OF_ACCOUNT} LIMIT {limit}))"  # noqa: S608  our own
    points = "points" if name == CHUNKS else "0"
    statement = (
        f"WITH gone AS (DELETE FROM {name} {OF_ACCOUNT}{some} RETURNING {points} AS points) "  # noqa: S608  our own table
        "SELECT count(*), coalesce(sum(points), 0)::bigint FROM gone"
    )
    rows, told = tx.connection.exec_driver_sql(statement, {"account_id": account_id}).one()
    return {counted: number for counted, number in ((name, rows), (POINTS, told)) if number}


def _added(counts: dict[str, Any], more: dict[str, int]) -> dict[str, Any]:
    return {name: counts.get(name, 0) + more.get(name, 0) for name in {**counts, **more}}
