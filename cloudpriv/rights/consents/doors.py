"""Ways to one's consents that need no session: the links of mails, one-click unsubscribing, and a form with a name.

A link proves that whoever opens it reads the mail of the registered address, so it acts on behalf of that person. Looking
never changes anything: mail scanners open every link.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal
from uuid import UUID

from cloudpriv.audit import events
from cloudpriv.controller import accounts, outbox, people
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.holder_tables import ConsentRecord
from cloudpriv.controller.tables import Person
from cloudpriv.platform.actor import Actor
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import GoneError, NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.policy.register import Policy
from cloudpriv.rights.consents import acts as consents
from cloudpriv.rights.consents import history as consent_history
from cloudpriv.rights.consents import links as consent_links
from cloudpriv.rights.consents import mail as consent_mail
from cloudpriv.rights.consents import records as consent_records
from cloudpriv.rights.consents.history import History
from cloudpriv.rights.consents.links import Token
from cloudpriv.rights.consents.records import Offer, Purpose

# The language of a page, by that of the person whom its link is for.
Speak = Callable[[str | None], str]
CONFIRMED: Final[dict[str, Literal["given", "withdrawn"]]] = {"requested": "given", "withdrawal_requested": "withdrawn"}


@dataclass(frozen=True)
class Question:
    """What a link asks to confirm, of whom, and whether that was answered before or may not be any more."""

    asks: Literal["given", "withdrawn"]
    told: Offer
    state: Literal["open", "answered", "over"]


@dataclass(frozen=True)
class Leaving:
    """What a link unsubscribes from, and whether that was done."""

    purpose: Purpose
    locale: str | None
    done: bool


def look(tx: Tx, policy: Policy, text: str, speak: Speak) -> Question:
    """What a link asks; changes nothing. Raises NotFoundError for a link that is none of ours."""
    row, history = _event_of(tx, text)
    mine = consent_history.acting_as(tx, history)
    events.record(mine, "consent.read", account_id=row.account_id, subject_id=row.person_id)
    return _question(tx, policy, row, history, speak)


def confirm(tx: Tx, policy: Policy, text: str, speak: Speak) -> Question:
    """Do what a link asks, once; asked again, the answer is the same.

    Raises NotFoundError for a link that is none of ours, GoneError for one that has expired or was overtaken,
    AccountRestrictedError and AccountClosingError for consent where nothing new may be begun.
    """
    row, history = _event_of(tx, text)
    question = _question(tx, policy, row, history, speak)
    if question.state == "over":
        raise GoneError("This link is not valid any more.")
    if question.state == "open":
        _answer(consent_history.acting_as(tx, history), policy, history, question)
    return replace(question, state="answered")


def look_before_leaving(tx: Tx, text: str) -> Leaving:
    """What a link unsubscribes from; changes nothing. Raises NotFoundError for a link that is none of ours."""
    history = _left(tx, text)
    mine, person = consent_history.acting_as(tx, history), history.person
    events.record(mine, "consent.read", account_id=person.account_id, subject_id=person.person_id)
    stands = consent_history.standing(history.rows, tx.now)
    return Leaving(history.purpose, history.locale, stands.state == "withdrawn")


def unsubscribe(tx: Tx, policy: Policy, text: str) -> Leaving:
    """Unsubscribe at once, as one click does (RFC 8058); asked again, the answer is the same. Raises NotFoundError."""
    history = _left(tx, text)
    mine, person = consent_history.acting_as(tx, history), history.person
    consents.withdraw(mine, policy, person.account_id, person.person_id, history.purpose, method="one_click")
    return Leaving(history.purpose, history.locale, done=True)


def ask_to_withdraw(tx: Tx, policy: Policy, purpose: str, *, service: str, account_name: str, username: str) -> None:
    """Have a person who cannot sign in mailed a link to withdraw a consent with.

    By the same statements whether account, person and consent are there or not, so that neither the answer nor the time
    that it takes tells anybody who exists. Raises NotFoundError for an unknown purpose.
    """
    wanted = consent_history.known(purpose)
    account = accounts.find_by_name(tx, service, account_name)
    person = _person(tx, account, username)
    rows = consent_history.rows_of(tx, *_ids(person), wanted)
    history = None if account is None or person is None else History(account, person, wanted, rows)
    asked, new = (None, False) if history is None else _withdrawal(tx, policy, history)
    consent_history.add(tx, asked if new else None)
    reader = (None, None, None) if asked is None else (asked.account_id, asked.person_id, asked.consent_id)
    outbox.queue_mail(tx, consent_mail.WITHDRAW, *reader)
    about = (None, None) if person is None else (person.account_id, person.person_id)
    events.record(tx, "consent.ask_withdrawal", account_id=about[0], subject_id=about[1], fields=[purpose])


def _withdrawal(tx: Tx, policy: Policy, history: History) -> tuple[ConsentRecord | None, bool]:
    """What there is for a person to confirm, and whether it is new; nothing where no consent holds."""
    stands = consent_history.standing(history.rows, tx.now)
    if not stands.holds:
        return None, False
    if stands.state == "withdrawal_requested":
        return history.last, False
    return consent_history.made(tx, policy, history, "withdrawal_requested", "form"), True


def _ids(person: Person | None) -> tuple[UUID, UUID]:
    """Whose rows to look for; nobody's for nobody."""
    return (new_id(), new_id()) if person is None else (person.account_id, person.person_id)


