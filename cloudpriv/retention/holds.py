"""Legal holds: what an authority has kept of an account, a person or a category, until it is released or its time is over.

A hold stops erasure of exactly its scope. Whatever was to be erased meanwhile goes on by itself when the hold ends.
Holds are placed and released under the account's row lock, which a purge takes before it begins.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, or_, select

from cloudpriv.audit import events
from cloudpriv.controller import accounts, people
from cloudpriv.controller.tables import Account, Person
from cloudpriv.platform.classify import Category
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import AccountClosingError, FieldError, InvalidError, NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.retention import scope
from cloudpriv.retention.around import Around
from cloudpriv.retention.tables import WORKABLE, Hold, Purge

SCOPES: Final = ("account", "person", "category")
APART: Final = (Category.OPERATION, Category.LOG_DATA)  # no personal data; the customer's, in the other plane
CATEGORIES: Final = tuple(category.value for category in Category if category not in APART)


def active(tx: Tx, account_id: UUID) -> list[Hold]:
    """The account's holds that count now: neither released nor past their `until`, oldest first."""
    query = select(Hold).where(Hold.account_id == account_id, in_force(tx.now))
    return list(tx.session.scalars(query.order_by(Hold.hold_id)))


def next_end(held: Iterable[Hold]) -> datetime | None:
    """When the first of these holds ends by itself; None when none does."""
    return min((hold.until for hold in held if hold.until is not None), default=None)


def in_force(now: datetime) -> ColumnElement[bool]:
    """That a hold counts: neither released nor past its `until` by the clocks of host and database both.

    What a hold keeps is lost for good once it is erased, so a clock that jumped alone ends none.
    """
    earlier = func.least(now, func.statement_timestamp())
    return and_(Hold.released_at.is_(None), or_(Hold.until.is_(None), Hold.until > earlier))


def is_active(hold: Hold, now: datetime) -> bool:
    """Whether the hold counts at `now`."""
    return hold.released_at is None and (hold.until is None or hold.until > now)


def version_of(hold: Hold) -> int:
    """The hold's version: it changes once, when it is released."""
    return 1 if hold.released_at is None else 2


def place(tx: Tx, account_id: UUID, scope: str, *, authority: str, reference: str, person_id: UUID | None = None,
          category: str | None = None, until: datetime | None = None) -> Hold:  # fmt: skip
    """A new hold: of the account, of one of its people, or of one category of its data, each with what names it.

    Raises NotFoundError, InvalidError for a scope that does not fit, a person of another account, or an `until` that does
    not lie ahead, and AccountClosingError when the account's erasure has begun and no other hold keeps anything of it.
    """
    account = _lock_account(tx, account_id)
    _check_scope(scope, person_id, category)
    if until is not None and until <= tx.now:
        raise InvalidError(errors=(FieldError("/until", "does not lie ahead"),))
    if account.status == "purging":
        _lock_purges(tx, account_id)  # a worker in the middle of a batch does not know of this hold
        if not active(tx, account_id):
            raise AccountClosingError
    if person_id is not None and tx.session.get(Person, (account_id, person_id)) is None:
        raise InvalidError(errors=(FieldError("/person_id", "is nobody of this account"),))
    hold = Hold(
        account_id=account_id,
        hold_id=new_id(),
        scope=scope,
        person_id=person_id,
        category=category,
        authority=authority,
        reference=reference,
        placed_by=tx.actor.name,
        placed_at=tx.now,
        until=until,
    )
    tx.session.add(hold)
    tx.session.flush()
    events.record(tx, "hold.place", account_id=account_id, subject_id=hold.hold_id)
    return hold


def release(tx: Tx, account_id: UUID, hold_id: UUID, version: int | None = None) -> Hold:
    """End a hold now; the account's pending purge goes on. One that was released before stays as it is.

    Raises NotFoundError, or StaleError unless `version`, when it is given, is the current one.
    """
    _lock_account(tx, account_id)
    hold = _hold(tx, account_id, hold_id)
    if version is not None:
        accounts.check_version(version_of(hold), version)
    if hold.released_at is not None:
        return hold
    hold.released_by, hold.released_at = tx.actor.name, tx.now
    tx.session.flush()
    for purge in _lock_purges(tx, account_id):
        if purge.lease_owner is None or purge.lease_until is None or purge.lease_until <= tx.now:
            purge.lease_owner, purge.lease_until = None, tx.now
        tx.wake.append(("purge", purge.purge_id))
    events.record(tx, "hold.release", account_id=account_id, subject_id=hold_id)
    return hold


