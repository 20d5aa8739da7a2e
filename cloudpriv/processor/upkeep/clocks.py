"""Clocks of what the processor plane keeps for its own working: it goes when the policy's rule says, and not before.

Log data itself goes by the customer's word (`orders.retention`, deletions) and with the account. What a rule ends goes in
bounded batches; any number of schedules may do so at once, and one that was stopped anywhere goes on.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Select, and_, delete, select, tuple_

from cloudpriv.platform import accesslog
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx, database_time
from cloudpriv.policy.register import Policy
from cloudpriv.processor import events
from cloudpriv.processor.datamailbox import sync
from cloudpriv.processor.order_tables import LogCallback, LogExport, LogRequest
from cloudpriv.processor.orders import exports
from cloudpriv.processor.tables import LogBatch
from cloudpriv.processor.tasks import Now

BATCH: Final = 1000  # rows in one transaction: some 10 ms of locks
ACCESS_LOG: Final = "web_server_logs"


def erase(plane: Plane, policy: Policy, clock: Now, access_log: Path | None = None) -> Mapping[str, int]:
    """Erase everything whose time is over, the access log of this host too; how much, by the key of its rule.

    Raises BusyError when the database is away, OSError when a disk fails.
    """
    erased = {key: _erase_all(plane, policy, clock, key) for key in CLOCKS}
    if access_log is not None:
        erased[ACCESS_LOG] = accesslog.erase(access_log, policy.rule_for(ACCESS_LOG).anchor_cutoff(clock()))
    return erased


def _erase_all(plane: Plane, policy: Policy, clock: Now, key: str) -> int:
    total, erased = 0, BATCH
    while erased >= BATCH:
        with plane.transaction(WORKER, clock()) as tx:
            # The slower of two clocks: what is erased by one that jumped is lost.
            erased = CLOCKS[key](tx, policy.rule_for(key).anchor_cutoff(min(tx.now, database_time(tx))))
        total += erased
    return total


def _batches(tx: Tx, cutoff: datetime) -> int:
    return _delete(tx, LogBatch, select(*LogBatch.__table__.primary_key).where(LogBatch.received_at < cutoff))


def _transactions(tx: Tx, cutoff: datetime) -> int:
    return sync.forget_old(tx, cutoff, BATCH)


def _exports(tx: Tx, cutoff: datetime) -> int:
    """Archives: from the commit on none can be had; its object is garbage, which another duty removes."""
    over = and_(LogExport.status == "ready", LogExport.ready_at < cutoff)
    query = select(LogExport).where(over).order_by(LogExport.expires_at).limit(BATCH).with_for_update(skip_locked=True)
    found = tx.session.scalars(query).all()
    for row in found:
        exports.expire(tx, row)
    return len(found)


def _requests(tx: Tx, cutoff: datetime) -> int:
    """Answered requests of data subjects, what was to be told of them first."""
    over = select(LogRequest.account_id, LogRequest.request_id).where(LogRequest.ended_at < cutoff)
    found = tx.connection.execute(over.limit(BATCH).with_for_update(skip_locked=True)).all()
    for account_id, request_id in found:
        tx.session.execute(
            delete(LogCallback).where(LogCallback.account_id == account_id, LogCallback.request_id == request_id)
        )
        tx.session.execute(
            delete(LogRequest).where(LogRequest.account_id == account_id, LogRequest.request_id == request_id)
        )
        events.record(tx, "request.erase", account_id=account_id, subject_id=request_id)
    return len(found)


def _delete(tx: Tx, table: Any, over: Select[Any]) -> int:
    """Delete up to BATCH rows; how many. In the order of keys, so that two who do so at once wait and do not deadlock."""
    key = table.__table__.primary_key
    chosen = over.order_by(*key).limit(BATCH)
    return len(tx.connection.execute(delete(table).where(tuple_(*key).in_(chosen)).returning(*key)).all())


# Everything that the policy's housekeeping rules of this plane end, by the key of the rule.
CLOCKS: Final[Mapping[str, Callable[[Tx, datetime], int]]] = {
    "log_batches": _batches,
    "log_exports": _exports,
    "log_transactions": _transactions,
    "log_requests": _requests,
}
