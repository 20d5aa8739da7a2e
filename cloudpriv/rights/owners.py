"""Owners: their replacement by staff after a documented check of the company, with notice and a waiting time.

For an account whose only owner has left. Everybody who is registered in the account is told; whoever still owns it may stop
it within seven days, and nobody needs the old mailbox. Former owners remain: the new one can have them removed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import Select, select

from cloudpriv.audit import events
from cloudpriv.audit import log as audit_log
from cloudpriv.controller import accounts, delivery, outbox, people
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.delivery import DroppedError, Values, Writer
from cloudpriv.controller.outbox import Mail
from cloudpriv.controller.tables import Account, Person
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.clock import APART
from cloudpriv.platform.db import Plane, Tx, database_time
from cloudpriv.platform.errors import AccountClosingError, ConflictError, ForbiddenError, NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.rights.post import Post
from cloudpriv.rights.tables import REPLACEMENT, OwnerReplacement

log = structlog.get_logger(__name__)

WAITING: Final = timedelta(days=7)
AT_ONCE: Final = 100
KINDS: Final = {"waiting": "owner_waiting", "stopped": "owner_stopped", "done": "owner_done"}


@dataclass(frozen=True)
class Evidence:
    """What of the company was checked (such as an extract of the register of companies), and how it was."""

    documents: str
    note: str


@dataclass(frozen=True)
class KnownReplacement:
    """A replacement's row and the opened evidence."""

    row: OwnerReplacement
    evidence: Evidence


def start_replacement(tx: Tx, account_id: UUID, person_id: UUID, evidence: Evidence) -> KnownReplacement:
    """Have a person of the account become its owner in seven days, after staff checked the company; everybody is told.

    Audited. Raises NotFoundError, and ConflictError when the person is an owner already or another replacement waits;
    AccountClosingError for an account that is being erased.
    """
    account = accounts.lock_account(tx, account_id, restricted=True)
    if account.row.status == "closing":
        raise AccountClosingError
    if people.find_person(tx, account_id, person_id).role == "owner":
        raise ConflictError("The person is an owner already.")
    if find_waiting(tx, account_id) is not None:
        raise ConflictError("Another replacement is waiting.")
    replacement_id = new_id()
    row = OwnerReplacement(
        account_id=account_id,
        replacement_id=replacement_id,
        person_id=person_id,
        status="waiting",
        evidence=account.key.seal(replacement_id, REPLACEMENT, {"documents": evidence.documents, "note": evidence.note}),
        checked_by=tx.actor.name,
        requested_at=tx.now,
        effective_at=tx.now + WAITING,
        version=1,
    )
    tx.session.add(row)
    tx.session.flush()
    _tell(tx, row)
    events.record(tx, "owner.announce", account_id=account_id, subject_id=person_id)
    return KnownReplacement(row, evidence)


def stop(tx: Tx, account_id: UUID, replacement_id: UUID) -> None:
    """Stop a replacement that waits: an owner of the account may, and staff. Everybody is told; audited.

    Raises NotFoundError when there is none of this id, ForbiddenError for a member, ConflictError when it has ended.
    """
    accounts.find_account(tx, account_id, lock=True)
    if tx.actor.kind == "member":
        raise ForbiddenError
    row = tx.session.get(OwnerReplacement, (account_id, replacement_id), with_for_update=True)
    if row is None:
        raise NotFoundError
    if row.status != "waiting":
        raise ConflictError("It has ended already.")
    _end(tx, row, "stopped", "owner.stop")


def find_waiting(tx: Tx, account_id: UUID) -> OwnerReplacement | None:
    """The replacement of an account that waits, if there is one."""
    query = select(OwnerReplacement).where(OwnerReplacement.account_id == account_id, OwnerReplacement.status == "waiting")
    return tx.session.scalars(query.order_by(OwnerReplacement.replacement_id).limit(1)).one_or_none()


def list_replacements(tx: Tx, account_id: UUID) -> list[KnownReplacement]:
    """Every replacement of an account with its evidence, the latest first; the look is audited. Raises NotFoundError."""
    key = accounts.find_account(tx, account_id).key
    query = select(OwnerReplacement).where(OwnerReplacement.account_id == account_id)
    events.record(tx, "owner.read", account_id=account_id)
    return [
        KnownReplacement(row, Evidence(**key.open(row.replacement_id, REPLACEMENT, row.evidence)))
        for row in tx.session.scalars(query.order_by(OwnerReplacement.replacement_id.desc()))
    ]


