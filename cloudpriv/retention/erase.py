"""What an erasure does to rows and objects: derived from the classification, so a new table needs no word here.

Every function may be called again after it was interrupted: it does what is left to do.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy
from sqlalchemy import FromClause, Table, any_, column, delete, func, literal, select, text, union_all, update

from cloudpriv.controller.tables import Account, AccountKey, DirectoryEntry
from cloudpriv.platform.classify import Erasure, erased_tables, tables_with_account_id
from cloudpriv.platform.db import ControllerBase, Tx
from cloudpriv.platform.objectstore import ObjectStore

BATCH: Final = 10_000  # rows in one transaction: some 50 ms of locks and write-ahead log
OBJECTS: Final = "objects"  # what the counts of a purge call the objects of the store
METADATA: Final = ControllerBase.metadata
ACCOUNTS: Final = METADATA.tables[Account.__tablename__]
TABLES_OF_ACCOUNTS: Final = text(
    "SELECT r.relname FROM pg_class r JOIN pg_attribute a ON a.attrelid = r.oid WHERE a.attname = 'account_id' "
    "AND NOT a.attisdropped AND r.relkind IN ('r', 'p') AND r.relnamespace = current_schema()::regnamespace"
)
SHREDDED: Final = (AccountKey.__tablename__, DirectoryEntry.__tablename__)


def prefix_of(account_id: UUID) -> str:
    """Below this lie all objects of an account in the bucket of exports."""
    return f"exports/{account_id}/"


def hash_of(account_id: UUID) -> bytes:
    """SHA-256 of the account's id: how the ledger names what is gone."""
    return hashlib.sha256(account_id.bytes).digest()


def shred_key(tx: Tx, account_id: UUID) -> dict[str, int]:
    """Delete the data key and the name: from the commit on nothing sealed opens, and nobody finds the account by name."""
    return {name: _delete_rows(tx, METADATA.tables[name], account_id, BATCH) for name in SHREDDED}


def erase_rows(tx: Tx, account_id: UUID) -> dict[str, int]:
    """Delete up to BATCH rows, dependants first; how many of which table, nothing once only the account's own is left."""
    counts: dict[str, int] = {}
    budget = BATCH
    tables = [table for table in erased_tables(METADATA) if table is not ACCOUNTS]
    left = _holding(tx, tables, account_id)
    for table in (table for table in tables if table.name in left):
        counts[table.name] = _delete_rows(tx, table, account_id, budget)
        budget -= counts[table.name]
        if not budget:
            break
    return counts


def erase_account(tx: Tx, account_id: UUID) -> dict[str, int]:
    """Delete the account's own row and clear its id where rows outlive it."""
    for table in _marked(Erasure.CLEARED):
        tx.session.execute(update(table).where(table.c.account_id == account_id).values(account_id=None))
    return {ACCOUNTS.name: _delete_rows(tx, ACCOUNTS, account_id, 1)}


def tables_left(tx: Tx, account_id: UUID) -> list[str]:
    """The tables in which something of the account is left that should be gone, its own row excepted.

    The database itself is asked which tables have an account's id, so that one without a class cannot hide.
    """
    spared = {ACCOUNTS.name, *(table.name for table in _marked(Erasure.KEPT, Erasure.CLEARED))}
    names = [name for name in tx.session.scalars(TABLES_OF_ACCOUNTS) if name not in spared]
    return sorted(_holding(tx, [sqlalchemy.table(name, column("account_id")) for name in names], account_id))


def leased_until(tx: Tx, account_id: UUID) -> datetime | None:
    """Until when, at the latest, a worker holds something of the account by a lease (an export being written)."""
    leased = [table.c for table in erased_tables(METADATA) if "lease_until" in table.columns]
    ends = [
        select(row.lease_until).where(row.account_id == account_id, row.lease_owner.is_not(None), row.lease_until > tx.now)
        for row in leased
    ]
    last = union_all(*ends).subquery()
    until: datetime | None = tx.session.scalar(select(func.max(last.c.lease_until)))
    return until


def count_objects(objects: ObjectStore, account_id: UUID) -> int:
    """How many objects and unfinished uploads of the account the store holds."""
    prefix = prefix_of(account_id)
    return sum(1 for _ in objects.keys(prefix)) + len(objects.unfinished(prefix))


def erase_objects(objects: ObjectStore, account_id: UUID) -> None:
    """Erase the account's objects, with all versions and unfinished uploads."""
    objects.delete_below(prefix_of(account_id))


def added(counts: dict[str, int], more: dict[str, int]) -> dict[str, int]:
    """Both counts summed, as a new dictionary."""
    return {name: counts.get(name, 0) + more.get(name, 0) for name in {**counts, **more}}


def _holding(tx: Tx, tables: Iterable[FromClause], account_id: UUID) -> set[str]:
    """The names of those tables that have a row of the account."""
    queries = [
        select(literal(table.description)).where(select(table.c.account_id).where(table.c.account_id == account_id).exists())
        for table in tables
    ]
    return set(tx.session.scalars(union_all(*queries)))


def _delete_rows(tx: Tx, table: Table, account_id: UUID, limit: int) -> int:
    """Delete up to `limit` rows by their place: one pass over the index, whatever the primary key is."""
    place: Any = column("ctid")
    some = select(place).select_from(table).where(table.c.account_id == account_id).limit(limit)
    statement = delete(table).where(table.c.account_id == account_id, place == any_(func.array(some.scalar_subquery())))
    deleted: int = tx.session.connection().execute(statement).rowcount
    return deleted


def _marked(*erasures: Erasure) -> list[Table]:
    return [table for table in tables_with_account_id(METADATA) if table.info["erasure"] in erasures]
