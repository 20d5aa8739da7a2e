"""What the processor's record (GDPR Article 30(2)) tells of one customer: what is held, and what was instructed and done.

The other half, which is the same for all customers, is in the policy file (`Policy.as_processor_record`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from cloudpriv.platform.db import Tx
from cloudpriv.processor import accounts, events
from cloudpriv.processor.order_tables import LogDeletion, LogExport, LogInstruction, LogRequest
from cloudpriv.processor.orders import instructions, retention, scope
from cloudpriv.processor.orders.instructions import Instruction
from cloudpriv.processor.orders.retention import Rules
from cloudpriv.processor.tables import LogChunk, LogToken

Counts = Mapping[str, int]


@dataclass(frozen=True)
class Facts:
    """An account's log data at one moment. `points` and `size` (bytes, sealed) are what objects hold, deletions under way
    included. Counts are by kind, by what brought about a deletion, by the status of an export, by the type of a request.
    """  # fmt: skip

    account_id: UUID
    as_of: datetime
    since: datetime
    devices: int
    tags: int
    points: int
    size: int
    first_point_at: datetime | None
    last_point_at: datetime | None
    tokens: Counts
    instructions: Counts
    running: Sequence[Instruction]
    retention: Rules
    deletions: Counts
    exports: Counts
    requests: Counts


def read(tx: Tx, account_id: UUID) -> Facts:
    """What there is to tell of the account now, audited. Raises NotFoundError."""
    account = accounts.find_account(tx, account_id)
    names = scope.names(tx, account)
    of_chunks = select(
        func.coalesce(func.sum(LogChunk.points), 0),
        func.coalesce(func.sum(LogChunk.size), 0),
        func.min(LogChunk.since),
        func.max(LogChunk.until),
    )
    points, size, first, last = tx.connection.execute(of_chunks.where(LogChunk.account_id == account_id)).one()
    events.record(tx, "record.read", account_id=account_id)
    return Facts(
        account_id=account_id,
        as_of=tx.now,
        since=account.row.opened_at,
        devices=len(names.devices),
        tags=len(names.tags),
        points=points,
        size=size,
        first_point_at=first,
        last_point_at=last,
        tokens=_counts(tx, account_id, LogToken, LogToken.kind, LogToken.revoked_at.is_(None)),
        instructions=_counts(tx, account_id, LogInstruction, LogInstruction.kind),
        running=instructions.list_running(tx, account, names),
        retention=retention.rules_of(tx, account_id, names),
        deletions=_counts(tx, account_id, LogDeletion, LogDeletion.trigger),
        exports=_counts(tx, account_id, LogExport, LogExport.status),
        requests=_counts(tx, account_id, LogRequest, LogRequest.type),
    )


def _counts(tx: Tx, account_id: UUID, table: Any, by: Any, *conditions: Any) -> Counts:
    query = select(by, func.count()).where(table.account_id == account_id, *conditions).group_by(by).order_by(by)
    return {row[0]: row[1] for row in tx.connection.execute(query)}
