"""What a request must be to be taken, and who may decide about it."""

from datetime import datetime
from uuid import UUID

from cloudpriv.controller import people
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import FieldError, ForbiddenError, InvalidError, NotFoundError
from cloudpriv.rights.cases.grounds import TYPES
from cloudpriv.rights.tables import SubjectRequest


def check_may_ask(tx: Tx, account_id: UUID, person_id: UUID | None) -> None:
    """Raises NotFoundError for a person who is none of the account, and for a holder who asks for somebody else.

    A member asks about themselves, an owner about the account too.
    """
    if person_id is not None:
        people.find_person(tx, account_id, person_id)
    whole = person_id is None and tx.actor.kind == "owner"
    if tx.actor.kind in ("owner", "member") and not whole and str(person_id) != tx.actor.id:
        raise NotFoundError


def check_values(type_: str, received: datetime, now: datetime) -> None:
    """Raises InvalidError for a type that is none, and for a receipt that has not been."""
    if type_ not in TYPES:
        raise InvalidError(errors=(FieldError("/type", f"is none of {', '.join(TYPES)}"),))
    if received > now:
        raise InvalidError(errors=(FieldError("/received_at", "lies in the future"),))


def check_reason(reason: str) -> None:
    """Raises InvalidError for a reason that says nothing: the person is told it."""
    if not reason.strip():
        raise InvalidError(errors=(FieldError("/reason", "is needed"),))


def check_staff(tx: Tx) -> None:
    """Raises ForbiddenError for an account holder: nobody decides about their own request."""
    if tx.actor.kind in ("owner", "member"):
        raise ForbiddenError


def check_own_word(tx: Tx, row: SubjectRequest) -> None:
    """Raises ForbiddenError for an account holder who speaks for somebody else than themselves, or the account."""
    if tx.actor.kind in ("owner", "member") and row.scope == "person" and str(row.person_id) != tx.actor.id:
        raise ForbiddenError
