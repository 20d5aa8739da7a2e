"""Exports: a worker writes what the customer asked for into one archive, sealed in frames, and it is kept some days.

The row is the truth (law 3): an export may be begun twice, stopped anywhere and finished by another worker. Every attempt
writes an object of its own, named in the row before it is begun; only the attempt that the row names can finish. Points are
those that there were when it was asked for, without what is deleted until the worker comes to them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import pyarrow as pa
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.errors import GoneError, NotFoundError, NotReadyError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import DataKey, KeyFault
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.policy.register import Policy
from cloudpriv.processor import accounts, events, tasks
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.order_tables import LogExport
from cloudpriv.processor.query import formats, naming, reading
from cloudpriv.processor.query.formats import Names
from cloudpriv.processor.storage import frames
from cloudpriv.processor.storage.chunks import Selection
from cloudpriv.processor.tables import LogAccount, LogGarbage
from cloudpriv.processor.tasks import Now, Task

KIND: Final = "export"
RULE: Final = "log_exports"
FORMATS: Final = ("csv", "ndjson", "parquet")
MEDIA_TYPES: Final = {"csv": "text/csv", "ndjson": "application/x-ndjson", "parquet": "application/vnd.apache.parquet"}
TOLD_EVERY: Final = timedelta(seconds=2)  # how far it came


class _OvertakenError(Exception):
    """Another worker makes the archive now, or nobody needs it any more."""


@dataclass
class _Attempt:
    """One worker's making of an archive, and how far it came."""

    plane: Plane
    clock: Now
    row: LogExport
    key: DataKey
    names: Names
    selection: Selection
    earlier: str
    digest: Any = field(default_factory=sha256)
    points: int = 0
    size: int = 0

    def locked(self, tx: Tx) -> LogExport:
        """The row, locked. Raises _OvertakenError when it is not this attempt's any more."""
        row = tx.session.get(LogExport, (self.row.account_id, self.row.export_id), with_for_update=True)
        if row is None or row.status != "pending" or row.object_key != self.row.object_key:
            raise _OvertakenError
        return row

    def tell(self) -> None:
        """Have the row say how far this came. Raises _OvertakenError."""
        with self.plane.transaction(WORKER, self.clock()) as tx:
            row = self.locked(tx)
            row.points, row.size = self.points, self.size


@dataclass(frozen=True)
class Archive:
    """A ready archive, and the key that opens it."""

    row: LogExport
    key: DataKey

    def content(self, objects: ObjectStore) -> Iterator[bytes]:
        """The file. Raises NotFoundError once it is erased, BusyError, KeyFault for one that was altered or cut."""
        _, parts = objects.get_stream(self.row.object_key)
        yield from frames.opened(self.key, self.row.object_key, self.row.size or 0, parts)


def order(tx: Tx, account: OpenedLogAccount, kind: str, selection: Selection, trigger_id: UUID | None = None) -> LogExport:
    """Have a worker write the selected points that there are now into an archive of a format."""
    account_id, export_id = account.row.account_id, new_id()
    head = tx.session.scalars(select(LogAccount.head_seq).where(LogAccount.account_id == account_id)).one()
    row = LogExport(
        account_id=account_id,
        export_id=export_id,
        format=kind,
        selection=_as_json(replace(selection, up_to_seq=head)),
        status="pending",
        object_key=_object_key(account_id),
        trigger_id=trigger_id,
        requested_by=tx.actor.name,
        requested_at=tx.now,
    )
    tx.session.add(row)
    tx.session.flush()
    tasks.enqueue(tx, KIND, account_id, export_id)
    events.record(tx, "export.order", account_id=account_id, subject_id=export_id)
    return row


def find(tx: Tx, account_id: UUID, export_id: UUID) -> LogExport:
    """An export of the account. Raises NotFoundError."""
    row = tx.session.get(LogExport, (account_id, export_id))
    if row is None:
        raise NotFoundError
    return row


def read(tx: Tx, account_id: UUID, export_id: UUID) -> LogExport:
    """As `find`, told to the customer."""
    row = find(tx, account_id, export_id)
    events.record(tx, "export.read", account_id=account_id, subject_id=export_id)
    return row


def list_made(tx: Tx, account_id: UUID, *, after: UUID | None, limit: int) -> list[LogExport]:
    """The account's exports, newest first, expired ones too; one more than `limit` if there is one. Told to the customer."""
    query = select(LogExport).where(LogExport.account_id == account_id)
    if after is not None:
        query = query.where(LogExport.export_id < after)
    events.record(tx, "exports.read", account_id=account_id)
    return list(tx.session.scalars(query.order_by(LogExport.export_id.desc()).limit(limit + 1)))


def open_archive(tx: Tx, account_id: UUID, export_id: UUID) -> Archive:
    """A ready archive. Raises NotReadyError before it is ready, GoneError once its time is over, NotFoundError."""
    row = find(tx, account_id, export_id)
    if row.status == "pending":
        raise NotReadyError
    if row.status == "failed":
        raise NotReadyError("The archive could not be made.")
    if row.status == "expired" or row.expires_at is None or row.expires_at <= tx.now:
        raise GoneError
    events.record(tx, "export.download", account_id=account_id, subject_id=export_id)
    return Archive(row, accounts.find_account(tx, account_id).key)


