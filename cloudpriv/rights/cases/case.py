"""A request that is worked on: locked with its account, taken from state to state, tied to another that asks the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from cloudpriv.audit import events
from cloudpriv.controller import accounts
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ConflictError
from cloudpriv.rights.cases import exports as request_exports
from cloudpriv.rights.cases import states
from cloudpriv.rights.cases.details import add_details, asked, forget_values, open_details
from cloudpriv.rights.cases.exports import EXPORTED
from cloudpriv.rights.cases.reads import KnownRequest, find_row, known_to
from cloudpriv.rights.cases.states import Event
from cloudpriv.rights.tables import Export, SubjectRequest

# Of these types, two requests are the same only when they ask for the same: what to rectify, what to object to.
BY_CONTENT: Final = ("rectification", "objection", "consent_withdrawal")
ACTIONS: Final[Mapping[Event, str]] = {
    "verify": "request.verify",
    "begin": "request.begin",
    "complete": "request.complete",
    "refuse": "request.refuse",
    "withdraw": "request.withdraw",
    "extend": "request.extend",
}


@dataclass(frozen=True)
class Case:
    """A request's row and its account, both locked, so that no two decide at once."""

    account: OpenedAccount
    row: SubjectRequest

    @property
    def details(self) -> dict[str, Any]:
        """What was asked and said, opened."""
        return open_details(self.account.key, self.row)

    def add(self, **said: Any) -> None:
        """Have the request hold these, sealed, beside what it holds."""
        add_details(self.account.key, self.row, **said)

    def known(self, tx: Tx) -> KnownRequest:
        """The request as those see it who asked for the work."""
        tx.session.flush()
        return known_to(tx, self.account, self.row, _answering(tx, self.row))

    def step(self, tx: Tx, event: Event) -> None:
        """Take it to its next state, audited. Raises ConflictError where there is none."""
        row = self.row
        row.status = states.next_state(row.status, event)
        row.version += 1
        if row.status in states.ENDED:
            row.completed_at = tx.now
            forget_values(self.account.key, row)
        events.record(tx, ACTIONS[event], account_id=row.account_id, subject_id=row.request_id)

    def decided(self, tx: Tx) -> None:
        """Note who decided, and when."""
        self.row.decided_by, self.row.decided_at = tx.actor.name, tx.now


def find(tx: Tx, request_id: UUID) -> Case:
    """The request, locked after its account, as everywhere. Raises NotFoundError, also for what the caller may not see."""
    account_id = find_row(tx, request_id).account_id
    account = accounts.find_account(tx, account_id, lock=True)
    return Case(account, find_row(tx, request_id, lock=True))


def begin(tx: Tx, case: Case) -> None:
    """Begin the work; on a copy of the data, the export. Raises ConflictError."""
    case.step(tx, "begin")
    if case.row.type in EXPORTED:
        request_exports.start(tx, case.row, _language(case.details))


def tie(tx: Tx, case: Case) -> bool:
    """Tie the request to the running one that asks for the same, if there is one; whether there is."""
    running = _running(tx, case)
    if running is None:
        return False
    case.row.duplicate_of = running.request_id
    if case.row.due_on < running.due_on:  # of an erasure, which is done once: by the earlier day
        running.due_on, running.version = case.row.due_on, running.version + 1
    case.step(tx, "begin")
    _begin_anew_if_failed(tx, case, running)
    return True


def tied_to(tx: Tx, case: Case) -> list[Case]:
    """The requests that end with this one, eldest first."""
    query = select(SubjectRequest).where(
        SubjectRequest.account_id == case.row.account_id,
        SubjectRequest.duplicate_of == case.row.request_id,
        SubjectRequest.status.in_(states.OPEN),
    )
    query = query.order_by(SubjectRequest.request_id).with_for_update()
    rows = tx.session.scalars(query.execution_options(populate_existing=True))
    return [Case(case.account, row) for row in rows]


def succeed(tx: Tx, ended: SubjectRequest, tied: list[Case]) -> None:
    """The eldest takes over, with the export that was to answer all of them; the others are tied to it."""
    heir = tied[0].row
    for each in tied:
        each.row.duplicate_of = None if each.row is heir else heir.request_id
        each.row.version += 1
    request_exports.hand_over(tx, ended, heir)
    tx.session.flush()


def check_own_answer(row: SubjectRequest) -> None:
    """Raises ConflictError for an open request that is answered with another."""
    if row.duplicate_of is not None and row.status in states.OPEN:
        raise ConflictError("The request is answered with the one that it is tied to.")


def _running(tx: Tx, case: Case) -> SubjectRequest | None:
    """The eldest running request that asks for the same, about the same, and that will be answered in good time."""
    row = case.row
    query = select(SubjectRequest).where(
        SubjectRequest.account_id == row.account_id,
        SubjectRequest.request_id != row.request_id,
        SubjectRequest.type == row.type,
        SubjectRequest.scope == row.scope,
        SubjectRequest.person_id.is_not_distinct_from(row.person_id),
        SubjectRequest.status.in_(states.RUNNING),
        SubjectRequest.duplicate_of.is_(None),
    )
    query = query.order_by(SubjectRequest.request_id).with_for_update()
    found = tx.session.scalars(query.execution_options(populate_existing=True))
    return next((each for each in found if _asks_the_same(tx, case, each)), None)


def _asks_the_same(tx: Tx, case: Case, other: SubjectRequest) -> bool:
    if other.effective_at is not None:  # an account is closed once
        return True
    if other.due_on > case.row.due_on and case.row.type != "erasure":
        return False  # whoever asks now was told nothing of the later day
    if case.row.type in BY_CONTENT:
        return asked(case.details) == asked(open_details(case.account.key, other))
    if _language(case.details) != _language(open_details(case.account.key, other)):
        return False
    export = request_exports.latest(tx, other)
    return export is None or not request_exports.is_slow(tx, export)


def _begin_anew_if_failed(tx: Tx, case: Case, running: SubjectRequest) -> None:
    """Whoever asks again while an export has failed has it begun anew: it is theirs, too."""
    export = request_exports.latest(tx, running)
    if export is not None and export.status == "failed":
        request_exports.start(tx, running, _language(case.details))


def _language(details: Mapping[str, Any]) -> str:
    """Of the archive's readable page."""
    language: str = details.get("language", "en")
    return language


def _answering(tx: Tx, row: SubjectRequest) -> Export | None:
    if row.duplicate_of is None:
        return request_exports.latest(tx, row)
    return request_exports.latest(tx, tx.session.get_one(SubjectRequest, (row.account_id, row.duplicate_of)))
