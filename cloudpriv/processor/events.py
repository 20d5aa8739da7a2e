"""Events of the processor plane: who read or changed whose log data, or tried to (law 7).

They are shown to the customer whose data it is. Append-only by database grant; ids and names of members, never values.
"""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import exists, func, or_, select
from sqlalchemy.dialects import postgresql

from cloudpriv.platform.db import Tx
from cloudpriv.platform.ids import new_id
from cloudpriv.processor.tables import LogEvent

REFUSED: Final = "access.refused"
REFUSALS_TOLD: Final = timedelta(minutes=1)  # how often the same attempt is told, so that a flood of them fills no disk
# How often attempts that name no account are, at whatever route: they stand in every customer's log, for ever.
NAMELESS_TOLD: Final = timedelta(hours=1)
LOCK_SPACE: Final = 7_235_003  # so that no other lock of two numbers is taken for this

VALUES: Final = {
    column.name: f"%({column.name})s::{column.type.compile(dialect=postgresql.dialect())}"  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it without
    for column in LogEvent.__table__.columns
}
APPEND: Final = f"INSERT INTO {LogEvent.__tablename__} ({', '.join(VALUES)}) SELECT {', '.join(VALUES.values())}"


def record(tx: Tx, action: str, *, account_id: UUID | None, subject_id: UUID | None = None,
           instruction_id: UUID | None = None, fields: Sequence[str] = ()) -> None:  # fmt: skip
    """Append one event to the unit of work: it commits with what it tells of, or not at all."""
    about = {"account_id": account_id, "subject_id": subject_id, "instruction_id": instruction_id, "fields": list(fields)}
    tx.append(APPEND, _event(tx, action, **about))


def record_refusal(tx: Tx, account_id: UUID | None, route: str, instruction_id: UUID | None = None) -> None:
    """Append that the actor was refused at a route, unless the same was told within REFUSALS_TOLD.

    Without an account, unless any such attempt of the actor was told within NAMELESS_TOLD. One at a time for an actor, so
    that of several at once one is told.
    """
    turn = int.from_bytes(hashlib.sha256(tx.actor.id.encode()).digest()[:4], "big", signed=True)
    tx.session.execute(select(func.pg_advisory_xact_lock(LOCK_SPACE, turn)))
    told = exists().where(
        LogEvent.account_id.is_not_distinct_from(account_id),
        LogEvent.at > tx.now - (NAMELESS_TOLD if account_id is None else REFUSALS_TOLD),
        LogEvent.action == REFUSED,
        LogEvent.actor_id == tx.actor.id,
    )
    if account_id is not None:
        told = told.where(LogEvent.fields == [route], LogEvent.instruction_id.is_not_distinct_from(instruction_id))
    if not tx.session.scalar(select(told)):
        record(tx, REFUSED, account_id=account_id, instruction_id=instruction_id, fields=[route])


def list_events(tx: Tx, account_id: UUID, *, after: UUID | None, limit: int, newest_first: bool = False) -> list[LogEvent]:
    """Events about an account, and refused attempts that named none, those that follow `after` in this order.

    One more than `limit` if there is one. The look is an event too.
    """
    record(tx, "events.read", account_id=account_id)
    query = select(LogEvent).where(or_(LogEvent.account_id == account_id, LogEvent.account_id.is_(None)))
    if after is not None:
        query = query.where(LogEvent.event_id < after if newest_first else LogEvent.event_id > after)
    order = LogEvent.event_id.desc() if newest_first else LogEvent.event_id
    return list(tx.session.scalars(query.order_by(order).limit(limit + 1)))


def _event(tx: Tx, action: str, **about: Any) -> dict[str, Any]:
    return {
        "event_id": new_id(),
        "at": tx.now,
        "actor_kind": tx.actor.kind,
        "actor_id": tx.actor.id,
        "action": action,
        "request_id": tx.request_id,
        **about,
    }
