"""What a plan would erase, account by account: what a dry run shows."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Table, func, select

from cloudpriv.controller.tables import Account
from cloudpriv.platform.classify import erased_tables
from cloudpriv.platform.db import ControllerBase, Tx
from cloudpriv.policy.register import Policy
from cloudpriv.retention import due
from cloudpriv.retention.tables import Purge

SHOWN: Final = ("people", "devices", "traffic")  # what an operator knows an account by; the rest is summed


@dataclass(frozen=True)
class Planned:
    """An account of a plan, and how many rows it has of what."""

    account_id: UUID
    purge_id: UUID
    status: str
    last_activity_at: datetime
    due_since: datetime
    people: int
    devices: int
    traffic: int
    other_rows: int


def contents(tx: Tx, policy: Policy, run_id: UUID) -> list[Planned]:
    """The accounts of a run that are still there, longest idle first, with what they hold."""
    query = (
        select(Purge.purge_id, Purge.status, Account.account_id, due.ACTIVITY)
        .join(Account, Account.account_id == Purge.account_id)
        .where(Purge.run_id == run_id)
        .order_by(due.ACTIVITY, Account.account_id)
    )
    rows = tx.session.execute(query).all()
    counted = _counts(tx, [account_id for _, _, account_id, _ in rows])
    erasable_from = due.rule(policy).erasable_from
    return [
        Planned(account_id, purge_id, status, anchor, erasable_from(anchor), **counted[account_id])
        for purge_id, status, account_id, anchor in rows
    ]


def _counts(tx: Tx, account_ids: list[UUID]) -> dict[UUID, dict[str, int]]:
    found = {account_id: {**dict.fromkeys(SHOWN, 0), "other_rows": 0} for account_id in account_ids}
    for table in erased_tables(ControllerBase.metadata):
        name = table.name if table.name in SHOWN else "other_rows"
        for account_id, number in _count(tx, table, account_ids):
            found[account_id][name] += number
    return found


def _count(tx: Tx, table: Table, account_ids: list[UUID]) -> list[tuple[UUID, int]]:
    account_id = table.c.account_id
    query = select(account_id, func.count()).where(account_id.in_(account_ids)).group_by(account_id)
    return [(each, number) for each, number in tx.session.execute(query)]
