"""Restriction of processing (GDPR Article 18), of an account or of one person in it.

What is restricted is stored, exported and used for legal claims, and nothing else: whatever backends do with it is refused
by the services of the controller (`accounts.check_usable`, `people.check_usable`). Account holders go on using their rights:
they consent to that by asking (Article 18(2)). See docs/restriction.md.

It may be restricted for several causes at once, and stays so until the last has ended. Whoever obtained it ends it at once;
for others its end is announced, and comes a week later (`rights.restriction_ends`).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, NamedTuple, get_args
from uuid import UUID

from cloudpriv.audit import events
from cloudpriv.controller import accounts, idempotency, outbox, people
from cloudpriv.controller.tables import Account, Person
from cloudpriv.platform.classify import exported_categories
from cloudpriv.platform.db import ControllerBase, Tx, database_time
from cloudpriv.platform.errors import AccountClosingError, ConflictError
from cloudpriv.rights import telling
from cloudpriv.rights.restriction_notice import ENDS, NOTICE

# By staff, by a granted request (or an upheld objection), or while an objection is looked into (Article 18(1)(d)).
Cause = Literal["staff", "request", "objection"]
Ground = Literal["accuracy_verified", "processing_lawful", "claims_settled", "objection_decided", "reason_ended"]
GROUNDS: Final[tuple[Ground, ...]] = get_args(Ground)  # why a restriction ends, as letters word them

OF_ACCOUNT: Final[Mapping[str, str]] = {
    "announce": "account.lift_announce",
    "remove": "account.lift_cause",
    "lift": "account.lift",
    "read": "account.read_restriction",
}
OF_PERSON: Final[Mapping[str, str]] = {
    "announce": "person.lift_announce",
    "remove": "person.lift_cause",
    "lift": "person.lift",
    "read": "person.read_restriction",
}

check_usable: Final = accounts.check_usable


class Standing(NamedTuple):
    """What something is restricted for, nothing when it is not, and when and why that ends if it has been decided."""

    causes: tuple[str, ...] = ()
    ends_at: datetime | None = None
    ground: str | None = None


def restrict_account(tx: Tx, account_id: UUID, *, request_id: UUID | None = None, cause: Cause | None = None) -> bool:
    """Restrict the processing of an account; False when it is restricted already: then the cause is added, and audited.

    The cause is the request's, staff without one. It cancels an end that was announced. Recipients of the data are told.
    Raises NotFoundError, AccountClosingError.
    """
    account = accounts.find_account(tx, account_id, lock=True).row
    if account.status == "closing":
        raise AccountClosingError
    begun = not accounts.is_restricted(account)
    if _add(account, cause or _cause(request_id)):
        account.status, account.version = "restricted", account.version + 1
        events.record(tx, "account.restrict", account_id=account_id, subject_id=request_id)
    if begun:
        telling.notify(tx, account_id, "restriction", _categories(), request_id=request_id)
    return begun


def restrict_person(tx: Tx, account_id: UUID, person_id: UUID, *, request_id: UUID | None = None,
                    cause: Cause | None = None) -> bool:  # fmt: skip
    """Restrict the processing of a person's data, while the account goes on, or closes; otherwise as `restrict_account`.

    New traffic that names the person is kept without the name. Copies of answers that tell of the person are erased.
    Recipients are told. Raises NotFoundError.
    """
    account = accounts.find_account(tx, account_id, lock=True)  # ingest, which names people, locks it too
    person = people.find_person(tx, account_id, person_id)
    begun, asked, cause = person.restricted_at is None, _asked(person), cause or _cause(request_id)
    if _add(person, cause):
        person.restricted_at, person.version = person.restricted_at or tx.now, person.version + 1
        events.record(tx, "person.restrict", account_id=account_id, subject_id=person_id)
    asked[cause] = tx.now
    person.restriction_asked_at = [asked.get(each, tx.now) for each in causes(person)]
    if begun:
        idempotency.forget_person(tx, account, person_id)
        telling.notify(tx, account_id, "restriction", _categories(), person_id=person_id, request_id=request_id)
    return begun


def lift_account(tx: Tx, account_id: UUID, ground: Ground, *, told: bool = False) -> Standing:
    """Have staff end the restriction of an account; how it stands then. Raises NotFoundError.

    Staff's own cause goes first; the rest, which was obtained, ends after `NOTICE`: every owner is told by mail when and why
    before it is lifted (Article 18(3)). Where mail did not reach them, it ends once staff notes that they were `told`
    otherwise; ConflictError where no end was announced for that ground, or its time has not come.
    """
    row = accounts.find_account(tx, account_id, lock=True).row
    if told:
        return _end_announced(tx, row, None, ground)
    return _decide(tx, row, None, next(iter(_in_turn(row)), None), ground)


def lift_person(tx: Tx, account_id: UUID, person_id: UUID, ground: Ground, *, told: bool = False) -> Standing:
    """Have staff end the restriction of a person's data, as `lift_account` does; the person is told."""
    row = _locked(tx, account_id, person_id)
    if told:
        return _end_announced(tx, row, person_id, ground)
    return _decide(tx, row, person_id, next(iter(_in_turn(row)), None), ground)


