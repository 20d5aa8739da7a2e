"""What the customer instructs the vendor to do with its log data (GDPR Article 28(3)(a)), and what that opens.

`support_read` lets the vendor's support read what it names until its time is over or it is withdrawn (`support`). `delete`
and `export` are carried out once, by a worker.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import select

from cloudpriv.platform.db import Tx, database_time
from cloudpriv.platform.errors import ConflictError, FieldError, InvalidError, NotFoundError, StaleError
from cloudpriv.platform.ids import new_id
from cloudpriv.processor import accounts, events, tokens
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.order_tables import INSTRUCTION, LogDeletion, LogExport, LogInstruction
from cloudpriv.processor.orders import deletions, exports, scope
from cloudpriv.processor.orders.scope import Names, Scope
from cloudpriv.processor.storage.chunks import Selection

Kind = Literal["support_read", "delete", "export"]
Status = Literal["running", "over", "withdrawn", "pending", "done", "failed"]
KINDS: Final[tuple[Kind, ...]] = ("support_read", "delete", "export")
LONGEST_READ: Final = timedelta(days=90)
TRIGGER: Final = "instruction"
NEEDED: Final[dict[Kind, str]] = {"support_read": "until", "export": "format"}  # of these members, each kind has this one
# What an instruction has come to, by the status of the deletion or archive that it brought about.
CAME_TO: Final[dict[str, Status]] = {
    "pending": "pending", "failed": "failed", "done": "done", "ready": "done", "expired": "done",
}  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """An instruction as the customer writes it: of points of a device or tag, from `since` and before `before`."""

    kind: Kind
    device: str | None = None
    tag: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    until: datetime | None = None
    note: str | None = None
    format: str | None = None


@dataclass(frozen=True)
class Instruction:
    """An instruction as it stands: its names, note and format opened, and what came of it so far."""

    row: LogInstruction
    device: str | None
    tag: str | None
    note: str | None
    format: str | None
    status: Status
    outcome: LogDeletion | LogExport | None

    @property
    def version(self) -> int:
        """It changes once, when it is withdrawn."""
        return 1 if self.row.withdrawn_at is None else 2


def give(tx: Tx, account_id: UUID, wanted: Wanted) -> Instruction:
    """A new instruction, in force from now; what is to be carried out is ordered with it.

    Raises NotFoundError, BusyError, and InvalidError for members that do not fit the kind, times that do not, and names that
    are not there.
    """
    _check(wanted, tx.now)
    account = accounts.lock_account(tx, account_id)
    about = scope.find(tx, account, wanted.device, wanted.tag)
    instruction_id = new_id()
    detail = {"note": wanted.note, "format": wanted.format, "service": tokens.service_of(tx)}
    row = LogInstruction(
        account_id=account_id,
        instruction_id=instruction_id,
        kind=wanted.kind,
        device_id=about.device_id,
        tag_id=about.tag_id,
        since=wanted.since,
        before=wanted.before,
        until=wanted.until,
        detail=account.key.seal(instruction_id, INSTRUCTION, detail),
        given_by=tx.actor.name,
        given_at=tx.now,
        outcome_id=_ordered(tx, account, instruction_id, wanted, about),
    )
    tx.session.add(row)
    tx.session.flush()
    events.record(
        tx, "instruction.give", account_id=account_id, subject_id=instruction_id, instruction_id=instruction_id,
        fields=[wanted.kind],
    )  # fmt: skip
    return _shown(tx, account, row, scope.names(tx, account))


def read(tx: Tx, account_id: UUID, instruction_id: UUID) -> Instruction:
    """An instruction of the account, audited. Raises NotFoundError."""
    account = accounts.find_account(tx, account_id)
    row = _find(tx, account_id, instruction_id)
    events.record(tx, "instruction.read", account_id=account_id, subject_id=instruction_id)
    return _shown(tx, account, row, scope.names(tx, account))


def list_running(tx: Tx, account: OpenedLogAccount, names: Names) -> list[Instruction]:
    """What support may read of the account now."""
    query = select(LogInstruction).where(
        LogInstruction.account_id == account.row.account_id,
        LogInstruction.withdrawn_at.is_(None),
        LogInstruction.until > tx.now,
    )
    found = [_shown(tx, account, row, names) for row in tx.session.scalars(query.order_by(LogInstruction.instruction_id))]
    return [instruction for instruction in found if instruction.status == "running"]


def list_given(tx: Tx, account_id: UUID, *, after: UUID | None, limit: int) -> list[Instruction]:
    """The account's instructions, oldest first, ended ones too; one more than `limit` if there is one. Audited."""
    account = accounts.find_account(tx, account_id)
    query = select(LogInstruction).where(LogInstruction.account_id == account_id)
    if after is not None:
        query = query.where(LogInstruction.instruction_id > after)
    rows = tx.session.scalars(query.order_by(LogInstruction.instruction_id).limit(limit + 1)).all()
    events.record(tx, "instructions.read", account_id=account_id)
    names = scope.names(tx, account)
    return [_shown(tx, account, row, names) for row in rows]


