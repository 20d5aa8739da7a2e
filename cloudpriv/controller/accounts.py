"""Accounts: opened by a backend, seen only by the service they belong to."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from sqlalchemy import bindparam, select

from cloudpriv.audit import events
from cloudpriv.controller import directory
from cloudpriv.controller.tables import PROFILE, Account, AccountKey, Person
from cloudpriv.platform.actor import HOLDER, Service
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import (
    AccountClosingError,
    AccountRestrictedError,
    FieldError,
    InvalidError,
    NotFoundError,
    StaleError,
)
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import DataKey, WrappedKey

# Every request about an account makes one of these. What they find has an account's columns and its key's as attributes,
# and is for reading only. The names in them are our own; values are always parameters. One that is being purged is gone,
# though a legal hold may keep its key.
FIND: Final = (
    "SELECT a.*, k.kek_id, k.wrapped FROM accounts a JOIN account_keys k USING (account_id) "
    "WHERE a.account_id = %(account_id)s::uuid AND a.status <> 'purging' "
    "AND (%(service)s::text IS NULL OR a.service = %(service)s::text)"
)
# What may not be used is not read: nothing is told of it.
USABLE: Final = "SELECT FROM found WHERE (status <> 'restricted' AND restricted_for IS NULL) OR %(own_rights)s::boolean"
READ: Final = f"WITH found AS ({FIND}), usable AS ({USABLE}), {events.told_with('usable')} SELECT * FROM found"  # noqa: S608  as said
TO_CHANGE: Final = (
    select(Account, AccountKey)
    .join(AccountKey, AccountKey.account_id == Account.account_id)
    .where(Account.account_id == bindparam("account_id"), Account.status != "purging")
    .with_for_update(of=Account, key_share=True)
    .execution_options(populate_existing=True)
)


class StoredKey(Protocol):
    """Where a wrapped data key is read from."""

    kek_id: Any
    wrapped: Any


@dataclass(frozen=True)
class OpenedAccount:
    """An account's row with its data key: what everything about the account starts from."""

    row: Account
    key: DataKey
    profile: dict[str, Any]


def open_account(tx: Tx, service: Service, account_name: str, customer: Mapping[str, str | None],
                 created_at: datetime | None = None) -> OpenedAccount:  # fmt: skip
    """A new active account with a data key of its own. `created_at` may lie in the past for one brought over.

    Raises ConflictError when the name is taken in the service, InvalidError for a creation in the future.
    """
    if created_at is not None and created_at > tx.now:
        raise InvalidError(errors=(FieldError("/created_at", "lies in the future"),))
    account_id = new_id()
    wrapped = tx.keys.new_data_key(account_id)
    key = tx.keys.data_key(account_id, wrapped)
    profile = {"account_name": account_name, **customer}
    row = Account(
        account_id=account_id,
        service=service,
        status="active",
        profile=key.seal(account_id, PROFILE, profile),
        created_at=created_at or tx.now,
        version=1,
    )
    tx.session.add(row)
    tx.session.flush()
    tx.session.add(AccountKey(account_id=account_id, kek_id=wrapped.kek_id, wrapped=wrapped.wrapped))
    directory.enter(tx, row, account_name)
    events.record(tx, "account.create", account_id=account_id)
    return OpenedAccount(row, key, profile)


def read_account(tx: Tx, account_id: UUID) -> OpenedAccount:
    """The account, audited. Raises NotFoundError for one of another service as for none, AccountRestrictedError."""
    _check_own(tx, account_id)
    values = {"service": tx.actor.service, "own_rights": uses_own_rights(tx)}
    found = tx.fetch_one(READ, {**events.event_of(tx, "account.read", account_id), **values})
    if found is None:
        raise NotFoundError
    check_usable(tx, found)
    return _opened(tx, found, found)


def read_account_by_name(tx: Tx, account_name: str) -> OpenedAccount:
    """The account of this name in the actor's service, audited. Raises NotFoundError, AccountRestrictedError."""
    account = find_by_name(tx, tx.actor.service or "", account_name)
    if account is None:
        raise NotFoundError
    check_usable(tx, account.row)
    events.record(tx, "account.read", account_id=account.row.account_id)
    return account


def list_accounts(tx: Tx, *, after: UUID | None, limit: int) -> list[OpenedAccount]:
    """Accounts of the caller's service in order of opening, and one more if there is one; those shown are audited.

    Restricted ones are left out: to list them would be to use them.
    """
    query = select(Account, AccountKey).join(AccountKey, AccountKey.account_id == Account.account_id)
    query = query.where(Account.status.not_in(("purging", "restricted")), Account.restricted_for.is_(None))
    if tx.actor.service is not None:
        query = query.where(Account.service == tx.actor.service)
    if after is not None:
        query = query.where(Account.account_id > after)
    found = [_opened(tx, row, key) for row, key in tx.session.execute(query.order_by(Account.account_id).limit(limit + 1))]
    events.record_each(tx, "account.read", [account.row.account_id for account in found[:limit]])
    return found


