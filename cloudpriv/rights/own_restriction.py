"""A restriction that its holder obtained: whoever asked for it may end it, and needs nobody for that.

What staff restricted on its own stays until staff lifts it; what is restricted while an objection is looked into is free
again when the objection is withdrawn.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, exists, or_, select

from cloudpriv.audit.events import AuditEvent
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ForbiddenError
from cloudpriv.rights import restriction
from cloudpriv.rights.tables import SubjectRequest

RESTRICTING: Final = ("restriction", "objection")


def obtained_of_account(tx: Tx, account_id: UUID) -> bool:
    """Whether the restriction of an account, which is restricted, is what a granted request of its owners asked for."""
    latest = select(AuditEvent.subject_id).where(
        AuditEvent.account_id == account_id, AuditEvent.action == "account.restrict"
    )
    by = latest.order_by(AuditEvent.event_id.desc()).limit(1).scalar_subquery()
    return _is_granted(tx, account_id, None, SubjectRequest.request_id == by)


def obtained_of_person(tx: Tx, account_id: UUID, person_id: UUID, restricted_at: datetime) -> bool:
    """Whether the restriction of a person's data, which began then, is what a granted request of theirs asked for."""
    times = (SubjectRequest.identity_verified_at, SubjectRequest.completed_at)
    return _is_granted(tx, account_id, person_id, or_(*(time == restricted_at for time in times)))


def lift_account(tx: Tx, account_id: UUID) -> None:
    """End a restriction that was obtained. Raises ForbiddenError for another, and for anybody but an owner."""
    if tx.actor.kind != "owner" or not obtained_of_account(tx, account_id):
        raise ForbiddenError
    restriction.lift_account(tx, account_id)


def lift_person(tx: Tx, account_id: UUID, person_id: UUID, restricted_at: datetime) -> None:
    """End a restriction of one's own data that was obtained. Raises ForbiddenError for another, and for anybody else."""
    if str(person_id) != tx.actor.id or not obtained_of_person(tx, account_id, person_id, restricted_at):
        raise ForbiddenError
    restriction.lift_person(tx, account_id, person_id)


def _is_granted(tx: Tx, account_id: UUID, person_id: UUID | None, which: ColumnElement[bool]) -> bool:
    granted = exists().where(
        SubjectRequest.account_id == account_id,
        SubjectRequest.person_id.is_not_distinct_from(person_id),
        SubjectRequest.scope == ("account" if person_id is None else "person"),
        SubjectRequest.type.in_(RESTRICTING),
        SubjectRequest.status == "completed",
        which,
    )
    return bool(tx.session.scalar(select(granted)))
