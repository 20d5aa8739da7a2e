"""One-time codes to the registered address: 15 minutes, one use; five tries in each form.

A code stands nowhere: it follows from its id under the account's key (docs/adr/0029-codes-that-stand-nowhere.md). Looking
at a page uses none up, since mail scanners open every link; only typing one does. Whoever knows somebody's names may ask in
that one's name, so asking ends no code, and wrong tries use up the form that they were typed in and nothing else: any code
fits that was mailed to the person for the same and is still good.
"""

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import and_, func, select, update

from cloudpriv.audit import events
from cloudpriv.controller import accounts, outbox, people
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.holder_tables import OneTimeCode
from cloudpriv.controller.tables import Person
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import DataKey
from cloudpriv.rights import code_forms
from cloudpriv.rights.code_forms import FORMS, LASTS, Asked, Purpose
from cloudpriv.rights.code_mails import OF_IDENTITY, OF_REQUEST, written

PAUSE: Final = timedelta(minutes=10)  # between mails, so that nobody floods a mailbox: shorter than a code lasts


@dataclass(frozen=True)
class UsedCode:
    """Whose code was typed, and what it was asked for."""

    person_id: UUID
    subject_id: UUID | None


@dataclass(frozen=True)
class SentCode:
    """The id of a form to type a code in, until when, and whether a mail was queued for it or the one before still fits.

    The form is `shared` with others who asked, where there are as many as there may be.
    """

    code_id: UUID
    expires_at: datetime
    mailed: bool
    shared: bool


def send(tx: Tx, account_id: UUID, person_id: UUID, purpose: Purpose, subject_id: UUID | None = None) -> SentCode:
    """Have a code mailed to a person of the account, audited, to be used for `purpose` and `subject_id` alone.

    No mail is sent within PAUSE of the one before, unless its code was used: that one still fits. Raises NotFoundError.
    """
    accounts.find_account(tx, account_id)
    people.find_person(tx, account_id, person_id)
    return _sent(tx, Asked(account_id, person_id, purpose, subject_id, known=False))


def ask(tx: Tx, service: str, account_name: str, username: str, purpose: Purpose, *, known: bool = False) -> UUID:
    """Have a code mailed to whoever has these names, audited, as `send`; the id of a form to type it in.

    By the same statements, and with an id of the same kind, whether they are anybody's or not, and whether a mail is due or
    not: so the answer tells nobody who exists. `known` says that it is asked in a browser which the person signed in from
    before; those have forms and mails of their own, that strangers cannot use up. No stranger is given the id of a form that
    others have, since nobody's ids come twice. The actor of `tx` has to see the service's accounts.
    """
    account_id, person_id = find_by_names(tx, service, account_name, username)
    sent = _sent(tx, Asked(account_id or new_id(), person_id or new_id(), purpose, None, known))
    return new_id() if sent.shared and not known else sent.code_id


def find_by_names(tx: Tx, service: str, account_name: str, username: str) -> tuple[UUID | None, UUID | None]:
    """The ids of an account and a person by their names, each None where there is none: by the same statements always."""
    account = accounts.find_by_name(tx, service, account_name)
    if account is None or account.row.status == "purging":
        return None, _person(tx, new_id(), tx.keys.blind_index(people.USERNAME, username))
    return account.row.account_id, _person(tx, account.row.account_id, people.username_index(account.key, username))