def _person(tx: Tx, account: OpenedAccount | None, username: str) -> Person | None:
    if account is None:
        nobody = tx.keys.blind_index(people.USERNAME, username)
        return consent_history.lock_person(tx, new_id(), Person.username_index == nobody)
    index = people.username_index(account.key, username)
    return consent_history.lock_person(tx, account.row.account_id, Person.username_index == index)


def _question(tx: Tx, policy: Policy, row: ConsentRecord, history: History, speak: Speak) -> Question:
    language = speak(history.locale)
    told = consent_records.offer(policy, history.account.row.service, row.purpose, language)
    return Question(CONFIRMED[row.state], told, _how_it_stands(tx, row, history.rows))


def _how_it_stands(tx: Tx, row: ConsentRecord, rows: list[ConsentRecord]) -> Literal["open", "answered", "over"]:
    last = rows[-1]
    if last.state == CONFIRMED[row.state] and last.number == row.number + 1:
        return "answered"
    return "open" if last.number == row.number and not consent_history.is_stale(row, tx.now) else "over"


def _answer(tx: Tx, policy: Policy, history: History, question: Question) -> None:
    if question.asks == "withdrawn":
        consent_history.append(tx, policy, history, "withdrawn", "mail_link")
        return
    consent_history.check_may_give(history)
    row = consent_history.append(tx, policy, history, "given", "mail_link", told=question.told)
    outbox.queue_mail(tx, consent_mail.RECEIPT, row.account_id, row.person_id, row.consent_id)


def _event_of(tx: Tx, text: str) -> tuple[ConsentRecord, History]:
    """The event that a link is to confirm, and its history. Raises NotFoundError."""
    token, seen = _opened(tx, text)
    account = accounts.find_account(seen, token.account_id)
    row = seen.session.get(ConsentRecord, (token.account_id, token.subject_id))
    if row is None or row.state not in CONFIRMED:
        raise NotFoundError
    history = consent_history.locked(seen, token.account_id, row.person_id, row.purpose, giving=row.state == "requested")
    if not token.confirms(account.key, people.address_of(account.key, history.person)):
        raise NotFoundError
    return row, history


def _left(tx: Tx, text: str) -> History:
    """The history that a link unsubscribes from. Raises NotFoundError."""
    token, seen = _opened(tx, text)
    purpose = token.unsubscribes_from(accounts.find_account(seen, token.account_id).key)
    if purpose is None:
        raise NotFoundError
    return consent_history.locked(seen, token.account_id, token.subject_id, purpose)


def _opened(tx: Tx, text: str) -> tuple[Token, Tx]:
    """The token, and the unit of work on behalf of a stranger who sees the account that it names, and no other."""
    token = consent_links.read(text)
    if token is None:
        raise NotFoundError
    return token, replace(tx, actor=Actor("client", "unauthenticated", account_id=token.account_id))
