"""Credentials: set, checked, hinted at by mail; a password or a hint is never returned by anything here.

Hashing takes a tenth of a second and must not hold a transaction open, so checking a password is two short transactions
around it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher
from typing import Final
from uuid import UUID

from cloudpriv.audit import events
from cloudpriv.controller import accounts, people, sessions
from cloudpriv.controller.tables import HINT, PASSWORD, Credential
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import (
    AccountRestrictedError,
    FieldError,
    InvalidCredentialsError,
    InvalidError,
    NotFoundError,
    PersonRestrictedError,
)
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.passwords import Passwords
from cloudpriv.platform.text import normalised

RESEMBLES: Final = 0.6  # share of matching characters from which a hint gives the password away
LEET: Final = str.maketrans("0134578@$!", "oieastbasi")
Transaction = Callable[[], AbstractContextManager[Tx]]


@dataclass(frozen=True)
class Verified:
    """Whose password was right, what that one is in the account, and the state of the account.

    `person_restricted` says whether the processing of the person's own data is restricted; `changed_at` is when the password
    was set, by which `require_unchanged` knows it again.
    """

    account_id: UUID
    person_id: UUID
    role: str
    status: str
    person_restricted: bool
    changed_at: datetime


@dataclass(frozen=True)
class _Found:
    account_id: UUID | None = None
    person_id: UUID | None = None
    role: str = "member"
    status: str = "purging"
    password_hash: str | None = None
    restricted: bool = False
    changed_at: datetime | None = None


def check_hint(password: str, hint: str | None) -> None:
    """Raises InvalidError for a hint that contains or resembles the password."""
    if hint is not None and _gives_away(password, hint):
        raise InvalidError(errors=(FieldError("/hint", "contains or resembles the password"),))


def check_settable(tx: Tx, account_id: UUID, person_id: UUID) -> None:
    """Raises what `set_credentials` would, before a hash is computed for nobody."""
    accounts.check_writable(accounts.find_account(tx, account_id).row)
    people.find_usable(tx, account_id, person_id)


def set_credentials(tx: Tx, account_id: UUID, person_id: UUID, password_hash: str, hint: str | None) -> None:
    """Replace a person's password and hint, and end their sessions; the caller has hashed the one and checked the other."""
    account = accounts.lock_account(tx, account_id)
    people.find_usable(tx, account_id, person_id)
    row = tx.session.get(Credential, (account_id, person_id)) or Credential(account_id=account_id, person_id=person_id)
    row.password_hash = _sealed(account, person_id, password_hash)
    row.hint = None if hint is None else account.key.seal(person_id, HINT, {"hint": hint})
    row.changed_at = tx.now
    tx.session.add(row)
    sessions.end_all(tx, account_id, person_id)
    events.record(tx, "credentials.change", account_id=account_id, subject_id=person_id)


def open_hint(tx: Tx, account: accounts.OpenedAccount, person_id: UUID) -> str | None:
    """A person's hint, for the mail to that person and nothing else; None while account or person is restricted."""
    row = tx.session.get(Credential, (account.row.account_id, person_id))
    if row is None or row.hint is None or accounts.is_restricted(account.row):
        return None
    if people.find_person(tx, account.row.account_id, person_id).restricted_at is not None:
        return None
    hint: str = account.key.open(person_id, HINT, row.hint)["hint"]
    return hint


def verify(
    transaction: Transaction, passwords: Passwords, *, service: str, account_name: str, username: str, password: str
) -> Verified:
    """Whose credentials these are, audited either way.

    Raises InvalidCredentialsError, after the same work, whether the account, the person or the password is not there.
    """
    with transaction() as tx:
        found = _find(tx, service, account_name, username)
    right = passwords.matches(found.password_hash, password)
    rehashed = passwords.hash(password) if right and passwords.is_outdated(found.password_hash or "") else None
    with transaction() as tx:
        _conclude(tx, found, right, rehashed)
    if not right or found.account_id is None or found.person_id is None or found.changed_at is None:
        raise InvalidCredentialsError
    return Verified(found.account_id, found.person_id, found.role, found.status, found.restricted, found.changed_at)


def require_unchanged(tx: Tx, account_id: UUID, person_id: UUID, changed_at: datetime) -> None:
    """Lock the account for the rest of `tx`. Raises InvalidCredentialsError when the password is another than it was then.

    For what follows from a check of the password in another transaction: a new password ends all sessions, and none may
    begin by the old one afterwards.
    """
    accounts.find_account(tx, account_id, lock=True)
    row = tx.session.get(Credential, (account_id, person_id))
    if row is None or row.changed_at != changed_at:
        raise InvalidCredentialsError


def check_usable(verified: Verified) -> None:
    """Raises AccountRestrictedError or PersonRestrictedError for credentials that may not be used (GDPR Article 18).

    For signing in to the service; not for the portal, where people use their rights.
    """
    if verified.status == "restricted":
        raise AccountRestrictedError
    if verified.person_restricted:
        raise PersonRestrictedError


def _find(tx: Tx, service: str, account_name: str, username: str) -> _Found:
    """Whose names these are, by as many statements whether they are anybody's or not: time tells nobody who exists."""
    account = accounts.find_by_name(tx, service, account_name)
    person = people.find_by_username(tx, account, username)
    nobody = (new_id(), new_id())
    stored = tx.session.get(Credential, nobody if person is None else (person.account_id, person.person_id))
    if account is None or person is None:
        return _Found(None if account is None else account.row.account_id)
    password_hash = None if stored is None else _opened(account, stored)
    restricted = person.restricted_at is not None
    status = "restricted" if accounts.is_restricted(account.row) else account.row.status  # closing or not
    changed_at = None if stored is None else stored.changed_at
    return _Found(person.account_id, person.person_id, person.role, status, password_hash, restricted, changed_at)


def _conclude(tx: Tx, found: _Found, right: bool, rehashed: str | None) -> None:
    action = "credentials.verify" if right else "credentials.reject"
    events.record(tx, action, account_id=found.account_id, subject_id=found.person_id)
    if rehashed is None:
        return
    _replace_hash(tx, found, rehashed)


def _replace_hash(tx: Tx, found: _Found, rehashed: str) -> None:
    """Unless the password was changed, or the account began to be erased, since it was checked."""
    row = tx.session.get(Credential, (found.account_id, found.person_id), with_for_update=True)
    if row is None:
        return
    try:
        account = accounts.find_account(tx, row.account_id)
    except NotFoundError:
        return
    if _opened(account, row) == found.password_hash:
        row.password_hash = _sealed(account, row.person_id, rehashed)


def _sealed(account: accounts.OpenedAccount, person_id: UUID, password_hash: str) -> bytes:
    return account.key.seal(person_id, PASSWORD, {"phc": password_hash})


def _opened(account: accounts.OpenedAccount, row: Credential) -> str:
    phc: str = account.key.open(row.person_id, PASSWORD, row.password_hash)["phc"]
    return phc


def _gives_away(password: str, hint: str) -> bool:
    secret, told = normalised(password), normalised(hint)
    squeezed = "".join(told.split())
    if not told:
        return False
    if secret in told or secret in squeezed or secret[::-1] in told or (len(squeezed) > 3 and squeezed in secret):
        return True
    plain_secret, plain_told = secret.translate(LEET), squeezed.translate(LEET)
    return plain_secret in plain_told or SequenceMatcher(None, plain_secret, plain_told).ratio() >= RESEMBLES
