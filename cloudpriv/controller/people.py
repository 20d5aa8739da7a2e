"""People: the users of an account, who are the data subjects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, any_, or_, select
from sqlalchemy.exc import IntegrityError

from cloudpriv.audit import events
from cloudpriv.controller import accounts, idempotency
from cloudpriv.controller.tables import PERSON_IDENTITY, Account, Person
from cloudpriv.platform.db import Tx, violated_constraint
from cloudpriv.platform.errors import ConflictError, NotFoundError, PersonRestrictedError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import DataKey
from cloudpriv.platform.text import normalised

USERNAME: Final = "username"
EMPTY: Final[dict[str, Any]] = {
    "username": "", "name": None, "address": None, "phones": [], "email": None, "company_name": None,
    "company_id": None, "locale": None,
}  # fmt: skip


@dataclass(frozen=True)
class KnownPerson:
    """A person's row and the opened identity document, all members present."""

    row: Person
    identity: dict[str, Any]


def add_person(tx: Tx, account_id: UUID, role: str, identity: Mapping[str, Any]) -> KnownPerson:
    """A new person in the account. Raises ConflictError when the username is taken in it."""
    account = accounts.lock_account(tx, account_id)
    person_id = new_id()
    document = {**EMPTY, **identity}
    row = Person(
        account_id=account_id,
        person_id=person_id,
        username_index=username_index(account.key, document["username"]),
        role=role,
        identity=account.key.seal(person_id, PERSON_IDENTITY, document),
        created_at=tx.now,
        version=1,
    )
    tx.session.add(row)
    _flush(tx)
    events.record(tx, "person.create", account_id=account_id, subject_id=person_id)
    return KnownPerson(row, document)


def read_person(tx: Tx, account_id: UUID, person_id: UUID) -> KnownPerson:
    """The person, audited. Raises NotFoundError; AccountRestrictedError, PersonRestrictedError as `check_usable` does."""
    account = accounts.find_usable(tx, account_id)
    person = _known(account.key, find_usable(tx, account_id, person_id))
    events.record(tx, "person.read", account_id=account_id, subject_id=person_id)
    return person


def list_people(tx: Tx, account_id: UUID, *, after: UUID | None, limit: int) -> list[KnownPerson]:
    """People of the account in order of their adding, and one more than `limit` if there is one; those shown are audited.

    Restricted people are left out, but for the account's holders. Raises NotFoundError, AccountRestrictedError.
    """
    account = accounts.find_usable(tx, account_id)
    query = select(Person).where(Person.account_id == account_id, Person.erasure_requested_at.is_(None))
    if not accounts.uses_own_rights(tx):
        query = query.where(Person.restricted_at.is_(None))
    if after is not None:
        query = query.where(Person.person_id > after)
    found = [_known(account.key, row) for row in tx.session.scalars(query.order_by(Person.person_id).limit(limit + 1))]
    for person in found[:limit]:
        events.record(tx, "person.read", account_id=account_id, subject_id=person.row.person_id)
    return found


def change_person(tx: Tx, account_id: UUID, person_id: UUID, version: int, changes: Mapping[str, Any], *,
                  restricted: bool = False) -> KnownPerson:  # fmt: skip
    """Rectify members of the identity or set the role (GDPR Article 16). Raises StaleError, ConflictError.

    With `restricted` also while the account or the person is restricted, or the account is closing: for a rectification that
    the person asked for.
    """
    account = accounts.lock_account(tx, account_id, restricted=restricted)
    row = _row(tx, account_id, person_id) if restricted else find_usable(tx, account_id, person_id)
    accounts.check_version(row.version, version)
    document = {
        **_known(account.key, row).identity,
        **{name: changes[name] for name in changes if name != "role"},
    }
    row.role = changes.get("role", row.role)
    row.username_index = username_index(account.key, document["username"])
    row.identity = account.key.seal(person_id, PERSON_IDENTITY, document)
    row.version += 1
    _flush(tx)
    events.record(tx, "person.change", account_id=account_id, subject_id=person_id, fields=sorted(changes))
    return KnownPerson(row, document)


def remove_person(tx: Tx, account_id: UUID, person_id: UUID, version: int, *, restricted: bool = False) -> None:
    """Erase one person: identity, credentials and kept answers go, traffic stays without naming the person.

    Raises StaleError. `restricted` as in `change_person`.
    """
    account = accounts.lock_account(tx, account_id, restricted=restricted)
    row = _row(tx, account_id, person_id) if restricted else find_usable(tx, account_id, person_id)
    accounts.check_version(row.version, version)
    tx.session.delete(row)
    tx.session.flush()
    idempotency.forget_person(tx, account, person_id)
    events.record(tx, "person.erase", account_id=account_id, subject_id=person_id)


