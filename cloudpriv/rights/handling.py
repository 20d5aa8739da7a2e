"""Requests together with what they do: whoever grants one has it carried out in the same transaction.

Here is what API, portal and command line call. `rights.requests` keeps the states, `rights.effects` does the work.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ConflictError
from cloudpriv.policy.register import Policy
from cloudpriv.rights import closure, effects, requests
from cloudpriv.rights.cases import case as request_case
from cloudpriv.rights.cases import states
from cloudpriv.rights.cases.checks import check_own_word, check_staff
from cloudpriv.rights.cases.exports import EXPORTED
from cloudpriv.rights.requests import Channel, Identity, KnownRequest
from cloudpriv.rights.tables import SubjectRequest


def receive(tx: Tx, policy: Policy, account_id: UUID, type_: str, *, person_id: UUID | None = None,
            channel: Channel = "backend", received_at: datetime | None = None, details: Mapping[str, Any] | None = None,
            identity: Identity | None = None, language: str = "en") -> KnownRequest:  # fmt: skip
    """Take a request as `requests.receive` does, and carry it out if who asks is identified.

    What cannot be done now waits for staff. Raises what that does and `effects.carry_out`, for what makes no sense as it was
    asked: then nothing was taken. Who wants to keep such a request takes it without an identity.
    """
    known = requests.receive(
        tx, policy, account_id, type_, person_id=person_id, channel=channel, received_at=received_at, details=details,
        identity=identity, language=language,
    )  # fmt: skip
    shown = known.row.version
    known = _carry_out(tx, policy, known)
    known.row.version = shown  # nobody has seen it before
    return known


def verify(tx: Tx, policy: Policy, request_id: UUID, identity: Identity) -> KnownRequest:
    """Note how the asker was identified, and carry the request out. Raises as `requests.verify` and `effects.carry_out`."""
    return _carry_out(tx, policy, requests.verify(tx, policy, request_id, identity))


def grant(tx: Tx, policy: Policy, request_id: UUID, outcome: str | None = None) -> KnownRequest:
    """Decide for a request that waits for staff: it is carried out, and what staff did itself is noted as done.

    `outcome` says what was done, where no machine did it. Raises ConflictError for what ends by itself (a copy by its
    export, the closing of an account by its time), ForbiddenError for an account holder, NotFoundError.
    """
    check_staff(tx)
    case = request_case.find(tx, request_id)
    request_case.check_own_answer(case.row)
    if case.row.status == "identity_verified":
        return _carry_out(tx, policy, case.known(tx))
    if case.row.type in EXPORTED or _is_closing(case.row):
        raise ConflictError("The request ends by itself.")
    states.next_state(case.row.status, "complete")
    if case.row.type == "rectification":  # one with changes has been carried out
        return requests.complete(tx, policy, request_id, outcome or effects.DONE)
    done = effects.uphold(tx, policy, case.row, case.details)
    return case.known(tx) if done is None else requests.conclude(tx, case.row, outcome or done)


def refuse(tx: Tx, policy: Policy, request_id: UUID, ground: str, reason: str) -> KnownRequest:
    """Decide against a request as `requests.refuse`; what an objection had restricted is free again once its asker was told.

    Raises ConflictError, too, for the erasure of an account that is closing: that is undone, not refused.
    """
    if _is_closing(request_case.find(tx, request_id).row):
        raise ConflictError("The account is closing; that can be undone by withdrawing the request.")
    return _let_go(tx, requests.refuse(tx, policy, request_id, ground, reason), at_once=False)


def withdraw(tx: Tx, request_id: UUID) -> KnownRequest:
    """End a request on its asker's word, as `requests.withdraw`; an account that it was closing stays.

    Raises AccountClosingError, too, when the time for that is over, and ForbiddenError for an account holder whom it is not
    about: an owner answers for the account, and not for what others want with their own data.
    """
    case = request_case.find(tx, request_id)
    check_own_word(tx, case.row)
    if not _is_closing(case.row):
        return _let_go(tx, requests.withdraw(tx, request_id), at_once=True)
    closure.undo(tx, case.row.account_id)
    return request_case.find(tx, request_id).known(tx)


def _carry_out(tx: Tx, policy: Policy, known: KnownRequest) -> KnownRequest:
    """Do what is asked for, unless it is under way or tied to what is, or nobody knows yet who asks."""
    if known.row.duplicate_of is not None:
        return _carry_out_again(tx, policy, known)
    if known.row.status != "identity_verified":
        return known
    begun = requests.begin(tx, policy, known.row.request_id)
    outcome = effects.carry_out(tx, policy, begun.row, begun.details)
    if outcome is None:
        return request_case.find(tx, begun.row.request_id).known(tx)
    return requests.conclude(tx, begun.row, outcome)


def _carry_out_again(tx: Tx, policy: Policy, tied: KnownRequest) -> KnownRequest:
    """What a request is tied to may have waited for staff for a reason that is gone: an erasure is then carried out."""
    own = request_case.find(tx, tied.row.request_id)  # whom it erases cannot look it up again
    running = request_case.find(tx, own.row.duplicate_of or own.row.request_id)
    if running.row.type == "erasure" and running.row.status == "in_progress" and running.row.effective_at is None:
        outcome = effects.carry_out(tx, policy, running.row, running.details)
        if outcome is not None:
            requests.conclude(tx, running.row, outcome)
        elif _is_closing(running.row):
            running.row.version += 1
    return own.known(tx)


def _is_closing(row: SubjectRequest) -> bool:
    """Whether the request has an account closed whose cooling-off lasts."""
    return (row.type, row.scope, row.status) == ("erasure", "account", "in_progress") and row.effective_at is not None


def _let_go(tx: Tx, known: KnownRequest, *, at_once: bool) -> KnownRequest:
    """Undo what an objection that has ended had restricted."""
    if known.row.type == "objection":
        effects.let_go(tx, known.row, known.details, at_once=at_once)
    return known
