"""Consents: an append-only history in the terms of ISO/IEC TS 27560, with double opt-in and double opt-out.

Consent is given by two acts: it is asked for, and confirmed by a link that is mailed to the registered address. It is
withdrawn by one where we know who does it, a session or the link of a mail, since that must be as easy as giving it (GDPR
Article 7(3)); who cannot sign in asks for it, and confirms by mail. See `doors` for what needs no session.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import exists, select
from sqlalchemy.orm import aliased

from cloudpriv.audit import events
from cloudpriv.controller import accounts, outbox, people
from cloudpriv.controller.holder_tables import CONSENT, ConsentRecord
from cloudpriv.controller.tables import Account, Person
from cloudpriv.platform.actor import HOLDER
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import AccountRestrictedError, InvalidError, NotFoundError
from cloudpriv.platform.keys import KeyFault
from cloudpriv.platform.mail import check_address
from cloudpriv.policy.register import Policy
from cloudpriv.rights.consents import history as consent_history
from cloudpriv.rights.consents import mail as consent_mail
from cloudpriv.rights.consents import records as consent_records
from cloudpriv.rights.consents.history import LASTS, OPEN, History, Standing
from cloudpriv.rights.consents.mail import unsubscribe_headers, writers
from cloudpriv.rights.consents.records import PURPOSES, Method, Purpose

__all__ = ["ConsentState", "ask", "expire", "holds_at", "read_history", "state_of", "unsubscribe_headers", "withdraw",
           "withdraw_all", "writers"]  # fmt: skip

log = structlog.get_logger(__name__)

NO_ADDRESS: Final = "There is no e-mail address on record to which a confirmation could be sent."


@dataclass(frozen=True)
class ConsentState:
    """How a person's consent to a purpose stands, since when, and the headers of mail that rests on it while it holds."""

    purpose: Purpose
    state: str
    since: datetime | None
    headers: Mapping[str, str]

    @property
    def holds(self) -> bool:
        """Whether consent is given: the one thing that whoever sends has to ask."""
        return self.state in consent_history.HOLDING


@dataclass(frozen=True)
class ConsentEvent:
    """One event of a history, opened: see `records` for the members of `record`."""

    purpose: Purpose
    state: str
    at: datetime
    record: Mapping[str, Any]


def state_of(tx: Tx, url: str, account_id: UUID, person_id: UUID) -> list[ConsentState]:
    """How a person's consents stand now, audited as one read. `url` is the portal's public base URL.

    Raises NotFoundError, and to a sender AccountRestrictedError or AccountClosingError while the account's or person's data
    may not be used.
    """
    account, person = accounts.find_account(tx, account_id), people.find_person(tx, account_id, person_id)
    _check_reader(tx, person_id)
    if HOLDER not in tx.actor.scopes:
        _check_may_send(account.row, person)
    rows = consent_history.rows_of(tx, account_id, person_id)
    events.record(tx, "consent.read", account_id=account_id, subject_id=person_id)
    found = []
    for purpose in PURPOSES:
        stands = consent_history.standing([row for row in rows if row.purpose == purpose], tx.now)
        headers = unsubscribe_headers(url, account.key, person_id, purpose) if stands.holds else {}
        found.append(ConsentState(purpose, stands.state, stands.since, headers))
    return found


def read_history(tx: Tx, account_id: UUID, person_id: UUID) -> list[ConsentEvent]:
    """Everything that a person ever said about consents, in order and by purpose, audited. Raises NotFoundError."""
    account = accounts.find_account(tx, account_id)
    people.find_person(tx, account_id, person_id)
    _check_reader(tx, person_id)
    events.record(tx, "consent.read", account_id=account_id, subject_id=person_id)
    return [
        ConsentEvent(consent_mail.purpose_of(row), row.state, row.at, account.key.open(row.consent_id, CONSENT, row.record))
        for row in consent_history.rows_of(tx, account_id, person_id)
    ]


def holds_at(tx: Tx, account_id: UUID, person_id: UUID, purpose: str, moment: datetime) -> bool:
    """Whether consent held at a time, by what had happened until then: a withdrawal has no effect on the past. Audited."""
    accounts.find_account(tx, account_id)
    _check_reader(tx, person_id)
    rows = [row for row in consent_history.rows_of(tx, account_id, person_id, purpose) if row.at <= moment]
    events.record(tx, "consent.read", account_id=account_id, subject_id=person_id)
    return consent_history.standing(rows, moment).holds


def ask(tx: Tx, policy: Policy, account_id: UUID, person_id: UUID, purpose: str, *, language: str | None) -> Standing:
    """Note that a person wants to consent, and have them mailed a link to confirm it with; how consent stands then.

    Nothing is done where it holds; where it was asked for, the same link is mailed again. Raises NotFoundError,
    InvalidError without an address, AccountRestrictedError, AccountClosingError.
    """
    _check_self(tx, person_id)
    history = consent_history.locked(tx, account_id, person_id, purpose, giving=True)
    consent_history.check_may_give(history)
    told = consent_records.offer(policy, history.account.row.service, purpose, language)
    _check_address(history)
    stands = consent_history.standing(history.rows, tx.now)
    if stands.holds:
        return stands
    if stands.state != "requested":
        _settle(tx, policy, history)
        consent_history.append(tx, policy, history, "requested", _by(tx), told=told)
    outbox.queue_mail(tx, consent_mail.CONFIRM, account_id, person_id, history.rows[-1].consent_id)
    return consent_history.standing(history.rows, tx.now)


