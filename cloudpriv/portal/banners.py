"""What stands above every page while it lasts: a closing, a restriction, a new owner who waits; and how to end it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cloudpriv.controller import accounts
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.people import KnownPerson
from cloudpriv.controller.sessions import Session
from cloudpriv.platform.db import Tx
from cloudpriv.rights import closure, own_restriction, owners
from cloudpriv.rights.closure import Stage


@dataclass(frozen=True)
class Banners:
    """What there is to say. Plain values: pages about failures show it after the transaction was undone."""

    closing: Stage | None = None  # how far a closing is, where there is one
    closes_at: datetime | None = None
    may_undo: bool = False
    account_restricted: bool = False
    person_restricted: bool = False
    account_ends_at: datetime | None = None  # when a restriction ends, once that was announced
    person_ends_at: datetime | None = None
    may_lift_account: bool = False
    may_lift_person: bool = False
    replacement_id: UUID | None = None  # told to owners
    replaced_at: datetime | None = None


NONE = Banners()


def read(tx: Tx, session: Session, account: OpenedAccount, person: KnownPerson) -> Banners:
    """What there is to say to who is signed in."""
    row, restricted_at, owner = account.row, person.row.restricted_at, session.role == "owner"
    waiting = owners.find_waiting(tx, row.account_id) if owner else None
    restricted = accounts.is_restricted(row)
    stage = closure.stage(tx, row) if row.status == "closing" else None
    return Banners(
        closing=stage,
        may_undo=owner and stage in closure.UNDONE_WHILE,
        closes_at=row.closes_at,
        account_restricted=restricted,
        person_restricted=restricted_at is not None,
        account_ends_at=row.restriction_ends_at,
        person_ends_at=person.row.restriction_ends_at,
        may_lift_account=owner and own_restriction.is_obtained(row),
        may_lift_person=own_restriction.is_obtained(person.row),
        replacement_id=waiting.replacement_id if waiting else None,
        replaced_at=waiting.effective_at if waiting else None,
    )