def override(tx: Tx, account_id: UUID, person_id: UUID | None) -> Standing:
    """End what an objection that was refused had restricted, after `NOTICE` unless it stays for another cause."""
    return _decide(tx, _locked(tx, account_id, person_id), person_id, "objection", "objection_decided")


def end(tx: Tx, account_id: UUID, person_id: UUID | None, cause: Cause) -> Standing:
    """End a restriction for one cause at once, on the word of whoever obtained it; for others it stays.

    Raises NotFoundError.
    """
    row = _locked(tx, account_id, person_id)
    if cause in causes(row):
        remove(tx, row, person_id, cause)
    return _standing(row)


def read(tx: Tx, account_id: UUID, person_id: UUID | None) -> Standing:
    """As `standing`, for staff to look at: audited."""
    found = standing(tx, account_id, person_id)
    _record(tx, account_id, person_id, "read")
    return found


def standing(tx: Tx, account_id: UUID, person_id: UUID | None) -> Standing:
    """How an account, or a person's data, is restricted. Raises NotFoundError."""
    if person_id is not None:
        accounts.find_account(tx, account_id)
        return _standing(people.find_person(tx, account_id, person_id))
    return _standing(accounts.find_account(tx, account_id).row)


def causes(row: Account | Person) -> tuple[str, ...]:
    """What it is restricted for; what was restricted before causes were kept, staff had restricted."""
    restricted = row.restricted_at is not None if isinstance(row, Person) else row.status == "restricted"
    return tuple(row.restricted_for or (("staff",) if restricted else ()))


def remove(tx: Tx, row: Account | Person, person_id: UUID | None, cause: str) -> None:
    """End one cause of a restriction, of a row that is locked; it is lifted with the last. Audited."""
    left = [each for each in causes(row) if each != cause]
    if isinstance(row, Person):
        row.restriction_asked_at = [at for each, at in _asked(row).items() if each != cause] or None
    row.restricted_for, row.version = left or None, row.version + 1
    if not left:
        row.restriction_ends_at = row.restriction_end_ground = None
        if isinstance(row, Person):
            row.restricted_at = None
        elif row.status == "restricted":
            row.status = "active"
    _record(tx, row.account_id, person_id, "remove" if left else "lift")


def announce(tx: Tx, row: Account | Person, person_id: UUID | None, ends_at: datetime) -> None:
    """Have a restriction end then, and tell whoever obtained it: the person, or every owner of the account. Audited."""
    row.restriction_ends_at, row.version = ends_at, row.version + 1
    _record(tx, row.account_id, person_id, "announce")
    told = people.owners_of(tx, row.account_id) if person_id is None else [person_id]
    for each in told:
        outbox.queue_mail(tx, ENDS, row.account_id, each, person_id or row.account_id)


def _decide(tx: Tx, row: Account | Person, person_id: UUID | None, cause: str | None, ground: Ground) -> Standing:
    if cause is None or cause not in causes(row):
        return _standing(row)
    if len(causes(row)) > 1 and cause != "request":  # what was obtained for good is not ended behind anybody's back
        remove(tx, row, person_id, cause)
    elif row.restriction_ends_at is None:
        row.restriction_end_ground = ground
        announce(tx, row, person_id, tx.now + NOTICE)
    return _standing(row)


def _end_announced(tx: Tx, row: Account | Person, person_id: UUID | None, ground: Ground) -> Standing:
    """End every cause, now that whoever obtained it was told by other means than mail."""
    ends_at = row.restriction_ends_at
    if ends_at is None or row.restriction_end_ground != ground or ends_at > min(tx.now, database_time(tx)):
        raise ConflictError("No end for this ground was announced whose time has come.")
    for cause in causes(row):
        remove(tx, row, person_id, cause)
    return _standing(row)


def _add(row: Account | Person, cause: str) -> bool:
    """Whether the row changes: an end that was announced is cancelled, also for what would have ended then."""
    known = causes(row)
    if cause in known and row.restriction_ends_at is None:
        return False
    row.restricted_for = sorted({*known, cause})
    row.restriction_ends_at = row.restriction_end_ground = None
    return True


def _asked(row: Person) -> dict[str, datetime]:
    """When each cause was asked for last."""
    return dict(zip(causes(row), row.restriction_asked_at or (), strict=False))


def _in_turn(row: Account | Person) -> list[str]:
    return sorted(causes(row), key=get_args(Cause).index)


def _cause(request_id: UUID | None) -> Cause:
    return "staff" if request_id is None else "request"


def _locked(tx: Tx, account_id: UUID, person_id: UUID | None) -> Account | Person:
    account = accounts.find_account(tx, account_id, lock=True).row
    if person_id is None:
        return account
    person = people.find_person(tx, account_id, person_id)
    tx.session.refresh(person)  # whoever looked before the lock may have seen fewer causes
    return person


def _standing(row: Account | Person) -> Standing:
    return Standing(causes(row), row.restriction_ends_at, row.restriction_end_ground)


def _record(tx: Tx, account_id: UUID, person_id: UUID | None, what: str) -> None:
    action = (OF_ACCOUNT if person_id is None else OF_PERSON)[what]
    events.record(tx, action, account_id=account_id, subject_id=person_id)


def _categories() -> frozenset[str]:
    return exported_categories(ControllerBase.metadata)