def use(tx: Tx, account_id: UUID, code_id: UUID, typed: str, *, purpose: Purpose = "identity",
        subject_id: UUID | None = None, person_id: UUID | None = None) -> UsedCode | None:  # fmt: skip
    """Whose code was typed in the form of this id, if it is one of that person's, for the same, and still good; else None.

    An id of no form is that of the one least typed in, of the person who is named, among those that strangers share.
    It ends the others. Audited either way. Every call is a try, which counts only if the transaction commits: so it answers
    instead of raising. Two at once are one after the other, by a lock on the account, and only one of them can be right. A
    wrong one takes the same statements whether there is such a form or not, so that time tells nobody whose names are
    somebody's.
    """
    account = _locked(tx, account_id)
    code_forms.lock_person(tx, account_id, person_id or new_id())
    query = select(OneTimeCode).where(OneTimeCode.account_id == account_id, OneTimeCode.code_id == code_id)
    row = tx.session.scalar(query.with_for_update().execution_options(populate_existing=True))
    spare = code_forms.spare(tx, Asked(account_id, person_id or new_id(), purpose, subject_id, known=False))
    row = row or spare
    asked = (purpose, subject_id)
    fits = row is not None and account is not None and code_forms.is_open(row, tx) and code_forms.purpose_of(row) == asked
    form = row if fits else None
    of_form = (OneTimeCode.account_id == account_id, OneTimeCode.code_id == (new_id() if form is None else form.code_id))
    tx.session.execute(update(OneTimeCode).where(*of_form).values(tries=OneTimeCode.tries + 1))
    whose = None if form is None else form.person_id
    live = code_forms.live(tx, Asked(account_id, whose or new_id(), purpose, subject_id, known=False))
    codes = tx.session.scalars(select(OneTimeCode.code_id).where(live, OneTimeCode.mailed)).all()
    right = [] if account is None else [each for each in codes if _fits(account.key, each, typed)]
    if whose is None or not right:
        events.record(tx, "code.reject", account_id=None if row is None else account_id, subject_id=whose)
        return None
    code_forms.end(tx, live, account_id, right[0])
    events.record(tx, "code.use", account_id=account_id, subject_id=whose)
    return UsedCode(whose, subject_id)


def end_all(tx: Tx, account_id: UUID, person_id: UUID) -> None:
    """End every code of a person, as when they went to an address that is registered no more."""
    of_person = (OneTimeCode.account_id == account_id, OneTimeCode.person_id == person_id)
    live = (OneTimeCode.used_at.is_(None), OneTimeCode.expires_at > tx.now)
    tx.session.execute(update(OneTimeCode).where(*of_person, *live).values(expires_at=tx.now))


def _sent(tx: Tx, asked: Asked) -> SentCode:
    """A form to type a code in, and a mail if one is due."""
    code_forms.lock_person(tx, asked.account_id, asked.person_id)
    of_it = and_(code_forms.live(tx, asked), OneTimeCode.known == asked.known)
    fits_still = func.bool_or(and_(OneTimeCode.mailed, OneTimeCode.expires_at > tx.now + LASTS - PAUSE))
    least_used = select(OneTimeCode.code_id).where(of_it, ~OneTimeCode.mailed).order_by(OneTimeCode.tries).limit(1)
    state = select(fits_still, func.count().filter(~OneTimeCode.mailed), least_used.scalar_subquery())
    no_mail, forms, least = tx.session.execute(state.where(of_it)).one()
    free = not no_mail or forms < FORMS
    made = code_forms.make(tx, asked, mailed=not no_mail, free=free)
    code_forms.renew(tx, asked.account_id, new_id() if free else least)
    mailed = made is not None and not no_mail
    code_id = made or (new_id() if free else least)
    _queue(tx, asked if mailed else None, code_id)
    return SentCode(code_id, tx.now + LASTS, mailed, not free)


def _queue(tx: Tx, asked: Asked | None, code_id: UUID) -> None:
    account_id, person_id = (None, None) if asked is None else (asked.account_id, asked.person_id)
    kind = OF_IDENTITY if asked is None or asked.subject_id is None else OF_REQUEST
    outbox.queue_mail(tx, kind, account_id, person_id, code_id)
    events.record(tx, "code.send", account_id=account_id, subject_id=person_id)


def _fits(key: DataKey, code_id: UUID, typed: str) -> bool:
    return hmac.compare_digest(_plain(typed).encode(), _plain(written(key, code_id)).encode())


def _locked(tx: Tx, account_id: UUID) -> OpenedAccount | None:
    try:
        return accounts.find_account(tx, account_id, lock=True)
    except NotFoundError:  # there is none, or its erasure began
        return None


def _plain(code: str) -> str:
    """A code without what people type between its letters."""
    return "".join(each for each in code.upper() if each.isalnum())


def _person(tx: Tx, account_id: UUID, username_index: bytes) -> UUID | None:
    query = select(Person.person_id).where(Person.account_id == account_id, Person.username_index == username_index)
    return tx.session.scalar(query)