def withdraw(tx: Tx, account_id: UUID, instruction_id: UUID, version: int) -> None:
    """End an instruction to let support read, from now on; one that was withdrawn before stays as it is.

    Raises NotFoundError, StaleError, and ConflictError for one that is carried out: nothing brings back what is deleted.
    """
    accounts.find_account(tx, account_id)
    row = _find(tx, account_id, instruction_id, lock=True)
    if version != (1 if row.withdrawn_at is None else 2):
        raise StaleError
    if row.kind != "support_read":
        raise ConflictError("It is carried out from the moment that it was given; nothing of it can be withdrawn.")
    if row.withdrawn_at is None:
        row.withdrawn_at = tx.now
        events.record(
            tx, "instruction.withdraw", account_id=account_id, subject_id=instruction_id, instruction_id=instruction_id
        )


def withdraw_all(tx: Tx) -> int:
    """End every instruction to let support read that is not over, in all accounts, each of which is told; how many."""
    open_still = LogInstruction.withdrawn_at.is_(None), LogInstruction.until > tx.now
    query = select(LogInstruction).where(LogInstruction.kind == "support_read", *open_still)
    rows = tx.session.scalars(query.order_by(LogInstruction.account_id).with_for_update()).all()
    for row in rows:
        row.withdrawn_at = tx.now
        given = row.instruction_id
        events.record(tx, "instruction.withdraw", account_id=row.account_id, subject_id=given, instruction_id=given)
    return len(rows)


def selected(about: Scope, since: datetime | None, before: datetime | None) -> Selection:
    """The points of a device or tag between two times."""
    device_ids = None if about.device_id is None else [about.device_id]
    tag_ids = None if about.tag_id is None else [about.tag_id]
    return Selection(device_ids, tag_ids, since, before)


def detail_of(account: OpenedLogAccount, row: LogInstruction) -> dict[str, Any]:
    """What the row has sealed: note, format, service."""
    return account.key.open(row.instruction_id, INSTRUCTION, row.detail)


def status_of(row: LogInstruction, outcome: LogDeletion | LogExport | None, now: datetime) -> Status:
    """Where an instruction stands at `now`."""
    if row.withdrawn_at is not None:
        return "withdrawn"
    if row.kind == "support_read":
        return "running" if row.until is not None and row.given_at <= now < row.until else "over"
    return CAME_TO[outcome.status] if outcome is not None else "done"


def faster_clock(tx: Tx) -> datetime:
    """What time it is by the faster of the clocks of host and database: what was over once does not begin again."""
    return max(tx.now, database_time(tx)).astimezone(UTC)


def _check(wanted: Wanted, now: datetime) -> None:
    """Raises InvalidError for members that the kind has not, or lacks, and times that do not fit."""
    needed = NEEDED.get(wanted.kind)
    faults = [
        FieldError(f"/{name}", "is needed" if name == needed else "is not a member of this kind")
        for name, given in (("until", wanted.until), ("format", wanted.format))
        if (given is not None) != (name == needed)
    ]
    if wanted.until is not None and not now < wanted.until <= now + LONGEST_READ:
        faults.append(FieldError("/until", f"lies ahead, by {LONGEST_READ.days} days at most"))
    if wanted.since is not None and wanted.before is not None and wanted.since >= wanted.before:
        faults.append(FieldError("/before", "is later than from"))
    if wanted.kind == "delete" and (wanted.device, wanted.since, wanted.before) == (None, None, None):
        faults.append(FieldError("", "says what is to be deleted: a device, a tag of it, or a time"))
    if faults:
        raise InvalidError(errors=tuple(faults))


def _ordered(tx: Tx, account: OpenedLogAccount, instruction_id: UUID, wanted: Wanted, about: Scope) -> UUID | None:
    """Have a worker carry out an instruction; the id of what comes of it."""
    if wanted.kind == "delete":
        return deletions.order(
            tx,
            account,
            device_id=about.device_id,
            tag_id=about.tag_id,
            since=wanted.since,
            before=wanted.before,
            trigger=TRIGGER,
            trigger_id=instruction_id,
        ).deletion_id
    if wanted.format is not None:
        selection = selected(about, wanted.since, wanted.before)
        return exports.order(tx, account, wanted.format, selection, instruction_id).export_id
    return None


def _find(tx: Tx, account_id: UUID, instruction_id: UUID, *, lock: bool = False) -> LogInstruction:
    row = tx.session.get(LogInstruction, (account_id, instruction_id), with_for_update=lock or None)
    if row is None:
        raise NotFoundError
    return row


def _shown(tx: Tx, account: OpenedLogAccount, row: LogInstruction, names: Names) -> Instruction:
    detail, outcome = detail_of(account, row), _outcome(tx, row)
    status, called = status_of(row, outcome, faster_clock(tx)), names.of(Scope(row.device_id, row.tag_id))
    return Instruction(row=row, note=detail["note"], format=detail["format"], status=status, outcome=outcome, **called)


def _outcome(tx: Tx, row: LogInstruction) -> LogDeletion | LogExport | None:
    if row.outcome_id is None:
        return None
    key = (row.account_id, row.outcome_id)
    return tx.session.get(LogDeletion, key) if row.kind == "delete" else tx.session.get(LogExport, key)