def withdraw(
    tx: Tx, policy: Policy, account_id: UUID, person_id: UUID, purpose: str, *, method: Method | None = None
) -> None:
    """Withdraw consent, or what was asked for and not confirmed, at once; nothing to do where it is withdrawn.

    Restriction and closing hold up nothing. Who withdraws what they never gave has said no: that is noted, too. Raises
    NotFoundError.
    """
    _check_self(tx, person_id)
    _withdraw(tx, policy, consent_history.locked(tx, account_id, person_id, purpose), method or _by(tx))


def withdraw_all(tx: Tx, policy: Policy, account_id: UUID, person_id: UUID) -> list[Purpose]:
    """Withdraw everything that a person consented to, or asked for: what a request under Article 7(3) does; what it was.

    An owner's request may be about everybody in the account. Raises NotFoundError.
    """
    _check_reader(tx, person_id)
    accounts.find_account(tx, account_id)
    spoken = {row.purpose for row in consent_history.rows_of(tx, account_id, person_id)}
    found = [purpose for purpose in PURPOSES if purpose in spoken]
    for purpose in found:
        _withdraw(tx, policy, consent_history.locked(tx, account_id, person_id, purpose), "request")
    return found


def expire(tx: Tx, policy: Policy, *, limit: int, unreadable: set[UUID] | None = None) -> int:
    """Write down for up to `limit` histories that what was asked for was not confirmed in time; how many were seen to.

    Fewer than `limit` means that none is left. Accounts whose key does not open are reported and join the `unreadable`, who
    are left out.
    """
    failed = set() if unreadable is None else unreadable
    found = tx.session.execute(_unconfirmed(tx.now, failed).limit(limit)).all()
    for account_id, person_id, purpose in found:
        try:
            _settle(tx, policy, consent_history.locked(tx, account_id, person_id, purpose))
        except KeyFault:
            log.error("consent_not_expired", account=str(account_id), fault=KeyFault.__name__)
            failed.add(account_id)
    return len(found)


def _check_may_send(account: Account, person: Person) -> None:
    if accounts.is_restricted(account) or person.restricted_at is not None:
        raise AccountRestrictedError
    accounts.check_writable(account)


def _withdraw(tx: Tx, policy: Policy, history: History, method: Method) -> None:
    if consent_history.standing(history.rows, tx.now).state != "withdrawn":
        consent_history.append(tx, policy, history, "withdrawn", method)


def _unconfirmed(now: datetime, failed: set[UUID]) -> Any:
    """Histories that end with something that waited too long; their people are locked, those locked by others left out."""
    later = aliased(ConsentRecord)
    ended = exists().where(
        later.account_id == ConsentRecord.account_id,
        later.person_id == ConsentRecord.person_id,
        later.purpose == ConsentRecord.purpose,
        later.number > ConsentRecord.number,
    )
    query = select(ConsentRecord.account_id, ConsentRecord.person_id, ConsentRecord.purpose)
    query = query.join(Account, Account.account_id == ConsentRecord.account_id).join(
        Person, (Person.account_id == ConsentRecord.account_id) & (Person.person_id == ConsentRecord.person_id)
    )
    query = query.where(ConsentRecord.state.in_(OPEN), ConsentRecord.at <= now - LASTS, ~ended)
    query = query.where(Account.status != "purging", Person.erasure_requested_at.is_(None))
    query = query.where(ConsentRecord.account_id.not_in(failed))
    return query.with_for_update(key_share=True, of=Person, skip_locked=True).order_by(ConsentRecord.at)


def _settle(tx: Tx, policy: Policy, history: History) -> None:
    """Write down the end of what waited too long, if the history ends with that."""
    if history.last is not None and consent_history.is_stale(history.last, tx.now):
        consent_history.append(tx, policy, history, "expired", "time")


def _check_reader(tx: Tx, person_id: UUID) -> None:
    """Raises NotFoundError for a member who asks about somebody else."""
    if tx.actor.kind == "member" and tx.actor.id != str(person_id):
        raise NotFoundError


def _check_self(tx: Tx, person_id: UUID) -> None:
    """Raises NotFoundError for an account holder who speaks for somebody else: nobody consents for another."""
    if tx.actor.kind in ("owner", "member") and tx.actor.id != str(person_id):
        raise NotFoundError


def _check_address(history: History) -> None:
    try:
        check_address(people.open_identity(history.account.key, history.person)["email"] or "")
    except ValueError:
        raise InvalidError(NO_ADDRESS) from None


def _by(tx: Tx) -> Method:
    return "portal" if HOLDER in tx.actor.scopes else "backend"
