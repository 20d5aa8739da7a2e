"""What an erasure does to rows and objects: derived from the classification, so a new table needs no word here.

Every function may be called again after it was interrupted: it does what is left to do.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import CursorResult, func, select, union_all

from cloudpriv.controller.tables import Account, AccountKey, Credential, DirectoryEntry
from cloudpriv.platform.classify import Erasure, erased_tables, tables_with_account_id
from cloudpriv.platform.db import ControllerBase, Tx
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.retention.around import Around
from cloudpriv.retention.scope import scope_of
from cloudpriv.retention.tables import Hold

BATCH: Final = 10_000  # rows in one transaction: some 50 ms of locks and write-ahead log
COUNTED: Final = 2 * BATCH + 1  # enough to know whether more than one batch follows this one
OBJECTS: Final = "objects"  # what the counts of a purge call the objects of the store
METADATA: Final = ControllerBase.metadata
ACCOUNTS: Final = Account.__tablename__
SHREDDED: Final = (AccountKey.__tablename__, DirectoryEntry.__tablename__)
CREDENTIALS: Final = Credential.__tablename__
# The SQL below is made of names of our own tables only; values are always parameters.
OF_ACCOUNT: Final = "WHERE account_id = %(account_id)s"
TABLES_OF_ACCOUNTS: Final = (
    "SELECT r.relname FROM pg_class r JOIN pg_attribute a ON a.attrelid = r.oid WHERE a.attname = 'account_id' "
    "AND NOT a.attisdropped AND r.relkind IN ('r', 'p') AND r.relnamespace = current_schema()::regnamespace"
)


def prefix_of(account_id: UUID) -> str:
    """Below this lie all objects of an account in the bucket of exports."""
    return f"exports/{account_id}/"


def hash_of(account_id: UUID) -> bytes:
    """SHA-256 of the account's id: how the ledger names what is gone."""
    return hashlib.sha256(account_id.bytes).digest()


def shred_key(tx: Tx, account_id: UUID, held: Sequence[Hold] = ()) -> dict[str, int]:
    """Delete the data key and the name: from the commit on nothing sealed opens, and nobody finds the account by name.

    Credentials go with them. What holds keep sealed needs its key, which then stays; one on the account keeps all.
    """
    if held:
        return Around(tx, account_id, scope_of(held)).shred()
    counts = {name: _delete_rows(tx, name, account_id) for name in SHREDDED}
    signing_in = _delete_rows(tx, CREDENTIALS, account_id, limit=BATCH)
    return {**counts, CREDENTIALS: signing_in} if signing_in else counts


def erase_rows(tx: Tx, account_id: UUID, held: Sequence[Hold] = ()) -> tuple[dict[str, int], bool]:
    """Delete up to BATCH rows, dependants first: how many of which table, and whether another batch may not be the last.

    The account's own row stays. Under holds what they keep stays, emptied of all else, and so do the holds; then the second
    answer is whether there may be more to do at all.
    """
    if held:
        return Around(tx, account_id, scope_of(held)).erase(BATCH)
    sizes: dict[str, int] = {row[0]: row[1] for row in _run(tx, _sizes(), account_id)}
    budget, counts = BATCH, {}
    for name in (name for name in _erased() if budget and sizes[name]):
        counts[name] = _delete_rows(tx, name, account_id, limit=budget if sizes[name] > budget else None)
        budget -= min(counts[name], budget)
    return counts, sum(sizes.values()) > 2 * BATCH


def erase_account(tx: Tx, account_id: UUID) -> dict[str, int]:
    """Delete the account's own row and clear its id where rows outlive it."""
    for name in _marked(Erasure.CLEARED):
        _run(tx, f"UPDATE {name} SET account_id = NULL {OF_ACCOUNT}", account_id)  # noqa: S608  our own table
    return {ACCOUNTS: _delete_rows(tx, ACCOUNTS, account_id)}


def tables_left(tx: Tx, account_id: UUID) -> list[str]:
    """The tables in which something of the account is left that should be gone, its own row excepted.

    The database itself is asked which tables have an account's id, so that one without a class cannot hide.
    """
    spared = {ACCOUNTS, *_marked(Erasure.KEPT, Erasure.CLEARED)}
    there = tx.connection.exec_driver_sql(TABLES_OF_ACCOUNTS).scalars()
    return _holding(tx, sorted(name for name in there if name not in spared), account_id)


def may_have_objects(tx: Tx, account_id: UUID) -> bool:
    """Whether a row of the account tells of an object in the store, finished or not."""
    telling = (name for name in _erased() if "object_key" in METADATA.tables[name].columns)
    return bool(_holding(tx, telling, account_id))


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


def _delete_rows(tx: Tx, name: str, account_id: UUID, *, limit: int | None = None) -> int:
    """Delete the account's rows; with a limit, so many by their place in the table, whatever its primary key is."""
    statement = f"DELETE FROM {name} {OF_ACCOUNT}"  # noqa: S608  our own table
    if limit is not None:
        statement += f" AND ctid = ANY (ARRAY(SELECT ctid FROM {name} {OF_ACCOUNT} LIMIT {limit}))"  # noqa: S608  as above
    return _run(tx, statement, account_id).rowcount


def _holding(tx: Tx, names: Iterable[str], account_id: UUID) -> list[str]:
    """Those of the tables that have a row of the account."""
    looks = (f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name} {OF_ACCOUNT})" for name in names)  # noqa: S608  as above
    return list(_run(tx, " UNION ALL ".join(looks), account_id).scalars())


@cache
def _sizes() -> str:
    """Name and number of rows, COUNTED at most, of each table to be erased."""
    some = f"SELECT FROM {{}} {OF_ACCOUNT} LIMIT {COUNTED}"
    return " UNION ALL ".join(f"SELECT '{name}', (SELECT count(*) FROM ({some.format(name)}) s)" for name in _erased())  # noqa: S608  our own


@cache
def _erased() -> tuple[str, ...]:
    """The tables whose rows go, dependants first; the accounts' goes last, by itself."""
    return tuple(table.name for table in erased_tables(METADATA) if table.name != ACCOUNTS)


def _run(tx: Tx, statement: str, account_id: UUID) -> CursorResult[*tuple[Any, ...]]:
    return tx.connection.exec_driver_sql(statement, {"account_id": account_id})


@cache
def _marked(*erasures: Erasure) -> tuple[str, ...]:
    return tuple(table.name for table in tables_with_account_id(METADATA) if table.info["erasure"] in erasures)
