"""What a worker does for a data subject's request: collects what an account's log data holds about them, or erases it.

It may be stopped anywhere and begun again: an archive is written anew under the same name, and what an erasure has ordered
already is in no answer any more, so it is not found again. Nothing but the account of the task is ever looked at.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import func, select

from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.errors import BusyError
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.policy.register import Policy
from cloudpriv.processor import accounts, devices, tasks
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.order_tables import LogDeletion, LogRequest
from cloudpriv.processor.orders import deletions, exports
from cloudpriv.processor.query import naming, reading
from cloudpriv.processor.query.reading import Snapshot
from cloudpriv.processor.storage.chunks import Selection
from cloudpriv.processor.subjects import identities, opendsr, results
from cloudpriv.processor.subjects.identities import Subject
from cloudpriv.processor.subjects.results import Archive
from cloudpriv.processor.tasks import LaterError, Now, Task

TRIGGER: Final = "opendsr"
POLL: Final = timedelta(seconds=3)  # until it is looked again whether what was ordered is done
MOST_SPANS: Final = 200  # ordered at a time: while they are pending, each reader looks at all of them
RESOLUTION: Final = timedelta(microseconds=1)


@dataclass(frozen=True)
class Fulfilment:
    """What requests are fulfilled with: database and bucket of the plane, the policy, the plane's public URL, the clock."""

    plane: Plane
    objects: ObjectStore
    policy: Policy
    url: str
    clock: Now


@dataclass(frozen=True)
class _Search:
    """Who is searched for in what: all points that were there when it began."""

    subject: Subject
    snapshots: Sequence[Snapshot]

    def found(self, objects: ObjectStore) -> Iterator[tuple[UUID, pa.Table]]:
        """The points about the subject, each once, device by device and of each by time and place."""
        for snapshot in self.snapshots:
            for device_id, points in snapshot.tables(objects):
                about = self.subject.points(device_id, points)
                if len(about) and (snapshot.selection.tag_ids is None or device_id not in self.subject.device_ids):
                    yield device_id, about


def carry_out(work: Fulfilment, task: Task) -> None:
    """Carry on a request until it is completed. Raises LaterError while deletions that it ordered are not done.

    Raises BusyError, NotFoundError once the account is erased, KeyFault.
    """
    kind = _begin(work, task)
    if kind == "erasure":
        _erase(work, task)
    elif kind is not None:
        _collect(work, task)


def go_on_after(plane: Plane, clock: Now, account_id: UUID, deletion_id: UUID) -> None:
    """Have the request that ordered a deletion, if one did, go on now that it is done, and not only when it next looks."""
    with plane.transaction(WORKER, clock()) as tx:
        deletion = tx.session.get(LogDeletion, (account_id, deletion_id))
        if deletion is not None and deletion.trigger == TRIGGER and deletion.trigger_id is not None:
            tasks.enqueue(tx, opendsr.TASK, account_id, deletion.trigger_id)


def _begin(work: Fulfilment, task: Task) -> str | None:
    """The type of a request that is to be carried on, which is told when it is begun; None for one that has ended."""
    with work.plane.transaction(WORKER, work.clock()) as tx:
        row = _locked(tx, task)
        if row is None or row.status not in ("pending", "in_progress"):
            return None
        if row.status == "pending":
            opendsr.enter(tx, accounts.find_account(tx, task.account_id), row, "in_progress")
        return row.type


def _collect(work: Fulfilment, task: Task) -> None:
    with work.plane.transaction(WORKER, work.clock()) as tx:
        row = _locked(tx, task)
        if row is None:
            return
        account = accounts.find_account(tx, task.account_id)
        archive = results.begin(tx, account, row)
        search, names = _search(work, tx, account, row), naming.names_of(tx, account)
        first = results.told_first(tx, account, search.subject, names)
    content = results.lines(first, names, search.found(work.objects))
    results.write(work.objects, archive, content, lambda: _confirm(work, task, archive))
    with work.plane.transaction(WORKER, work.clock()) as tx:
        row = _current(tx, task, archive)
        results.finish(tx, archive, work.policy)
        _complete(work, tx, row, archive.points)


def _confirm(work: Fulfilment, task: Task, archive: Archive) -> None:
    with work.plane.transaction(WORKER, work.clock()) as tx:
        _current(tx, task, archive)


def _current(tx: Tx, task: Task, archive: Archive) -> LogRequest:
    """The request, locked. Raises BusyError when another worker makes its archive now, or has made it."""
    row = _locked(tx, task)
    if row is None or row.status != "in_progress" or not results.is_current(tx, archive):
        raise BusyError
    return row


def _erase(work: Fulfilment, task: Task) -> None:
    """Order the deletion of a bounded part of what is found; complete the request once nothing is found any more.

    Archives go before: those that were made earlier may tell what is erased.
    """
    with work.plane.transaction(WORKER, work.clock()) as tx:
        row = _locked(tx, task)
        if row is None:
            return
        before = _ordered(tx, row)
        if any(each.status == "pending" for each in before):
            raise LaterError(tx.now + POLL)
        account = accounts.find_account(tx, task.account_id)
        up_to_seq = before[0].up_to_seq if before else account.row.head_seq
        search = _search(work, tx, account, row, up_to_seq)
        whole = _whole(tx, account, search.subject, before)
    spans = [] if whole else _spans(work, search)
    if not whole and not spans:
        exports.expire_all(work.plane, work.objects, task.account_id, work.clock)
    with work.plane.transaction(WORKER, work.clock()) as tx:
        row = _locked(tx, task)
        if row is None or row.status != "in_progress":
            return
        account = accounts.find_account(tx, task.account_id)
        if not whole and not spans:
            identities.forget_names(tx, account, search.subject)
            _complete(work, tx, row, _erased(tx, row))
            return
        for each in (*whole, *spans):
            deletions.order(
                tx,
                account,
                device_id=each.device_id,
                tag_id=each.tag_id,
                since=each.since,
                before=each.before,
                trigger=TRIGGER,
                trigger_id=row.request_id,
                up_to_seq=up_to_seq,
            )
    raise LaterError(work.clock() + POLL)