def change_account(tx: Tx, account_id: UUID, version: int, changes: Mapping[str, Any], *,
                   restricted: bool = False) -> OpenedAccount:  # fmt: skip
    """Set `customer` members or the account's name; raises StaleError unless `version` is the current one.

    With `restricted` also those of a restricted or closing account: for its rectification, which its holder asked for.
    """
    account = lock_account(tx, account_id, restricted=restricted)
    check_version(account.row.version, version)
    profile = {**account.profile, **changes.get("customer", {})}
    if "account_name" in changes:
        profile["account_name"] = changes["account_name"]
        directory.rename(tx, account.row, changes["account_name"])
    account.row.profile = account.key.seal(account_id, PROFILE, profile)
    account.row.version += 1
    events.record(tx, "account.change", account_id=account_id, fields=sorted(changes))
    return OpenedAccount(account.row, account.key, profile)


def find_account(tx: Tx, account_id: UUID, *, lock: bool = False) -> OpenedAccount:
    """The account if the actor may see it. Raises NotFoundError.

    With `lock` its row is held against ingest, purge and other changes, and may be changed; without, it is a copy to read.
    What this transaction read before of its people is then read anew: who held the lock before may have changed it.
    """
    _check_own(tx, account_id)
    found = _row_to_change(tx, account_id) if lock else _row_to_read(tx, account_id)
    if found is None or tx.actor.service not in (None, found[0].service):
        raise NotFoundError
    return _opened(tx, *found)


def find_usable(tx: Tx, account_id: UUID) -> OpenedAccount:
    """The account, to read data of. Raises NotFoundError, AccountRestrictedError as `check_usable` does."""
    account = find_account(tx, account_id)
    check_usable(tx, account.row)
    return account


def lock_account(tx: Tx, account_id: UUID, *, restricted: bool = False) -> OpenedAccount:
    """The account, locked, for a change. Raises AccountClosingError or AccountRestrictedError when it takes none.

    With `restricted` a restricted account takes the change too, and a closing one: for what people have a right to (GDPR
    Article 18(2)), and since a closing may be undone.
    """
    account = find_account(tx, account_id, lock=True)
    if not restricted:
        check_writable(account.row)
    return account


def find_by_name(tx: Tx, service: str, account_name: str) -> OpenedAccount | None:
    """The account of this name in a service, by the directory.

    By as many statements whether there is one or not: the time that it takes tells nobody who exists.
    """
    account_id = directory.find_ids(tx, service, [account_name]).get(account_name, new_id())  # or nobody's
    try:
        return find_account(tx, account_id)
    except NotFoundError:  # also when its erasure began between the two
        return None


def check_writable(row: Account) -> None:
    """Raises AccountClosingError for an account being erased, AccountRestrictedError under GDPR Article 18."""
    if row.status in ("closing", "purging"):
        raise AccountClosingError
    if row.status == "restricted":
        raise AccountRestrictedError


def check_usable(tx: Tx, row: Account) -> None:
    """Raises AccountRestrictedError when the account's data may not be read or used by this actor.

    While it is restricted, only its holders use it, who consent by asking (GDPR Article 18(2)); storage, exports and legal
    claims do not come here.
    """
    if is_restricted(row) and not uses_own_rights(tx):
        raise AccountRestrictedError


def is_restricted(row: Account) -> bool:
    """Whether the account's processing is restricted: also while it is closing, and when that is undone."""
    return row.status == "restricted" or bool(row.restricted_for)


def uses_own_rights(tx: Tx) -> bool:
    """Whether the actor is an account holder who looks at or asks for what is held about the account."""
    return HOLDER in tx.actor.scopes


def check_version(current: int, given: int) -> None:
    """Raises StaleError unless the caller knows the current version."""
    if current != given:
        raise StaleError


def _check_own(tx: Tx, account_id: UUID) -> None:
    """Raises NotFoundError for an account holder who asks for another account than their own."""
    if tx.actor.account_id not in (None, account_id):
        raise NotFoundError


def _row_to_change(tx: Tx, account_id: UUID) -> tuple[Account, StoredKey] | None:
    tx.session.flush()  # what was changed on objects is not read over, also where a unit of work flushes nothing by itself
    held: set[UUID] = tx.session.info.setdefault("held_accounts", set())
    found = tx.session.execute(TO_CHANGE, {"account_id": account_id}).one_or_none()
    if account_id not in held:
        _read_anew(tx, account_id)
        held.add(account_id)
    return None if found is None else (found[0], found[1])


def _read_anew(tx: Tx, account_id: UUID) -> None:
    """Read those of the account's people anew who were read before; whoever is gone is found no more."""
    seen = [each for each in tx.session.identity_map.values() if isinstance(each, Person) and each.account_id == account_id]
    if not seen:
        return
    query = select(Person).where(Person.account_id == account_id).execution_options(populate_existing=True)
    there = set(tx.session.scalars(query.where(Person.person_id.in_([each.person_id for each in seen]))))
    for row in set(seen) - there:
        tx.session.expunge(row)


def _row_to_read(tx: Tx, account_id: UUID) -> tuple[Account, StoredKey] | None:
    found = tx.fetch_one(FIND, {"account_id": account_id, "service": tx.actor.service})
    return None if found is None else (found, found)


def _opened(tx: Tx, row: Account, stored: StoredKey) -> OpenedAccount:
    key = tx.keys.data_key(row.account_id, WrappedKey(stored.kek_id, stored.wrapped))
    return OpenedAccount(row, key, key.open(row.account_id, PROFILE, row.profile))