def defer_erasure(tx: Tx, account_id: UUID, person_id: UUID, version: int, *, restricted: bool = False) -> None:
    """Mark a person whose erasure has to wait: from then on nobody finds them, by id or by username, or signs in as them.

    Kept answers go as they do with an erasure. Raises StaleError. `restricted` as in `change_person`.
    """
    account = accounts.lock_account(tx, account_id, restricted=restricted)
    row = _row(tx, account_id, person_id) if restricted else find_usable(tx, account_id, person_id)
    accounts.check_version(row.version, version)
    row.erasure_requested_at = tx.now
    row.username_index = person_id.bytes  # unique, and no username's: theirs is free again
    row.version += 1
    tx.session.flush()
    idempotency.forget_person(tx, account, person_id)
    events.record(tx, "person.erasure_held", account_id=account_id, subject_id=person_id)


def erase_pending(tx: Tx, account_id: UUID, person_id: UUID) -> bool:
    """Erase a person whose erasure had to wait, if they are still there. The caller has locked the account."""
    row = tx.session.get(Person, (account_id, person_id))
    if row is None or row.erasure_requested_at is None:
        return False
    tx.session.delete(row)
    tx.session.flush()
    events.record(tx, "person.erase", account_id=account_id, subject_id=person_id)
    return True


def find_by_username(tx: Tx, account: accounts.OpenedAccount | None, username: str) -> Person | None:
    """The person of this username in an account; of no account nobody, after the same statement."""
    account_id = new_id() if account is None else account.row.account_id
    nobodys = tx.keys.blind_index(USERNAME, normalised(username))
    index = nobodys if account is None else username_index(account.key, username)
    query = select(Person).where(Person.account_id == account_id, Person.username_index == index)
    return tx.session.scalars(query).one_or_none()


def username_index(key: DataKey, username: str) -> bytes:
    """Blind index of a username, unique in the account."""
    return key.blind_index(USERNAME, normalised(username))


def find_person(tx: Tx, account_id: UUID, person_id: UUID) -> Person:
    """The person's row. Raises NotFoundError."""
    return _row(tx, account_id, person_id)


def find_usable(tx: Tx, account_id: UUID, person_id: UUID) -> Person:
    """The person's row. Raises NotFoundError, PersonRestrictedError as `check_usable` does."""
    row = _row(tx, account_id, person_id)
    check_usable(tx, row)
    return row


def check_usable(tx: Tx, row: Person) -> None:
    """Raises PersonRestrictedError when a restricted person's data is used by others than the account's holders."""
    if row.restricted_at is not None and not accounts.uses_own_rights(tx):
        raise PersonRestrictedError


def restricted_among(tx: Tx, account_id: UUID) -> set[UUID]:
    """The restricted people of an account."""
    query = select(Person.person_id).where(Person.account_id == account_id, Person.restricted_at.is_not(None))
    return set(tx.session.scalars(query))


def kept_by_restriction() -> ColumnElement[bool]:
    """That an account is not to be erased: data of somebody in it is restricted, who may need it for legal claims.

    GDPR Article 18(1)(b) and (c). About what was restricted before an account's closing began, its asker or staff decided.
    """
    undecided = or_(Account.closing_since.is_(None), Account.closing_since < any_(Person.restriction_asked_at))
    there = Person.account_id == Account.account_id, Person.erasure_requested_at.is_(None)
    found = select(Person.account_id).where(*there, Person.restricted_at.is_not(None), undecided).limit(1)
    return found.correlate(Account).scalar_subquery().is_not(None)  # looked up for each account by itself, never joined


def are_kept_by_restriction(tx: Tx, account_id: UUID) -> bool:
    """Whether that keeps this account."""
    kept = select(Account.account_id).where(Account.account_id == account_id, kept_by_restriction())
    return tx.session.scalar(kept) is not None


def owners_of(tx: Tx, account_id: UUID) -> list[UUID]:
    """The account's owners, but for whom only a legal hold keeps."""
    query = select(Person.person_id).where(Person.account_id == account_id, Person.role == "owner")
    return list(tx.session.scalars(query.where(Person.erasure_requested_at.is_(None)).order_by(Person.person_id)))


def open_identity(key: DataKey, row: Person) -> dict[str, Any]:
    """The person's identity document, all members present."""
    return {**EMPTY, **key.open(row.person_id, PERSON_IDENTITY, row.identity)}


def address_of(key: DataKey, row: Person) -> str:
    """Where the person gets mail; empty where there is no address."""
    return open_identity(key, row)["email"] or ""


def _row(tx: Tx, account_id: UUID, person_id: UUID) -> Person:
    row = tx.session.get(Person, (account_id, person_id))
    if row is None or row.erasure_requested_at is not None:
        raise NotFoundError
    return row


def _known(key: DataKey, row: Person) -> KnownPerson:
    return KnownPerson(row, open_identity(key, row))


def _flush(tx: Tx) -> None:
    try:
        tx.session.flush()
    except IntegrityError as fault:
        if violated_constraint(fault) != "uq_people_username":
            raise
        raise ConflictError("A person of this username exists in the account.") from None