@dataclass(frozen=True)
class _Span:
    """A device, a tag of it, or of that a time from the first point found to the last, without another in between."""

    device_id: UUID
    tag_id: int | None = None
    since: datetime | None = None
    before: datetime | None = None


def _whole(tx: Tx, account: OpenedLogAccount, subject: Subject, before: Sequence[LogDeletion]) -> list[_Span]:
    """Devices and tags that go as a whole and are not ordered yet."""
    ordered = {(each.device_id, each.tag_id) for each in before if each.since is None}
    spans = [_Span(device_id) for device_id in sorted(subject.device_ids)]
    tags = devices.list_tags(tx, account) if subject.tag_ids else []
    spans += [
        _Span(tag.device_id, tag.tag_id)
        for tag in tags
        if tag.tag_id in subject.tag_ids and tag.device_id not in subject.device_ids
    ]
    return [span for span in spans if (span.device_id, span.tag_id) not in ordered]


@dataclass
class _Runs:
    """Times of points about somebody, as spans without another point of the same tag in between."""

    spans: list[_Span] = field(default_factory=list)
    open: dict[int, tuple[datetime, datetime]] = field(default_factory=dict)

    def take(self, device_id: UUID, points: pa.Table, about: pa.ChunkedArray) -> None:
        """Go on with points of the same device in order of time, and which of them are found."""
        concerned = pa.array({*self.open, *pc.unique(points["tag"].filter(about)).to_pylist()}, pa.int32())
        rows = points.select(["tag", "time"]).append_column("about", about)
        for row in rows.filter(pc.is_in(rows["tag"], concerned)).to_pylist():
            since, last = self.open.get(row["tag"], (row["time"], row["time"]))
            if row["about"]:
                self.open[row["tag"]] = since, row["time"]
            elif row["tag"] in self.open:
                self._close(device_id, row["tag"], since, last)

    def end(self, device_id: UUID) -> None:
        """There are no more points of this device."""
        for tag_id, (since, last) in list(self.open.items()):
            self._close(device_id, tag_id, since, last)

    def _close(self, device_id: UUID, tag_id: int, since: datetime, last: datetime) -> None:
        del self.open[tag_id]
        self.spans.append(_Span(device_id, tag_id, since, last + RESOLUTION))


def _spans(work: Fulfilment, search: _Search) -> list[_Span]:
    """Spans of points with a text about the subject, MOST_SPANS or a table's more of them."""
    runs, current = _Runs(), None
    if not search.subject.has_people:
        return []
    for device_id, points in search.snapshots[0].tables(work.objects):
        if current is not None and device_id != current:
            runs.end(current)
        current = device_id
        about = search.subject.texts(points)
        runs.take(device_id, points, about)
        if len(runs.spans) + len(runs.open) >= MOST_SPANS:
            break
    if current is not None:
        runs.end(current)
    return runs.spans


def _search(work: Fulfilment, tx: Tx, account: OpenedLogAccount, row: LogRequest, up_to_seq: int | None = None) -> _Search:
    subject = identities.find_subject(tx, account, opendsr.identities_in(opendsr.document_of(account, row)))
    everything = Selection(up_to_seq=up_to_seq)
    named = [
        Selection(device_ids=sorted(subject.device_ids), up_to_seq=up_to_seq) if subject.device_ids else None,
        Selection(tag_ids=sorted(subject.tag_ids), up_to_seq=up_to_seq) if subject.tag_ids else None,
    ]
    selections = [everything] if subject.has_people else [each for each in named if each is not None]
    return _Search(subject, [_kept(work, tx, account, each) for each in selections])


def _kept(work: Fulfilment, tx: Tx, account: OpenedLogAccount, selection: Selection) -> Snapshot:
    account_id = account.row.account_id
    found = reading.snapshot(tx, account_id, selection)
    return reading.kept(found, account_id, lambda: work.plane.transaction(WORKER, work.clock()))


def _ordered(tx: Tx, row: LogRequest) -> list[LogDeletion]:
    query = select(LogDeletion).where(
        LogDeletion.account_id == row.account_id, LogDeletion.trigger == TRIGGER, LogDeletion.trigger_id == row.request_id
    )
    return list(tx.session.scalars(query))


def _erased(tx: Tx, row: LogRequest) -> int:
    """Points that the request's deletions have erased."""
    query = select(func.coalesce(func.sum(LogDeletion.points), 0)).where(
        LogDeletion.account_id == row.account_id, LogDeletion.trigger == TRIGGER, LogDeletion.trigger_id == row.request_id
    )
    return int(tx.session.execute(query).scalar_one())


def _complete(work: Fulfilment, tx: Tx, row: LogRequest, count: int) -> None:
    row.results_count, row.ended_at = count, tx.now
    opendsr.enter(tx, accounts.find_account(tx, row.account_id), row, "completed", work.url)


def _locked(tx: Tx, task: Task) -> LogRequest | None:
    return tx.session.get(LogRequest, (task.account_id, task.subject_id), with_for_update=True)
