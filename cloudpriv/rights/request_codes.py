"""Who made a request by letter or mail shows it by a one-time code to the registered address, where staff asks for one.

Nobody's word stands for the code: it is checked here, in the transaction that notes who the asker is.
"""

from dataclasses import dataclass
from uuid import UUID

from cloudpriv.controller import people
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import FieldError, InvalidError
from cloudpriv.policy.register import Policy
from cloudpriv.rights import codes, handling
from cloudpriv.rights.cases import case, states
from cloudpriv.rights.cases.checks import check_staff
from cloudpriv.rights.codes import SentCode
from cloudpriv.rights.requests import Identity, KnownRequest
from cloudpriv.rights.tables import SubjectRequest


@dataclass(frozen=True)
class RequestCode:
    """A code for a request, and whom it was mailed to."""

    row: SubjectRequest
    person_id: UUID
    sent: SentCode


def send_code(tx: Tx, request_id: UUID, person_id: UUID | None = None) -> RequestCode:
    """Have a code mailed to the person whom the request is about; for a whole account to the owner `person_id`. Audited.

    No mail is sent within ten minutes of the one before: that one still fits. For staff alone. Raises ConflictError unless
    the request waits for its asker's identity, InvalidError for a person who cannot make it, NotFoundError for none.
    """
    check_staff(tx)
    row = case.find(tx, request_id).row
    states.next_state(row.status, "verify")
    whose = _asker(tx, row, person_id)
    return RequestCode(row, whose, codes.send(tx, row.account_id, whose, "identity", request_id))


def verify_by_code(tx: Tx, policy: Policy, request_id: UUID, code_id: UUID, typed: str) -> KnownRequest | None:
    """Note that the asker was identified by the code of `send_code`, and carry the request out; None for a wrong one.

    A wrong one is a try, which counts only if the transaction commits: so it answers instead of raising. For staff alone.
    Raises ConflictError unless the request waits for its asker's identity, NotFoundError, and as `handling.verify`.
    """
    check_staff(tx)
    row = case.find(tx, request_id).row
    states.next_state(row.status, "verify")
    used = codes.use(tx, row.account_id, code_id, typed, subject_id=request_id)
    asker = None if used is None else people.find_person(tx, row.account_id, used.person_id)
    if asker is None or not _may_make(row, asker.person_id, asker.role):
        return None
    return handling.verify(tx, policy, request_id, Identity("code", f"{asker.role}:{asker.person_id}"))


def _asker(tx: Tx, row: SubjectRequest, named: UUID | None) -> UUID:
    """Who has to show who they are. Raises InvalidError, and NotFoundError for a person who is none of the account."""
    whose = named or row.person_id
    if whose is None:
        raise InvalidError(errors=(FieldError("/person_id", "is needed: the owner who asked for the account"),))
    if _may_make(row, whose, people.find_person(tx, row.account_id, whose).role):
        return whose
    about = "an owner of the account" if row.scope == "account" else "the person whom the request is about"
    raise InvalidError(errors=(FieldError("/person_id", f"is not {about}"),))


def _may_make(row: SubjectRequest, person_id: UUID, role: str) -> bool:
    return role == "owner" if row.scope == "account" else person_id == row.person_id
