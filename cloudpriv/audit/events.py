"""Audit events: who read or changed whose data, when (law 7).

Append-only by database grant. An event holds ids and names of fields, never values, so that the trail outlives the
erasure of the person it is about (GDPR Article 5(2)).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Index, String, Uuid, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped

from cloudpriv.audit.canonical import canonical
from cloudpriv.audit.tables import PendingEntry
from cloudpriv.platform.classify import Category, Erasure, about, withheld
from cloudpriv.platform.db import ControllerBase, Tx
from cloudpriv.platform.ids import new_id

OPERATION: Final = Category.OPERATION
INCOMING: Final = "traffic.write"  # by far the most frequent, and nobody's look
WHY: Final = "a trail about the account, without personal data; shown by its access log"


class AuditEvent(ControllerBase):
    """One read or change; `action` is `<subject>.<verb>`, `fields` the names of changed members."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index(None, "account_id", "event_id"),
        # When traffic was last received, whatever its own time: read by the purge's guards.
        Index("ix_audit_events_traffic", "at", postgresql_where=text(f"action = '{INCOMING}'")),
        # What holders are shown, latest first: a year of traffic lies between two looks.
        Index("ix_audit_events_looks", "account_id", "event_id", postgresql_where=text(f"action <> '{INCOMING}'")),
        Index("ix_audit_events_subject", "account_id", "subject_id", "event_id",
              postgresql_where=text("subject_id IS NOT NULL")),
        about(Erasure.KEPT, why=WHY),
    )  # fmt: skip

    event_id: Mapped[UUID] = withheld(OPERATION, Uuid, primary_key=True, why=WHY)
    at: Mapped[datetime] = withheld(OPERATION, DateTime(timezone=True), why=WHY)
    actor_kind: Mapped[str] = withheld(OPERATION, String, why=WHY)
    actor_id: Mapped[str] = withheld(OPERATION, String, why=WHY)
    action: Mapped[str] = withheld(OPERATION, String, why=WHY)
    account_id: Mapped[UUID | None] = withheld(OPERATION, Uuid, nullable=True, why=WHY)
    subject_id: Mapped[UUID | None] = withheld(OPERATION, Uuid, nullable=True, why=WHY)
    fields: Mapped[list[str]] = withheld(OPERATION, ARRAY(String), why=WHY)
    request_id: Mapped[UUID | None] = withheld(OPERATION, Uuid, nullable=True, why=WHY)


VALUES: Final = {
    column.name: f"%({column.name})s::{column.type.compile(dialect=postgresql.dialect())}"  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it without
    for column in AuditEvent.__table__.columns
}
EVENT: Final = f"INSERT INTO {AuditEvent.__tablename__} ({', '.join(VALUES)}) SELECT {', '.join(VALUES.values())}"
ENTRY: Final = f"INSERT INTO {PendingEntry.__tablename__} (entry_id) SELECT {VALUES['event_id']}"
# One statement, so that no event escapes the log.
APPEND: Final = f"WITH entry AS ({ENTRY}) {EVENT}"


def record(tx: Tx, action: str, *, account_id: UUID | None = None, subject_id: UUID | None = None,
           fields: Sequence[str] = ()) -> None:  # fmt: skip
    """Append one event to the unit of work: it commits with what it tells of, or not at all."""
    tx.append(APPEND, _event(tx, action, account_id, subject_id, fields))


def record_each(tx: Tx, action: str, account_ids: Iterable[UUID]) -> None:
    """Append one event for each account."""
    for account_id in account_ids:
        record(tx, action, account_id=account_id)


def told_with(found: str, event: str = "told") -> str:
    """Parts of a WITH statement that append an event, with the values of `event_of`, if the part `found` finds a row.

    So a read and its event are one statement: neither happens without the other.
    """
    return f"{event} AS ({EVENT} FROM {found}), {event}_entry AS ({ENTRY} FROM {found})"


def event_of(tx: Tx, action: str, account_id: UUID | None, subject_id: UUID | None = None) -> dict[str, Any]:
    """The values of an event, for a statement with `told_with`."""
    return _event(tx, action, account_id, subject_id)


def leaf(event: Mapping[Any, Any]) -> bytes:
    """What stands for an event in the log: the canonical JSON (RFC 8785) of all its columns."""
    return canonical({name: event[name] for name in VALUES})


def list_events(tx: Tx, account_id: UUID, *, after: UUID | None, limit: int) -> list[AuditEvent]:
    """Events about an account, oldest first, and one more than `limit` if there is one; the look is an event too."""
    record(tx, "audit.read", account_id=account_id)
    query = select(AuditEvent).where(AuditEvent.account_id == account_id)
    if after is not None:
        query = query.where(AuditEvent.event_id > after)
    return list(tx.session.scalars(query.order_by(AuditEvent.event_id).limit(limit + 1)))


def _event(
    tx: Tx, action: str, account_id: UUID | None, subject_id: UUID | None = None, fields: Sequence[str] = ()
) -> dict[str, Any]:
    return {
        "event_id": new_id(),
        "at": tx.now,
        "actor_kind": tx.actor.kind,
        "actor_id": tx.actor.id,
        "action": action,
        "account_id": account_id,
        "subject_id": subject_id,
        "fields": list(fields),
        "request_id": tx.request_id,
    }
