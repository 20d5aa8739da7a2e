"""One-time codes to the registered address: 15 minutes, five tries, one use.

A code stands nowhere: it follows from its id under the account's key (docs/adr/0029-codes-that-stand-nowhere.md). Looking
at a page uses none up, since mail scanners open every link; only typing one does. A new one ends those before it.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import Integer, String, Uuid

from cloudpriv.audit import events
from cloudpriv.controller import accounts, outbox, people
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.holder_tables import OneTimeCode
from cloudpriv.controller.outbox import DroppedError, Mail, Values, Writer
from cloudpriv.controller.tables import Person
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError, RateLimitedError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import DataKey
from cloudpriv.rights.post import Post

Purpose = Literal["identity", "password"]
KIND: Final = "identity_code"
CHANGED: Final = "password_changed"  # the mail that tells a person of it, whoever it was
LASTS: Final = timedelta(minutes=15)
TRIES: Final = 5
MOST: Final = 6  # to one person within HOUR, so that nobody floods a mailbox; the last of them stays good
HOUR: Final = timedelta(hours=1)
ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # 32 letters and digits, without I, O, 0 and 1
LENGTH: Final = 8  # of 5 bits each
UTC_TIME: Final = TIMESTAMP(timezone=True)


@dataclass(frozen=True)
class UsedCode:
    """Whose code was typed, and what it was asked for."""

    person_id: UUID
    subject_id: UUID | None


def send(tx: Tx, account_id: UUID, person_id: UUID, purpose: Purpose, subject_id: UUID | None = None) -> UUID:
    """Have a new code mailed to a person of the account, audited; its id. It may be used for `purpose` alone.

    Raises NotFoundError, and RateLimitedError when the person was sent MOST of them within the hour.
    """
    accounts.find_account(tx, account_id)
    people.find_person(tx, account_id, person_id)
    code_id = _make(tx, account_id, person_id, purpose, subject_id)
    if code_id is None:
        raise RateLimitedError
    _queue(tx, account_id, person_id, code_id)
    return code_id


def ask(tx: Tx, service: str, account_name: str, username: str, purpose: Purpose, *,
        subject_id: UUID | None = None) -> UUID:  # fmt: skip
    """Have a new code mailed to whoever has these names, audited; an id to type it for.

    By the same statements, and with an id of the same kind, whether they are anybody's or not, and whether that one was sent
    too many within the hour: so the answer tells nobody who exists. The actor of `tx` has to see the service's accounts.
    """
    account_id, person_id = find_by_names(tx, service, account_name, username)
    code_id = _make(tx, account_id or new_id(), person_id or new_id(), purpose, subject_id)
    made = code_id is not None
    found = code_id or new_id()
    _queue(tx, account_id if made else None, person_id if made else None, found)
    return found


def find_by_names(tx: Tx, service: str, account_name: str, username: str) -> tuple[UUID | None, UUID | None]:
    """The ids of an account and a person by their names, each None where there is none: by the same statements always."""
    account = _account(tx, service, account_name)
    if account is None or account.row.status == "purging":
        return None, _person(tx, new_id(), tx.keys.blind_index(people.USERNAME, username))
    return account.row.account_id, _person(tx, account.row.account_id, people.username_index(account.key, username))


def use(tx: Tx, account_id: UUID, code_id: UUID, typed: str, *, purpose: Purpose = "identity") -> UsedCode | None:
    """Whose code was typed, if it is the one of this id and still good; None otherwise. Audited either way.

    Every call is a try, which counts only if the transaction commits: so it answers instead of raising. Two at once are one
    after the other, by a lock on the row, and only one of them can be right. A wrong one takes the same statements whether
    there is such a code or not, so that time tells nobody whose names are somebody's.
    """
    query = select(OneTimeCode).where(OneTimeCode.account_id == account_id, OneTimeCode.code_id == code_id)
    row = tx.session.scalar(query.with_for_update().execution_options(populate_existing=True))
    good = row if row is not None and _is_good(row, tx, purpose) else None
    of_it = (OneTimeCode.account_id == account_id, OneTimeCode.code_id == (new_id() if good is None else code_id))
    tx.session.execute(update(OneTimeCode).where(*of_it).values(tries=OneTimeCode.tries + 1))
    if not _is_right(tx, good, typed) or row is None:
        whose = None if good is None else good.person_id
        events.record(tx, "code.reject", account_id=None if row is None else account_id, subject_id=whose)
        return None
    row.used_at = tx.now
    events.record(tx, "code.use", account_id=account_id, subject_id=row.person_id)
    return UsedCode(row.person_id, row.subject_id)


def writers(_: Post) -> Mapping[str, Writer]:
    """How its mails are written, for `outbox.deliver`."""
    return {KIND: outbox.to_person(_told), CHANGED: outbox.to_person(lambda *_: {})}


def written(key: DataKey, code_id: UUID) -> str:
    """The code of an id, as the mail shows it."""
    number = int.from_bytes(key.blind_index("one-time code", code_id.hex)[: LENGTH * 5 // 8])
    code = "".join(ALPHABET[number >> (5 * place) & 31] for place in reversed(range(LENGTH)))
    return f"{code[: LENGTH // 2]}-{code[LENGTH // 2 :]}"


def _make(tx: Tx, account_id: UUID, person_id: UUID, purpose: Purpose, subject_id: UUID | None) -> UUID | None:
    """A new code of a person, whose earlier ones of the same purpose end; None for nobody and for one too many."""
    of_person = (OneTimeCode.account_id == account_id, OneTimeCode.person_id == person_id)
    tx.session.scalar(  # one at a time for a person, so that nobody gets one too many
        select(Person.person_id)
        .where(Person.account_id == account_id, Person.person_id == person_id)
        .with_for_update(key_share=True)
    )
    lately = select(func.count()).select_from(OneTimeCode).where(*of_person, OneTimeCode.created_at > tx.now - HOUR)
    columns = {
        "account_id": Person.account_id,
        "code_id": literal(new_id(), Uuid),
        "person_id": Person.person_id,
        "purpose": literal(purpose, String),
        "subject_id": literal(subject_id, Uuid),
        "tries": literal(0, Integer),
        "created_at": literal(tx.now, UTC_TIME),
        "expires_at": literal(tx.now + LASTS, UTC_TIME),
    }
    query = select(*columns.values()).where(
        Person.account_id == account_id,
        Person.person_id == person_id,
        Person.erasure_requested_at.is_(None),
        lately.scalar_subquery() < MOST,
    )
    made = tx.session.scalar(insert(OneTimeCode).from_select(list(columns), query).returning(OneTimeCode.code_id))
    earlier = update(OneTimeCode).where(*of_person, OneTimeCode.purpose == purpose, OneTimeCode.used_at.is_(None))
    # Without a new one that compares with NULL, and so none ends.
    others = (OneTimeCode.expires_at > tx.now, OneTimeCode.code_id != literal(made, Uuid))
    tx.session.execute(earlier.where(*others).values(expires_at=tx.now))
    return made


def _queue(tx: Tx, account_id: UUID | None, person_id: UUID | None, code_id: UUID) -> None:
    outbox.queue_mail(tx, KIND, account_id, person_id, code_id)
    events.record(tx, "code.send", account_id=account_id, subject_id=person_id)


def _is_good(row: OneTimeCode, tx: Tx, purpose: Purpose) -> bool:
    """Whether it may still be typed, for this."""
    return row.used_at is None and row.tries < TRIES and tx.now < row.expires_at and row.purpose == purpose


def _is_right(tx: Tx, row: OneTimeCode | None, typed: str) -> bool:
    try:
        key = accounts.find_account(tx, new_id() if row is None else row.account_id).key
    except NotFoundError:  # there is no such code, or the account's erasure began
        return False
    return row is not None and hmac.compare_digest(_plain(typed).encode(), _plain(written(key, row.code_id)).encode())


def _plain(code: str) -> str:
    """A code without what people type between its letters."""
    return "".join(each for each in code.upper() if each.isalnum())


def _account(tx: Tx, service: str, account_name: str) -> OpenedAccount | None:
    try:
        found = accounts.find_by_name(tx, service, account_name)
        return found or accounts.find_account(tx, new_id())  # nobody's id: as many statements as for an account
    except NotFoundError:
        return None


def _person(tx: Tx, account_id: UUID, username_index: bytes) -> UUID | None:
    query = select(Person.person_id).where(Person.account_id == account_id, Person.username_index == username_index)
    return tx.session.scalar(query.with_for_update(key_share=True))


def _told(tx: Tx, account: OpenedAccount, mail: Mail) -> Values:
    """The code of a mail, as long as it is good. Raises DroppedError."""
    row: Any = None
    if mail.subject_id is not None:
        row = tx.session.get(OneTimeCode, (account.row.account_id, mail.subject_id))
    if row is None or row.used_at is not None or row.tries >= TRIES or row.expires_at <= tx.now:
        raise DroppedError("over")
    return {"code": written(account.key, row.code_id)}
