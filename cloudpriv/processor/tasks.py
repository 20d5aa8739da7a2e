"""Work of the processor plane that waits for a worker: rows, of which a queue only tells (law 3).

There is one task of a kind for a subject. It is done by whoever holds its lease, may be stopped anywhere and be begun again
by another, and is gone when it is done. What is asked for while somebody is doing it is done once more.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Update, case, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.errors import BusyError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.renewal import renewed
from cloudpriv.processor.tables import LogTask

JOB: Final = "task"
LEASE: Final = timedelta(seconds=20)
RENEWAL_SECONDS: Final = 5.0  # thrice missed is still in time
PAUSE: Final = timedelta(seconds=5)  # before what failed is tried again; twice as long each time
LONGEST_PAUSE: Final = timedelta(hours=1)
SUBJECT: Final = ("account_id", "kind", text("coalesce(subject_id, '00000000-0000-0000-0000-000000000000'::uuid)"))

Now = Callable[[], datetime]


class LaterError(Exception):
    """A task has nothing to do before `until`."""

    def __init__(self, until: datetime) -> None:
        super().__init__(until)
        self.until = until


@dataclass(frozen=True)
class Task:
    """A task as its worker sees it."""

    account_id: UUID
    task_id: UUID
    kind: str
    subject_id: UUID | None


def enqueue(tx: Tx, kind: str, account_id: UUID, subject_id: UUID | None = None) -> UUID:
    """Have a worker do this, woken when the transaction has committed; the task's id. One that failed keeps its pause."""
    row = insert(LogTask).values(**new_row(tx, kind, account_id, subject_id))
    held = LogTask.lease_owner.is_not(None)
    waits = held | (LogTask.attempts > 0)
    now_or_later = case((waits, LogTask.lease_until), else_=func.least(LogTask.lease_until, tx.now))
    known = row.on_conflict_do_update(index_elements=SUBJECT, set_={"again": held, "lease_until": now_or_later})
    task_id: UUID = tx.session.scalars(known.returning(LogTask.task_id)).one()
    tx.wake.append((JOB, task_id))
    return task_id


def new_row(tx: Tx, kind: str, account_id: UUID, subject_id: UUID | None = None) -> dict[str, Any]:
    """The row of a task that nobody holds."""
    return {
        "account_id": account_id,
        "task_id": new_id(),
        "kind": kind,
        "subject_id": subject_id,
        "attempts": 0,
        "again": False,
        "created_at": tx.now,
        "lease_until": tx.now,
    }


def unfinished(tx: Tx, limit: int = 500) -> list[UUID]:
    """Tasks whose time has come and that nobody holds, longest waiting first."""
    query = select(LogTask.task_id).where(LogTask.lease_until <= tx.now)
    return list(tx.session.scalars(query.order_by(LogTask.lease_until).limit(limit)))


def carry_out(plane: Plane, task_id: UUID, do: Callable[[Task], None], clock: Now) -> None:
    """Do a task under its lease, unless another does or it is done. What `do` raises comes out, and it is tried again."""
    owner = new_id()
    with plane.transaction(WORKER, clock()) as tx:
        task = _claim(tx, task_id, owner)
    if task is None:
        return
    try:
        with renewed(lambda: _renew(plane, task, owner, clock), RENEWAL_SECONDS, str(task_id)):
            do(task)
    except LaterError as later:
        _give_back(plane, task, owner, clock, later.until)
    except BaseException:
        with suppress(BusyError):  # then the lease just runs out
            _give_back(plane, task, owner, clock, None)
        raise
    else:
        with plane.transaction(WORKER, clock()) as tx:
            _finish(tx, task, owner)


def _claim(tx: Tx, task_id: UUID, owner: UUID) -> Task | None:
    free = or_(LogTask.lease_owner.is_(None), LogTask.lease_until <= tx.now)
    query = select(LogTask).where(LogTask.task_id == task_id, free).with_for_update(skip_locked=True)
    row = tx.session.scalar(query)
    if row is None or row.lease_until > tx.now:
        return None
    row.lease_owner, row.lease_until, row.again = owner, tx.now + LEASE, False
    row.attempts += 1
    return Task(row.account_id, row.task_id, row.kind, row.subject_id)


def _renew(plane: Plane, task: Task, owner: UUID, clock: Now) -> bool:
    now = clock()
    with plane.transaction(WORKER, now) as tx:
        return tx.session.scalar(_ours(task, owner).values(lease_until=now + LEASE).returning(LogTask.task_id)) is not None


def _finish(tx: Tx, task: Task, owner: UUID) -> None:
    once_more = _ours(task, owner).where(LogTask.again).values(lease_owner=None, lease_until=tx.now, attempts=0, again=False)
    if tx.session.scalar(once_more.returning(LogTask.task_id)) is not None:
        tx.wake.append((JOB, task.task_id))
        return
    done = delete(LogTask).where(
        LogTask.account_id == task.account_id, LogTask.task_id == task.task_id, LogTask.lease_owner == owner
    )
    tx.session.execute(done)


def _give_back(plane: Plane, task: Task, owner: UUID, clock: Now, until: datetime | None) -> None:
    with plane.transaction(WORKER, clock()) as tx:
        if until is not None:  # no failure
            tx.session.execute(_ours(task, owner).values(lease_owner=None, lease_until=until, attempts=0))
            return
        attempts = tx.session.scalar(select(LogTask.attempts).where(LogTask.task_id == task.task_id)) or 1
        pause = min(PAUSE * 2 ** min(attempts - 1, 20), LONGEST_PAUSE)
        tx.session.execute(_ours(task, owner).values(lease_owner=None, lease_until=tx.now + pause))


def _ours(task: Task, owner: UUID) -> Update:
    return update(LogTask).where(
        LogTask.account_id == task.account_id, LogTask.task_id == task.task_id, LogTask.lease_owner == owner
    )
