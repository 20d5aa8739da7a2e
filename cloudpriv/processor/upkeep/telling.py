"""Log data is traffic of its account: how the controller plane is told of it, by account id and time alone.

The last point of an account is told once it is an hour later than what was told before, or an hour old: hardly more than
once an hour, and in the end exactly. It is told before it is noted as told, so a stop in between has it told twice, which
does no harm, and never not at all.

A time ahead of the database's clock, by which points are noted, is from when that clock was wrong: it is put back to now, so
that it keeps no account for ever, nor anything from being told.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import and_, func, or_, select, text, update

from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.ids import new_id
from cloudpriv.processor.tables import LogAccount

TOLD_EVERY: Final = timedelta(hours=1)
TOLD_AT_ONCE: Final = 500
AHEAD: Final = timedelta(minutes=5)  # more than the clocks of two servers of one database differ
TELL: Final = text("INSERT INTO log_data_traffic (account_id, told_id, at) VALUES (:account_id, :told_id, :at)")


def tell(plane: Plane, teller: Plane, clock: Callable[[], datetime]) -> int:
    """Tell the controller plane of the last points that are to be told; of how many accounts. Raises BusyError.

    No transaction of one plane waits for the other: no append is kept waiting by a controller plane that is away.
    """
    _put_back(plane, clock)
    told, number = TOLD_AT_ONCE, 0
    while told == TOLD_AT_ONCE:
        with plane.transaction(WORKER, clock(), read_only=True) as tx:
            found = _untold(tx)
        if found:
            with teller.transaction(WORKER, clock()) as tx:
                rows = [{"account_id": account_id, "told_id": new_id(), "at": at} for account_id, at in found]
                tx.connection.execute(TELL, rows)
            with plane.transaction(WORKER, clock()) as tx:
                _note(tx, found)
        told = len(found)
        number += told
    return number


def _put_back(plane: Plane, clock: Callable[[], datetime]) -> None:
    """Correct what lies ahead of the database's clock."""
    last, told, latest = LogAccount.last_point_at, LogAccount.told_at, func.clock_timestamp() + AHEAD
    with plane.transaction(WORKER, clock()) as tx:
        ahead = select(LogAccount.account_id).where(or_(last > latest, and_(last.is_not(None), told > latest)))
        rows = update(LogAccount).where(LogAccount.account_id.in_(ahead.order_by(LogAccount.account_id).with_for_update()))
        values = {"last_point_at": func.least(last, func.clock_timestamp()), "told_at": None}
        tx.session.execute(rows.values(values), execution_options={"synchronize_session": False})


def _untold(tx: Tx) -> list[tuple[UUID, datetime]]:
    """Accounts and the time of their last points."""
    last, told = LogAccount.last_point_at, LogAccount.told_at
    later = and_(last > told, or_(last >= told + TOLD_EVERY, last <= tx.now - TOLD_EVERY))
    query = select(LogAccount.account_id, last).where(
        last.is_not(None), LogAccount.erasing_at.is_(None), or_(told.is_(None), later)
    )
    return [(account_id, at) for account_id, at in tx.session.execute(query.order_by(last).limit(TOLD_AT_ONCE)) if at]


def _note(tx: Tx, told: Sequence[tuple[UUID, datetime]]) -> None:
    for account_id, at in sorted(told):
        row = update(LogAccount).where(LogAccount.account_id == account_id)
        tx.session.execute(row.values(told_at=at), execution_options={"synchronize_session": False})
