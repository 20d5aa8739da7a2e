"""Traffic of log data, as the processor plane has told it: taken into the clock of the account that it is of.

What is told waits in a box, by account id and time. It only ever moves a clock on, and never ahead of now.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select

from cloudpriv.audit import events
from cloudpriv.controller.tables import Account, LogDataTraffic
from cloudpriv.controller.traffic_records import TOLERANCE
from cloudpriv.platform.db import Tx

ACCOUNTS_AT_ONCE: Final = 500


def take_in(tx: Tx, limit: int = ACCOUNTS_AT_ONCE) -> int:
    """Move the clocks of up to `limit` accounts to what was told of them, and empty the box of it; of how many was told.

    Accounts are locked in the order of their ids, as by ingest. What is told of one that is gone or being erased is dropped.
    """
    query = select(LogDataTraffic.account_id).distinct().order_by(LogDataTraffic.account_id).limit(limit)
    told = list(tx.session.scalars(query))
    if told:
        locked = select(Account).where(Account.account_id.in_(told)).order_by(Account.account_id)
        found = tx.session.scalars(locked.with_for_update(key_share=True)).all()
        _move(tx, [account for account in found if account.status != "purging"], _taken(tx, told))
    return len(told)


def hear(tx: Tx, account: Account) -> None:
    """Move the clock of one account, which the caller has locked, and leave the box as it is."""
    latest = tx.session.scalar(select(func.max(LogDataTraffic.at)).where(LogDataTraffic.account_id == account.account_id))
    if latest is not None:
        move_clock(tx, account, latest)


def move_clock(tx: Tx, account: Account, at: datetime) -> None:
    """Note that the account, which the caller has locked, had log data's traffic then."""
    moved_to = min(at, tx.now + TOLERANCE)
    if account.last_traffic_at is not None and account.last_traffic_at >= moved_to:
        return
    account.last_traffic_at = moved_to
    events.record(tx, "logdata.traffic", account_id=account.account_id)


def _move(tx: Tx, accounts: Sequence[Account], latest: dict[UUID, datetime]) -> None:
    for account in accounts:
        if account.account_id in latest:
            move_clock(tx, account, latest[account.account_id])


def _taken(tx: Tx, account_ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """The latest time told of each, and nothing of it is told any more."""
    of_these = delete(LogDataTraffic).where(LogDataTraffic.account_id.in_(account_ids))
    gone = of_these.returning(LogDataTraffic.account_id, LogDataTraffic.at)
    latest: dict[UUID, datetime] = {}
    for account_id, at in tx.session.execute(gone, execution_options={"synchronize_session": False}):
        latest[account_id] = max(at, latest.get(account_id, at))
    return latest
