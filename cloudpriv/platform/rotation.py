"""Rotation of a plane's key-encryption keys: data keys wrapped anew under the active one, account by account.

What is sealed under a data key is not touched. Once no data key is wrapped under a former key-encryption key, that key may
be destroyed, and with it every data key of an erased account that a backup still holds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Table, func, select, update

from cloudpriv.platform.actor import Actor
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.keys import KeyFault, WrappedKey

AT_ONCE: Final = 500  # accounts a transaction: none of them is opened or erased meanwhile


@dataclass(frozen=True)
class Rewrapped:
    """How many data keys were wrapped anew, and the accounts whose keys do not open with any key of the keyring."""

    number: int
    unreadable: list[UUID]


def counts(tx: Tx, table: Table) -> dict[str, int]:
    """How many data keys of a table are wrapped under each key-encryption key, by its name in the keyring."""
    kek_id = table.c.kek_id
    found = tx.connection.execute(select(kek_id, func.count()).group_by(kek_id).order_by(kek_id)).all()
    return {name: number for name, number in found}  # noqa: C416  a row is no pair to mypy


def rewrap(plane: Plane, table: Table, actor: Actor, clock: Callable[[], datetime]) -> Rewrapped:
    """Wrap every data key of a table under the plane's active key-encryption key, in bounded transactions.

    As the tables' owner. May be stopped anywhere and run again; an account that is erased meanwhile stays erased. Raises
    BusyError.
    """
    after, total, unreadable = UUID(int=0), 0, list[UUID]()
    while True:
        with plane.transaction(actor, clock()) as tx:
            rows = tx.connection.execute(_others(table, plane.keys.active, after)).all()
            for account_id, kek_id, wrapped in rows:
                try:
                    anew = plane.keys.rewrap(account_id, WrappedKey(kek_id, wrapped))
                except KeyFault:
                    unreadable.append(account_id)
                    continue
                values = {"kek_id": anew.kek_id, "wrapped": anew.wrapped}
                tx.connection.execute(update(table).where(table.c.account_id == account_id).values(values))
                total += 1
        if len(rows) < AT_ONCE:
            return Rewrapped(total, unreadable)
        after = rows[-1][0]


def _others(table: Table, active: str, after: UUID) -> Any:
    """The next rows under another key than the active one, locked."""
    query = select(table.c.account_id, table.c.kek_id, table.c.wrapped).where(table.c.kek_id != active)
    return query.where(table.c.account_id > after).order_by(table.c.account_id).limit(AT_ONCE).with_for_update()