def read_hold(tx: Tx, account_id: UUID, hold_id: UUID) -> Hold:
    """A hold, ended or not, audited. Raises NotFoundError."""
    _find_account(tx, account_id)
    hold = _hold(tx, account_id, hold_id)
    events.record(tx, "hold.read", account_id=account_id, subject_id=hold_id)
    return hold


def list_holds(tx: Tx, account_id: UUID, *, after: UUID | None = None, limit: int) -> list[Hold]:
    """The account's holds, ended ones too, oldest first, and one more than `limit` if there is one; audited one by one."""
    _find_account(tx, account_id)
    query = select(Hold).where(Hold.account_id == account_id).order_by(Hold.hold_id).limit(limit + 1)
    if after is not None:
        query = query.where(Hold.hold_id > after)
    found = list(tx.session.scalars(query))
    for hold in found[:limit]:
        events.record(tx, "hold.read", account_id=account_id, subject_id=hold.hold_id)
    return found


def on_person(tx: Tx, account_id: UUID, person_id: UUID) -> list[Hold]:
    """The active holds that keep anything of a person: the account, the person, or a category of what is held of people."""
    query = select(Hold).where(Hold.account_id == account_id, in_force(tx.now), _keeps_of(person_id))
    return list(tx.session.scalars(query.order_by(Hold.hold_id)))


def erase_released(tx: Tx, limit: int = 100) -> int:
    """Erase up to `limit` people whose erasure had to wait for holds that have ended since; how many there were.

    People of an account that is itself being erased go with it, those of a restricted one wait (GDPR Article 18).
    """
    held = exists().where(Hold.account_id == Person.account_id, in_force(tx.now), _keeps_of(Person.person_id))
    query = select(Person.account_id, Person.person_id).join(Account, Account.account_id == Person.account_id)
    query = query.where(Person.erasure_requested_at.is_not(None), Account.status == "active", ~held)
    found = tx.session.execute(query.order_by(Person.erasure_requested_at).limit(limit)).all()
    # In the order of ids, in which ingest locks accounts.
    return sum(_erase_unless_held(tx, account_id, person_id) for account_id, person_id in sorted(found))


def _erase_unless_held(tx: Tx, account_id: UUID, person_id: UUID) -> bool:
    try:
        account = accounts.find_account(tx, account_id, lock=True)
    except NotFoundError:  # its erasure has begun
        return False
    if account.row.status != "active" or on_person(tx, account_id, person_id):
        return False
    Around(tx, account_id, scope.scope_of([])).blank_person(person_id)
    return people.erase_pending(tx, account_id, person_id)


def _keeps_of(person_id: Any) -> ColumnElement[bool]:
    """That a hold keeps something of a person, given by id or by column."""
    of_category = Hold.category.in_(sorted(scope.categories_of_people()))
    return or_(Hold.scope == "account", Hold.person_id == person_id, of_category)


def _check_scope(scope: str, person_id: UUID | None, category: str | None) -> None:
    """Raises InvalidError unless the scope is named by what it needs and nothing else."""
    given = {"person_id": person_id, "category": category}
    wanted = {"account": set(), "person": {"person_id"}, "category": {"category"}}.get(scope)
    if wanted is None:
        raise InvalidError(errors=(FieldError("/scope", f"is none of {', '.join(SCOPES)}"),))
    wrong = [name for name, value in given.items() if (value is not None) != (name in wanted)]
    if wrong:
        detail = {name: "is needed for this scope" if name in wanted else "does not belong to this scope" for name in wrong}
        raise InvalidError(errors=tuple(FieldError(f"/{name}", detail[name]) for name in wrong))
    if category is not None and category not in CATEGORIES:
        raise InvalidError(errors=(FieldError("/category", f"is none of {', '.join(CATEGORIES)}"),))


def _hold(tx: Tx, account_id: UUID, hold_id: UUID) -> Hold:
    hold = tx.session.get(Hold, (account_id, hold_id))
    if hold is None:
        raise NotFoundError
    return hold


def _find_account(tx: Tx, account_id: UUID, *, lock: bool = False) -> Account:
    """The account's row, also when its erasure has begun and only holds keep anything of it. Raises NotFoundError."""
    query = select(Account).where(Account.account_id == account_id)
    if lock:
        query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    account = tx.session.scalar(query)
    if account is None or tx.actor.service not in (None, account.service):
        raise NotFoundError
    return account


def _lock_account(tx: Tx, account_id: UUID) -> Account:
    return _find_account(tx, account_id, lock=True)


def _lock_purges(tx: Tx, account_id: UUID) -> list[Purge]:
    """The account's purges that workers carry out: one at most. Its account is locked before, as everywhere."""
    query = select(Purge).where(Purge.account_id == account_id, Purge.status.in_(WORKABLE))
    return list(tx.session.scalars(query.with_for_update()))
