"""The history of a person's consents: rows that are only ever appended, one after the other, and what they amount to.

Consent holds when the last of a history's `given` and `withdrawn` events is `given`. What was asked for and not confirmed
changes nothing, in either direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, false, insert, select

from cloudpriv.audit import events
from cloudpriv.controller import accounts, people
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.holder_tables import CONSENT, ConsentRecord
from cloudpriv.controller.tables import Person
from cloudpriv.platform.actor import HOLDER, SERVICES, Actor
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import AccountRestrictedError, NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.policy.register import Policy
from cloudpriv.rights.consents import records as consent_records
from cloudpriv.rights.consents.records import PURPOSES, Method, Offer, Purpose, State

LASTS: Final = timedelta(days=7)  # how long what was asked for may be confirmed
OPEN: Final = frozenset({"requested", "withdrawal_requested"})
HOLDING: Final = frozenset({"given", "withdrawal_requested"})
ACTIONS: Final[dict[State, str]] = {
    "requested": "consent.ask",
    "given": "consent.give",
    "withdrawal_requested": "consent.ask_withdrawal",
    "withdrawn": "consent.withdraw",
    "expired": "consent.expire",
}
COLUMNS: Final = tuple(ConsentRecord.__table__.columns)


@dataclass(frozen=True)
class Standing:
    """How consent to a purpose stands at a time, and since when; `none` where it was never spoken of."""

    state: State | Literal["none"]
    since: datetime | None

    @property
    def holds(self) -> bool:
        """Whether consent is given."""
        return self.state in HOLDING


@dataclass(frozen=True)
class History:
    """A person's history of one purpose, oldest first; the person is locked, so that nobody else adds to it meanwhile."""

    account: OpenedAccount
    person: Person
    purpose: Purpose
    rows: list[ConsentRecord]

    @property
    def last(self) -> ConsentRecord | None:
        """The latest event."""
        return self.rows[-1] if self.rows else None

    @property
    def locale(self) -> str | None:
        """The person's language."""
        locale: str | None = people.open_identity(self.account.key, self.person)["locale"]
        return locale


def standing(rows: Sequence[ConsentRecord], now: datetime) -> Standing:
    """How a history stands at `now`; what waited too long has expired, whether or not that was written down yet."""
    if not rows:
        return Standing("none", None)
    last, decided = rows[-1], [row for row in rows if row.state in ("given", "withdrawn")]
    if last.state != "expired" and not is_stale(last, now):
        return Standing(_state(last), last.at)
    if decided and decided[-1].state == "given":
        return Standing("given", decided[-1].at)
    return Standing("expired", last.at if last.state == "expired" else last.at + LASTS)


def is_stale(row: ConsentRecord, now: datetime) -> bool:
    """Whether a row asked for something that nobody confirmed in time."""
    return row.state in OPEN and row.at + LASTS <= now


def rows_of(tx: Tx, account_id: UUID, person_id: UUID, purpose: str | None = None) -> list[ConsentRecord]:
    """A person's history, of one purpose or all, in the order in which it happened."""
    query = select(ConsentRecord).where(ConsentRecord.account_id == account_id, ConsentRecord.person_id == person_id)
    if purpose is not None:
        query = query.where(ConsentRecord.purpose == purpose)
    return list(tx.session.scalars(query.order_by(ConsentRecord.purpose, ConsentRecord.number)))


def locked(tx: Tx, account_id: UUID, person_id: UUID, purpose: str, *, giving: bool = False) -> History:
    """A person's history of a purpose. Raises NotFoundError, also for an unknown purpose.

    For `giving` consent the account is locked, too: what restricts or closes it comes before or after, and not in between.
    """
    account = accounts.find_account(tx, account_id, lock=giving)
    person = lock_person(tx, account_id, Person.person_id == person_id)
    if person is None:
        raise NotFoundError
    return History(account, person, known(purpose), rows_of(tx, account_id, person_id, purpose))


def known(purpose: str) -> Purpose:
    """The purpose of this name. Raises NotFoundError."""
    found = next((each for each in PURPOSES if each == purpose), None)
    if found is None:
        raise NotFoundError
    return found


def lock_person(tx: Tx, account_id: UUID, which: ColumnElement[bool]) -> Person | None:
    """The person of an account whom a condition finds, locked; one who is erased is not found."""
    query = select(Person).where(Person.account_id == account_id, which, Person.erasure_requested_at.is_(None))
    return tx.session.scalar(query.with_for_update(key_share=True).execution_options(populate_existing=True))


def check_may_give(history: History) -> None:
    """Raises AccountClosingError or AccountRestrictedError where nothing new may be begun with the person's data."""
    accounts.check_writable(history.account.row)
    if history.person.restricted_at is not None:
        raise AccountRestrictedError


def append(
    tx: Tx, policy: Policy, history: History, state: State, method: Method, *, told: Offer | None = None
) -> ConsentRecord:
    """Add an event, audited. `told` is what the person was shown, where they were shown something."""
    row = made(tx, policy, history, state, method, told=told)
    add(tx, row)
    history.rows.append(row)
    events.record(tx, ACTIONS[state], account_id=row.account_id, subject_id=row.person_id, fields=[row.purpose])
    return row


def made(
    tx: Tx, policy: Policy, history: History, state: State, method: Method, *, told: Offer | None = None
) -> ConsentRecord:
    """The next row, sealed, not written yet. What is asked for begins a record; what follows belongs to it."""
    consent_id, key, last, person_id = new_id(), history.account.key, history.last, history.person.person_id
    begins = last is None or state == "requested"
    record_id = consent_id if begins or last is None else key.open(last.consent_id, CONSENT, last.record)["record_id"]
    document = {
        **consent_records.header(record_id, person_id, policy),
        **({} if told is None else consent_records.processing(told)),
        "event": consent_records.event(state, method, tx.now, tx.actor.name),
    }
    return ConsentRecord(
        account_id=history.person.account_id,
        consent_id=consent_id,
        person_id=person_id,
        purpose=history.purpose,
        number=1 if last is None else last.number + 1,
        state=state,
        at=tx.now,
        policy_version=policy.version,
        record=key.seal(consent_id, CONSENT, document),
    )


def add(tx: Tx, row: ConsentRecord | None) -> None:
    """Write a row; for none the same is asked of the database, so that the time tells nobody which it was."""
    if row is None:
        tx.session.execute(insert(ConsentRecord).from_select(COLUMNS, select(*COLUMNS).where(false())))
        return
    tx.session.add(row)
    tx.session.flush()


def acting_as(tx: Tx, history: History) -> Tx:
    """The same unit of work on behalf of the person, who proved by a link of a mail who they are."""
    person, account = history.person, history.account.row
    kind: Literal["owner", "member"] = "owner" if person.role == "owner" else "member"
    service = next(each for each in SERVICES if each == account.service)
    return replace(tx, actor=Actor(kind, str(person.person_id), service, frozenset({HOLDER}), person.account_id))


def _state(row: ConsentRecord) -> State:
    state: State = row.state  # type: ignore[assignment]  # the table's constraint knows no other
    return state
