"""Requests of data subjects (GDPR Articles 7(3) and 15 to 22), from receipt to answer, by the states of `rights.states`.

What is asked is carried out by `rights.handling`; only copies of the data begin here, as soon as who asks is identified. A
request that asks for what a running one asks for already is tied to it and ends as it ends: nothing is done twice, and
nobody is left without an answer. One whose asker nobody has identified ties and holds up nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from cloudpriv.audit import events
from cloudpriv.controller import accounts
from cloudpriv.platform.db import Tx
from cloudpriv.platform.ids import new_id
from cloudpriv.policy.periods import answer_due_on, extended_due_on
from cloudpriv.policy.register import Policy
from cloudpriv.rights import letters
from cloudpriv.rights.cases import case as request_case
from cloudpriv.rights.cases import exports as request_exports
from cloudpriv.rights.cases import states
from cloudpriv.rights.cases.case import Case, check_own_answer, find, succeed, tie, tied_to
from cloudpriv.rights.cases.checks import check_may_ask, check_reason, check_staff, check_values
from cloudpriv.rights.cases.details import seal_details
from cloudpriv.rights.cases.exports import EXPORTED
from cloudpriv.rights.cases.grounds import GROUNDS, TYPES, RequestType, check_ground
from cloudpriv.rights.cases.reads import (
    KnownRequest,
    count_open,
    list_latest,
    list_open,
    list_requests,
    open_archive,
    progress_of,
    read_export,
    read_request,
)
from cloudpriv.rights.tables import Export, SubjectRequest

__all__ = [
    "GROUNDS",
    "TYPES",
    "Channel",
    "Identity",
    "KnownRequest",
    "RequestType",
    "answered",
    "begin",
    "complete",
    "conclude",
    "count_open",
    "extend",
    "list_latest",
    "list_open",
    "list_requests",
    "open_archive",
    "progress_of",
    "read_export",
    "read_request",
    "receive",
    "refuse",
    "restart_export",
    "verify",
    "withdraw",
]  # fmt: skip

Channel = Literal["portal", "backend", "letter", "mail"]
Method = Literal["password", "code", "backend", "documents"]
ARCHIVE_READY: Final = "archive_ready"  # the outcome of a request for a copy


@dataclass(frozen=True)
class Identity:
    """How the asker was identified, by whom (a caller's `Actor.name`: kind and id), and what was looked at."""

    method: Method
    by: str
    note: str | None = None


def receive(tx: Tx, policy: Policy, account_id: UUID, type_: str, *, person_id: UUID | None = None,
            channel: Channel = "backend", received_at: datetime | None = None, details: Mapping[str, Any] | None = None,
            identity: Identity | None = None, language: str = "en") -> KnownRequest:  # fmt: skip
    """Take a request about an account, or about one person of it; due by the calendar of its controller's country.

    With an `identity` it is verified at once, and a copy of the data begun or the request tied to a running one; without,
    it waits for `verify`. `received_at` may lie in the past: a letter counts from its receipt. `details` is what was asked
    ({text, changes, …}); `language` that of the archive. A restricted account is served too (Article 18(2)), and a closing
    one: what is open when its erasure begins is answered then. Raises InvalidError, NotFoundError.
    """
    account = accounts.find_account(tx, account_id, lock=True)
    check_may_ask(tx, account_id, person_id)
    received = received_at or tx.now
    check_values(type_, received, tx.now)
    row = SubjectRequest(
        account_id=account_id,
        request_id=new_id(),
        person_id=person_id,
        scope="account" if person_id is None else "person",
        type=type_,
        status="received",
        channel=channel,
        received_at=received,
        due_on=answer_due_on(received, policy.controller_of(account.row.service).country),
        version=1,
    )
    seal_details(account.key, row, {**(details or {}), **({"language": language} if type_ in EXPORTED else {})})
    tx.session.add(row)
    tx.session.flush()
    events.record(tx, "request.create", account_id=account_id, subject_id=row.request_id)
    case = Case(account, row)
    if identity is None:
        letters.tell(tx, row, letters.IDENTITY)
    else:
        _identify(tx, case, identity)
    row.version = 1  # nobody has seen it before
    return case.known(tx)


def verify(tx: Tx, _: Policy, request_id: UUID, identity: Identity) -> KnownRequest:
    """Note how the asker was identified; then it goes on as in `receive`. Raises ConflictError, NotFoundError."""
    case = find(tx, request_id)
    _identify(tx, case, identity)
    return case.known(tx)


def begin(tx: Tx, _: Policy, request_id: UUID) -> KnownRequest:
    """Begin the work on a request whose asker is identified. Raises ConflictError, NotFoundError."""
    case = find(tx, request_id)
    request_case.begin(tx, case)
    return case.known(tx)


def complete(tx: Tx, _: Policy, request_id: UUID, outcome: str) -> KnownRequest:
    """End a request that was granted, and those tied to it; `outcome` is one of the keys of `letters.OUTCOMES`, or a text.

    Raises ConflictError, NotFoundError.
    """
    return _completed(tx, find(tx, request_id), outcome)


def conclude(tx: Tx, row: SubjectRequest, outcome: str) -> KnownRequest:
    """As `complete`, for who has just carried it out: whoever had themselves erased sees their request no more."""
    return _completed(tx, Case(accounts.find_account(tx, row.account_id, lock=True), row), outcome)


def refuse(tx: Tx, _: Policy, request_id: UUID, ground: str, reason: str) -> KnownRequest:
    """End a request, and those tied to it, by a refusal: a ground of `GROUNDS`, and why it applies, in words to the asker.

    The letter names the authority to complain to and the court (Article 12(4)). For staff alone. Raises ConflictError,
    InvalidError for a ground that does not fit, or no reason, and NotFoundError.
    """
    check_staff(tx)
    case = find(tx, request_id)
    check_own_answer(case.row)
    check_ground(case.row.type, ground, verified=case.row.identity_method is not None)
    check_reason(reason)
    for each in (case, *tied_to(tx, case)):
        each.step(tx, "refuse")
        each.decided(tx)
        each.row.ground = ground
        each.add(decision={"reason": reason})
        letters.tell(tx, each.row, letters.REFUSED)
    request_exports.stop(tx, case.row)
    return case.known(tx)


def withdraw(tx: Tx, request_id: UUID, *, outcome: str | None = None) -> KnownRequest:
    """End a request on its asker's word. The eldest tied to it takes its place, for who asked by that one has not withdrawn.

    But who withdraws the erasure of an account keeps the account, so the others that asked for it end too. Raises
    ConflictError, NotFoundError.
    """
    case = find(tx, request_id)
    tied, told = tied_to(tx, case), case.row.effective_at is None  # else the closing's letters tell (`closure`)
    _withdraw(tx, case, outcome, told=told)
    if case.row.type == "erasure":
        for each in tied:
            _withdraw(tx, each, outcome, told=told)
    elif tied:
        succeed(tx, case.row, tied)
    request_exports.stop(tx, case.row)
    return case.known(tx)


def extend(tx: Tx, policy: Policy, request_id: UUID, reason: str) -> KnownRequest:
    """Put off the answer by two further months, with the reason that the asker is told (Article 12(3)). For staff alone.

    Once, no later than on the first due day, and also for those tied to it that can be. Raises ConflictError, InvalidError
    without a reason, NotFoundError.
    """
    check_staff(tx)
    case = find(tx, request_id)
    check_own_answer(case.row)
    states.next_state(case.row.status, "extend")
    states.check_extension(extended=case.row.extended_at is not None, due_on=case.row.due_on, today=tx.now.date())
    check_reason(reason)
    country = policy.controller_of(case.account.row.service).country
    for each in (case, *(tied for tied in tied_to(tx, case) if _extensible(tx, tied.row))):
        each.step(tx, "extend")
        each.row.extended_at, each.row.due_on = tx.now, extended_due_on(each.row.received_at, country)
        each.add(extension={"reason": reason})
        letters.tell(tx, each.row, letters.EXTENDED)
    return case.known(tx)


def restart_export(tx: Tx, request_id: UUID) -> KnownRequest:
    """Begin the export of a request anew whose last one failed or is slow. Raises ConflictError otherwise, NotFoundError."""
    case = find(tx, request_id)
    request_exports.check_restart(tx, case.row)
    request_exports.start(tx, case.row, case.details.get("language", "en"))
    case.row.version += 1
    return case.known(tx)


def answered(tx: Tx, policy: Policy, export: Export) -> None:
    """Complete the request of an export that has become ready, unless it has ended meanwhile."""
    row = tx.session.get_one(SubjectRequest, (export.account_id, export.request_id))
    if row.status == "in_progress":
        complete(tx, policy, row.request_id, ARCHIVE_READY)


def _identify(tx: Tx, case: Case, identity: Identity) -> None:
    row = case.row
    case.step(tx, "verify")
    row.identity_method, row.identity_verified_by, row.identity_verified_at = identity.method, identity.by, tx.now
    if identity.note:
        case.add(identity={"note": identity.note})
    tx.session.flush()
    letters.tell(tx, row, letters.RECEIVED)
    if not tie(tx, case) and row.type in EXPORTED:
        request_case.begin(tx, case)


def _completed(tx: Tx, case: Case, outcome: str) -> KnownRequest:
    check_own_answer(case.row)
    for each in (case, *tied_to(tx, case)):
        each.step(tx, "complete")
        each.decided(tx)
        each.add(outcome=outcome)
        letters.tell(tx, each.row, letters.COMPLETED)
    return case.known(tx)


def _withdraw(tx: Tx, case: Case, outcome: str | None, *, told: bool) -> None:
    case.step(tx, "withdraw")
    if outcome is not None:
        case.add(outcome=outcome)
    if told:
        letters.tell(tx, case.row, letters.WITHDRAWN)


def _extensible(tx: Tx, row: SubjectRequest) -> bool:
    return row.extended_at is None and tx.now.date() <= row.due_on
