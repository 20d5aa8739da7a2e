"""What happens before the erasure of an account begins: open requests are answered, owners and recipients are told.

Here, in one transaction under the account's lock, so that nothing is answered twice, and nothing lost with the account: the
letters go out before the addresses do.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import exists, func, select

from cloudpriv.controller import accounts
from cloudpriv.platform.db import Tx, database_time
from cloudpriv.platform.keys import KeyFault
from cloudpriv.retention.tables import OPEN, Purge
from cloudpriv.rights import letters, telling
from cloudpriv.rights.cases import exports as request_exports
from cloudpriv.rights.cases import states
from cloudpriv.rights.cases.case import Case
from cloudpriv.rights.cases.grounds import UNIDENTIFIED
from cloudpriv.rights.tables import SubjectRequest

ERASED: Final = "erased"  # outcomes and reason, as letters word them
ACCOUNT_ERASED: Final = "account_erased"


def before_erasure(tx: Tx, account_id: UUID) -> bool:
    """Whether the erasure of an account may begin, as far as everybody has been told who is to be; has them told if not.

    One by the policy waits for open requests until they are due: what somebody asks for is not erased before they have it,
    and new traffic may keep the account, after which none of them may have ended. For `progress.Stores`, under the account's
    lock.
    """
    if _may_be_answered(tx, account_id):
        return False
    _answer_open(tx, account_id)
    return telling.before_erasure(tx, account_id)


def _may_be_answered(tx: Tx, account_id: UUID) -> bool:
    """Whether the policy would erase what there is still time to answer requests from."""
    by_policy = exists().where(Purge.account_id == account_id, Purge.status.in_(OPEN), Purge.trigger == "policy")
    query = select(func.max(SubjectRequest.due_on)).where(SubjectRequest.account_id == account_id, by_policy)
    due_on = tx.session.scalar(query.where(SubjectRequest.status.in_(states.OPEN)))
    return due_on is not None and due_on >= min(tx.now, database_time(tx)).date()


def _answer_open(tx: Tx, account_id: UUID) -> None:
    """End every open request of the account with what the erasure makes of it, and tell who asked."""
    query = select(SubjectRequest).where(SubjectRequest.account_id == account_id, SubjectRequest.status.in_(states.OPEN))
    found = tx.session.scalars(query.order_by(SubjectRequest.request_id).with_for_update()).all()
    if not found:
        return
    try:
        account = accounts.find_account(tx, account_id, lock=True)
    except KeyFault:  # nobody can read any more whom to tell
        return
    closing = {row.request_id for row in found if row.effective_at is not None}  # their askers were told (`closure`)
    for row in found:
        kind = _end(tx, Case(account, row))
        request_exports.stop(tx, row)
        if not closing & {row.request_id, row.duplicate_of}:
            letters.tell(tx, row, kind)


def _end(tx: Tx, case: Case) -> str:
    """Refuse what nobody knows who asked, and complete the rest; the kind of letter about it."""
    if case.row.status == "received":
        case.step(tx, "refuse")
        case.decided(tx)
        case.row.ground = UNIDENTIFIED
        case.add(decision={"reason": ACCOUNT_ERASED})
        return letters.REFUSED
    if case.row.status == "identity_verified":
        case.step(tx, "begin")
    case.step(tx, "complete")
    case.decided(tx)
    case.add(outcome=ERASED if case.row.type == "erasure" else ACCOUNT_ERASED)
    return letters.COMPLETED