def carry_out(plane: Plane, objects: ObjectStore, policy: Policy, task: Task, clock: Now) -> None:
    """Write an export's archive and mark it ready; nothing when it is, or the account is erased.

    Raises BusyError, to be begun again then, and KeyFault for points that were altered: the export has failed then.
    """
    attempt = _begin(plane, task, clock)
    if attempt is None:
        return
    objects.delete_below(attempt.earlier)
    try:
        content = _content(attempt, _tables(attempt, objects))
        objects.put_stream(
            attempt.row.object_key, frames.sealed(attempt.key, attempt.row.object_key, content), confirm=attempt.tell
        )
        _finish(attempt, "ready", policy)
    except (_OvertakenError, NotFoundError):
        objects.delete_below(attempt.row.object_key)
    except KeyFault:
        _finish(attempt, "failed", policy)
        raise


def expire(tx: Tx, row: LogExport) -> None:
    """From the commit on the archive can be had no more; its object is garbage. Told to the customer."""
    row.status = "expired"
    _discard(tx, row)
    events.record(tx, "export.erase", account_id=row.account_id, subject_id=row.export_id)


def expire_all(plane: Plane, objects: ObjectStore, account_id: UUID, clock: Now) -> None:
    """Expire every archive of the account, and have those that are being written begun anew: when this returns, no object
    tells a point that was deleted before. May be stopped anywhere and done again. Raises BusyError.
    """
    with plane.transaction(WORKER, clock()) as tx:
        query = select(LogExport).where(LogExport.account_id == account_id, LogExport.status.in_(["ready", "pending"]))
        for row in tx.session.scalars(query.order_by(LogExport.export_id).with_for_update()).all():
            if row.status == "ready":
                expire(tx, row)
            else:
                _begin_anew(tx, row)
        garbage = select(LogGarbage.object_key).where(LogGarbage.account_id == account_id, LogGarbage.after <= tx.now)
        keys = tx.session.scalars(garbage.where(LogGarbage.object_key.startswith(_prefix_of(account_id)))).all()
    for key in keys:  # whose rows go when garbage is removed
        objects.delete_below(key)


def _begin(plane: Plane, task: Task, clock: Now) -> _Attempt | None:
    with plane.transaction(WORKER, clock()) as tx:
        row = tx.session.get(LogExport, (task.account_id, task.subject_id), with_for_update=True)
        if row is None or row.status != "pending":
            return None
        account = accounts.find_account(tx, task.account_id)
        earlier, row.object_key = row.object_key, _object_key(task.account_id)
        selection = _from_json(row.selection)
        return _Attempt(plane, clock, row, account.key, naming.names_of(tx, account), selection, earlier)


def _tables(attempt: _Attempt, objects: ObjectStore) -> Iterator[pa.Table]:
    """The points, device by device, and the progress told now and then."""
    account_id, told_at = attempt.row.account_id, attempt.clock()
    with attempt.plane.transaction(WORKER, attempt.clock()) as tx:
        found = reading.snapshot(tx, account_id, attempt.selection)
    found = reading.kept(found, account_id, lambda: attempt.plane.transaction(WORKER, attempt.clock()))
    for _, points in found.tables(objects):
        yield points
        attempt.points += len(points)
        if attempt.clock() >= told_at + TOLD_EVERY:
            attempt.tell()
            told_at = attempt.clock()


def _content(attempt: _Attempt, tables: Iterator[pa.Table]) -> Iterator[bytes]:
    """The file of these points, measured as it passes."""
    for part in formats.written(attempt.row.format, tables, attempt.names):
        attempt.digest.update(part)
        attempt.size += len(part)
        yield part


def _finish(attempt: _Attempt, status: str, policy: Policy) -> None:
    with attempt.plane.transaction(WORKER, attempt.clock()) as tx:
        row = attempt.locked(tx)
        row.status, row.points, row.size = status, attempt.points, attempt.size
        if status == "ready":
            row.sha256, row.ready_at = attempt.digest.digest(), tx.now
            row.expires_at = policy.rule_for(RULE).erasable_from(tx.now)
        events.record(tx, f"export.{status}", account_id=row.account_id, subject_id=row.export_id)


def _begin_anew(tx: Tx, row: LogExport) -> None:
    """Have a pending archive written to another object: whoever writes the present one finds that it is overtaken."""
    _discard(tx, row)
    row.object_key = _object_key(row.account_id)
    if row.selection:  # that of a data subject's request has none, and is begun again with the request
        tasks.enqueue(tx, KIND, row.account_id, row.export_id)


def _discard(tx: Tx, row: LogExport) -> None:
    garbage = {"account_id": row.account_id, "object_key": row.object_key, "after": tx.now}
    tx.session.execute(insert(LogGarbage).values(garbage).on_conflict_do_nothing())


def _prefix_of(account_id: UUID) -> str:
    return f"exports/{account_id}/"


def _object_key(account_id: UUID) -> str:
    return f"{_prefix_of(account_id)}{new_id()}"


def _as_json(selection: Selection) -> dict[str, Any]:
    return {
        "device_ids": None if selection.device_ids is None else [str(each) for each in selection.device_ids],
        "tag_ids": None if selection.tag_ids is None else list(selection.tag_ids),
        "since": None if selection.since is None else selection.since.isoformat(),
        "until": None if selection.until is None else selection.until.isoformat(),
        "up_to_seq": selection.up_to_seq,
    }


def _from_json(found: dict[str, Any]) -> Selection:
    return Selection(
        None if found["device_ids"] is None else [UUID(each) for each in found["device_ids"]],
        found["tag_ids"],
        None if found["since"] is None else datetime.fromisoformat(found["since"]),
        None if found["until"] is None else datetime.fromisoformat(found["until"]),
        up_to_seq=found["up_to_seq"],
    )
