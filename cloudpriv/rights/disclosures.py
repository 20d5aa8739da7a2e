"""Disclosures: who was given data of an account or of one person in it (GDPR Articles 15(1)(c), 19 and 44 to 46).

A disclosure is recorded before the data goes: one that chapter V does not allow is refused. It stays for as long as the
account does, so that every recipient can be told of rectification, erasure and restriction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import or_, select

from cloudpriv.audit import events
from cloudpriv.controller import accounts, people
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.holder_tables import DISCLOSURE, Disclosure
from cloudpriv.platform.classify import exported_categories
from cloudpriv.platform.db import ControllerBase, Tx
from cloudpriv.platform.errors import FieldError, InvalidError, NotFoundError, TransferRefusedError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.mail import check_address
from cloudpriv.policy.register import Policy

ADEQUACY: Final = "adequacy_decision"  # the keys of the policy's safeguards
CLAUSES: Final = "standard_contractual_clauses"
SAFEGUARDS: Final = (ADEQUACY, CLAUSES)


@dataclass(frozen=True)
class KnownDisclosure:
    """A disclosure's row and its opened {recipient, email, purpose, reference}."""

    row: Disclosure
    details: Mapping[str, Any]


def record(tx: Tx, policy: Policy, account_id: UUID, *, person_id: UUID | None, recipient: str, email: str | None,
           categories: Sequence[str], purpose: str, country: str, safeguard: str | None, reference: str | None,
           disclosed_at: datetime) -> KnownDisclosure:  # fmt: skip
    """Record that data of these categories was given to a recipient in a country (ISO 3166-1 alpha-2); audited.

    `reference` is what both sides know the disclosure by; neither it nor `purpose` names a person. Also of a restricted
    account. Raises NotFoundError, InvalidError, TransferRefusedError as `safeguard_of` does.
    """
    account = accounts.find_account(tx, account_id, lock=True)
    _check(tx, account_id, person_id=person_id, email=email, categories=categories, disclosed_at=disclosed_at)
    row = Disclosure(
        account_id=account_id,
        disclosure_id=new_id(),
        person_id=person_id,
        scope="account" if person_id is None else "person",
        categories=sorted(set(categories)),
        country=country,
        safeguard=safeguard_of(policy, country, safeguard),
        disclosed_at=disclosed_at,
        recorded_by=tx.actor.name,
        recorded_at=tx.now,
    )
    details = {"recipient": recipient, "email": email, "purpose": purpose, "reference": reference}
    row.details = account.key.seal(row.disclosure_id, DISCLOSURE, details)
    tx.session.add(row)
    tx.session.flush()
    events.record(tx, "disclosure.create", account_id=account_id, subject_id=row.disclosure_id)
    return KnownDisclosure(row, details)


def safeguard_of(policy: Policy, country: str, safeguard: str | None) -> str | None:
    """The safeguard under which data goes to a country: None within the European Economic Area (GDPR Articles 44 to 46).

    Where an adequacy decision covers the whole country, it is the safeguard unless clauses are named; where it covers some
    recipients only, it has to be named. Raises InvalidError, or TransferRefusedError when nothing allows the transfer.
    """
    transfers = policy.sharing.transfers
    if safeguard not in (None, *SAFEGUARDS):
        raise InvalidError(errors=(FieldError("/safeguard", f"is none of {', '.join(SAFEGUARDS)}"),))
    if country in transfers.area:
        return None
    if safeguard == CLAUSES:
        return CLAUSES
    named = country in transfers.partly_adequate and safeguard == ADEQUACY
    if country in transfers.adequate or named:
        return ADEQUACY
    raise TransferRefusedError


def read_disclosure(tx: Tx, account_id: UUID, disclosure_id: UUID) -> KnownDisclosure:
    """A disclosure, audited. Raises NotFoundError, for a member also of one about somebody else."""
    account = accounts.find_account(tx, account_id)
    row = tx.session.get(Disclosure, (account_id, disclosure_id))
    if row is None or (tx.actor.kind == "member" and row.scope == "person" and str(row.person_id) != tx.actor.id):
        raise NotFoundError
    events.record(tx, "disclosure.read", account_id=account_id, subject_id=disclosure_id)
    return _known(account, row)


def list_disclosures(tx: Tx, account_id: UUID, *, after: UUID | None = None, limit: int) -> list[KnownDisclosure]:
    """Disclosures of an account, oldest first, and one more than `limit` if there is one; audited. Raises NotFoundError.

    A member sees those about that person and about the whole account.
    """
    account = accounts.find_account(tx, account_id)
    query = select(Disclosure).where(Disclosure.account_id == account_id)
    if tx.actor.kind == "member":
        query = query.where(or_(Disclosure.scope == "account", Disclosure.person_id == UUID(tx.actor.id)))
    if after is not None:
        query = query.where(Disclosure.disclosure_id > after)
    events.record(tx, "disclosure.list", account_id=account_id)
    found = tx.session.scalars(query.order_by(Disclosure.disclosure_id).limit(limit + 1))
    return [_known(account, row) for row in found]


def _known(account: OpenedAccount, row: Disclosure) -> KnownDisclosure:
    return KnownDisclosure(row, account.key.open(row.disclosure_id, DISCLOSURE, row.details))


def _check(tx: Tx, account_id: UUID, *, person_id: UUID | None, email: str | None, categories: Sequence[str],
           disclosed_at: datetime) -> None:  # fmt: skip
    """Raises InvalidError with everything that does not fit."""
    known = exported_categories(ControllerBase.metadata)
    faults = []
    if not categories or not set(categories) <= known:
        faults.append(FieldError("/categories", f"names other than {', '.join(sorted(known))}, or none"))
    if disclosed_at > tx.now:
        faults.append(FieldError("/disclosed_at", "lies in the future"))
    if person_id is not None and not _is_there(tx, account_id, person_id):
        faults.append(FieldError("/person_id", "is nobody of this account"))
    if email is not None and not _is_address(email):
        faults.append(FieldError("/email", "is no address"))
    if faults:
        raise InvalidError(errors=tuple(faults))


def _is_there(tx: Tx, account_id: UUID, person_id: UUID) -> bool:
    try:
        people.find_person(tx, account_id, person_id)
    except NotFoundError:
        return False
    return True


def _is_address(text: str) -> bool:
    try:
        check_address(text)
    except ValueError:
        return False
    return True