def advance(plane: Plane, clock: Callable[[], datetime]) -> int:
    """Make everybody an owner whose waiting time is over by the clocks of host and database both; how many.

    A clock that is well ahead of the database's does nothing. Each in a transaction with its mails, so that whoever stops
    leaves nothing half done; several at once do each once. One that was announced before the database was restored is
    announced again: nobody knows whether it was stopped after the backup.
    """
    total = 0
    while True:
        with plane.transaction(WORKER, clock()) as tx:
            now = database_time(tx)
            if tx.now > now + APART:
                log.error("owners_not_replaced", fault="clocks_apart")
                return total
            done = _conclude_due(tx, min(tx.now, now), _earliest_end(tx))
        total += done
        if done < AT_ONCE:
            return total


def writers(post: Post) -> Mapping[str, Writer]:
    """How its mails are written, for `delivery.deliver`."""

    def told(tx: Tx, account: OpenedAccount, mail: Mail) -> Values:
        return {**_told(tx, account, mail), "portal": post.portal}

    return {kind: delivery.to_person(told) for kind in KINDS.values()}


def _due(now: datetime) -> Select[OwnerReplacement, Person]:
    """Replacements that are due, with their persons, locked; those of accounts that somebody works on are left out."""
    return (
        select(OwnerReplacement, Person)
        .join(Person, (Person.account_id == OwnerReplacement.account_id) & (Person.person_id == OwnerReplacement.person_id))
        .join(Account, Account.account_id == OwnerReplacement.account_id)
        .where(OwnerReplacement.status == "waiting", OwnerReplacement.effective_at <= now)
        .where(Account.status.in_(("active", "restricted")))
        .order_by(OwnerReplacement.effective_at)
        .limit(AT_ONCE)
        .with_for_update(of=[OwnerReplacement, Person, Account], key_share=True, skip_locked=True)
    )


def _conclude_due(tx: Tx, now: datetime, earliest: datetime | None) -> int:
    found = tx.session.execute(_due(now)).all()
    for row, person in found:
        if person.erasure_requested_at is not None:
            _end(tx, row, "stopped", "owner.stop")
            continue
        if earliest is not None and row.effective_at < earliest:
            row.effective_at, row.version = earliest, row.version + 1
            _tell(tx, row)
            events.record(tx, "owner.announce", account_id=row.account_id, subject_id=row.person_id)
            continue
        person.role = "owner"
        person.version += 1
        _end(tx, row, "done", "owner.replace")
    return len(found)


def _earliest_end(tx: Tx) -> datetime | None:
    """Before when nobody may become one: the database was restored less than a week ago. None where it never was."""
    newest = audit_log.newest_log(tx)
    return newest.begun_at + WAITING if newest is not None and audit_log.has_begun_anew(tx) else None


def _end(tx: Tx, row: OwnerReplacement, status: str, action: str) -> None:
    row.status, row.ended_at = status, tx.now
    row.version += 1
    tx.session.flush()
    _tell(tx, row)
    events.record(tx, action, account_id=row.account_id, subject_id=row.person_id)


def _tell(tx: Tx, row: OwnerReplacement) -> None:
    """Queue a mail about how it stands to everybody in the account; those without an address have their mails dropped."""
    query = select(Person.person_id).where(Person.account_id == row.account_id, Person.erasure_requested_at.is_(None))
    readers = [(row.account_id, person_id) for person_id in tx.session.scalars(query)]
    outbox.queue_mails(tx, KINDS[row.status], readers, row.replacement_id)


def _told(tx: Tx, account: OpenedAccount, mail: Mail) -> Values:
    """The day from which the new owner is one. Raises DroppedError when the mail says what is not so any more."""
    row = tx.session.get(OwnerReplacement, (account.row.account_id, mail.subject_id)) if mail.subject_id else None
    if row is None or KINDS[row.status] != mail.kind:
        raise DroppedError("over")
    return {"day": row.effective_at.date()}
