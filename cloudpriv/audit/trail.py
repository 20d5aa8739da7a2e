"""The trail as an account's holders are shown it: latest first, of the account or of one person in it."""

from collections.abc import Iterator
from uuid import UUID

from sqlalchemy import ColumnElement, literal_column, select

from cloudpriv.audit import events
from cloudpriv.audit.events import INCOMING, AuditEvent
from cloudpriv.platform.db import Tx


def list_latest(
    tx: Tx,
    account_id: UUID,
    *,
    person_id: UUID | None = None,
    incoming: bool = False,
    but_of: UUID | None = None,
    before: UUID | None,
    limit: int,
) -> list[AuditEvent]:
    """Events about an account, latest first, and one more than `limit` if there is one; the look is an event too.

    With `person_id` those alone that are about this person. That traffic came in is left out unless `incoming`,
    since devices send day and night, and so is what the person `but_of` did. `before` is the last event of the page before.
    """
    events.record(tx, "audit.read", account_id=account_id, subject_id=person_id)
    query = select(AuditEvent).where(*_shown(account_id, person_id, incoming))
    if but_of is not None:
        query = query.where(AuditEvent.actor_id != str(but_of))
    if before is not None:
        query = query.where(AuditEvent.event_id < before)
    return list(tx.session.scalars(query.order_by(AuditEvent.event_id.desc()).limit(limit + 1)))


def _shown(account_id: UUID, person_id: UUID | None, incoming: bool) -> Iterator[ColumnElement[bool]]:
    yield AuditEvent.account_id == account_id
    if person_id is not None:
        yield AuditEvent.subject_id == person_id
    if not incoming:  # written out, so that PostgreSQL sees that an index has just these
        yield AuditEvent.action != literal_column(f"'{INCOMING}'")
