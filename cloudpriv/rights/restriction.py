"""Restriction of processing (GDPR Article 18), of an account or of one person in it.

What is restricted is stored, exported and used for legal claims, and nothing else: whatever backends do with it is refused
by the services of the controller (`accounts.check_usable`, `people.check_usable`). Account holders go on using their rights:
they consent to that by asking (Article 18(2)). See docs/restriction.md.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select

from cloudpriv.audit import events
from cloudpriv.audit.events import AuditEvent
from cloudpriv.controller import accounts, idempotency, people
from cloudpriv.platform.classify import exported_categories
from cloudpriv.platform.db import ControllerBase, Tx
from cloudpriv.rights import telling

check_usable: Final = accounts.check_usable


def restrict_account(tx: Tx, account_id: UUID, *, request_id: UUID | None = None) -> bool:
    """Restrict the processing of an account; False, and nothing done, when it is restricted already.

    Recipients of its data are told. Raises NotFoundError, AccountClosingError.
    """
    account = accounts.lock_account(tx, account_id, restricted=True).row
    if account.status == "restricted":
        return False
    account.status, account.version = "restricted", account.version + 1
    events.record(tx, "account.restrict", account_id=account_id, subject_id=request_id)
    telling.notify(tx, account_id, "restriction", _categories(), request_id=request_id)
    return True


def lift_account(tx: Tx, account_id: UUID) -> bool:
    """End the restriction of an account; False when there is none. Raises NotFoundError.

    Whoever obtained it is to be told before (Article 18(3)).
    """
    account = accounts.find_account(tx, account_id, lock=True).row
    if account.status != "restricted":
        return False
    account.status, account.version = "active", account.version + 1
    events.record(tx, "account.lift", account_id=account_id)
    return True


def restrict_person(tx: Tx, account_id: UUID, person_id: UUID, *, request_id: UUID | None = None) -> bool:
    """Restrict the processing of a person's data, while the account goes on; False when it is restricted already.

    New traffic that names the person is kept without the name. Copies of answers that tell of the person are erased.
    Recipients are told. Raises NotFoundError, AccountClosingError.
    """
    account = accounts.lock_account(tx, account_id, restricted=True)  # ingest, which names people, locks it too
    person = people.find_person(tx, account_id, person_id)
    if person.restricted_at is not None:
        return False
    person.restricted_at, person.version = tx.now, person.version + 1
    idempotency.forget_person(tx, account, person_id)
    events.record(tx, "person.restrict", account_id=account_id, subject_id=person_id)
    telling.notify(tx, account_id, "restriction", _categories(), person_id=person_id, request_id=request_id)
    return True


def lift_person(tx: Tx, account_id: UUID, person_id: UUID) -> bool:
    """End the restriction of a person's data; False when there is none. Raises NotFoundError; see `lift_account`."""
    accounts.find_account(tx, account_id, lock=True)
    person = people.find_person(tx, account_id, person_id)
    if person.restricted_at is None:
        return False
    person.restricted_at, person.version = None, person.version + 1
    events.record(tx, "person.lift", account_id=account_id, subject_id=person_id)
    return True


def since(tx: Tx, account_id: UUID, person_id: UUID | None) -> datetime | None:
    """Since when an account, or a person's data, is restricted; None when it is not. Raises NotFoundError."""
    if person_id is not None:
        return people.find_person(tx, account_id, person_id).restricted_at
    if accounts.find_account(tx, account_id).row.status != "restricted":
        return None
    begun = select(AuditEvent.at).where(AuditEvent.account_id == account_id, AuditEvent.action == "account.restrict")
    return tx.session.scalar(begun.order_by(AuditEvent.event_id.desc()).limit(1))


def _categories() -> frozenset[str]:
    return exported_categories(ControllerBase.metadata)
