"""The clocks of what the service keeps: one engine erases whatever is over, by the rules of the policy file.

A clock is a rule of the policy, by its key, and the rows that it ends. What is due follows from the rule alone: everything
whose anchor lies before the rule's cutoff. It goes in bounded batches that skip what somebody else holds, so several may run
at once, and one that was stopped anywhere goes on. Accounts have a rule too, and go by purges.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from cloudpriv.audit import events
from cloudpriv.controller.idempotency import IdempotencyKey
from cloudpriv.controller.outbox import Mail
from cloudpriv.platform import accesslog
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import ControllerBase, Plane, Tx
from cloudpriv.policy.register import Policy
from cloudpriv.retention import duties
from cloudpriv.retention.holds import in_force
from cloudpriv.retention.tables import Hold, Purge, PurgeRun

BATCH: Final = 1000  # rows in one transaction: some 10 ms of locks

Now = Callable[[], datetime]


@dataclass(frozen=True)
class Clock:
    """A rule of the policy, by its key, and what it ends.

    `tables` are those whose rows it ends, and `due` counts what has its anchor before the cutoff. `erase` erases all of that
    in bounded batches, and returns how much it was; it raises BusyError when a server is away, OSError when a disk fails.
    What is not `shared` lies on each host by itself.
    """

    key: str
    tables: frozenset[str]
    due: Callable[[Tx, datetime], int]
    erase: Callable[[Plane, Policy, Now], int]
    shared: bool = True


class At(NamedTuple):
    """A time, and the instant before which every anchor is due at it."""

    now: datetime
    cutoff: datetime


@dataclass(frozen=True)
class Rows:
    """The rows of a table that a clock erases, by what is due.

    `parent` joins rows that are locked with them: whoever works on those is not disturbed. `told` is the audit event of each
    row, for data that its person can see.
    """

    table: type[ControllerBase]
    due: Callable[[At], ColumnElement[bool]]
    parent: type[ControllerBase] | None = None
    told: str | None = None

    def chosen(self, at: At) -> Select[Any]:
        """The primary keys of the rows that are due."""
        query = select(*self.table.__table__.primary_key).where(self.due(at))
        return query if self.parent is None else query.join(self.parent)


def of_rows(key: str, *parts: Rows) -> Clock:
    """A clock that deletes rows, those of the first part before those of the next."""

    def count(tx: Tx, cutoff: datetime) -> int:
        counts = (select(func.count()).select_from(part.chosen(At(tx.now, cutoff)).subquery()) for part in parts)
        return sum(tx.session.scalars(each).one() for each in counts)

    def erase(plane: Plane, policy: Policy, clock: Now) -> int:
        return sum(_erase_all(plane, policy, clock, key, part) for part in parts)

    return Clock(key, frozenset(part.table.__tablename__ for part in parts), count, erase)


def access_log(folder: Path | None) -> Clock:
    """The clock of this host's access log: a file goes when the last line that it can hold is due."""
    key = "web_server_logs"

    def count(_: Tx, cutoff: datetime) -> int:
        return len(accesslog.due(folder, cutoff)) if folder else 0

    def erase(plane: Plane, policy: Policy, clock: Now) -> int:
        now = clock()
        erased = accesslog.erase(folder, policy.rule_for(key).anchor_cutoff(now)) if folder else 0
        if erased:
            with plane.transaction(WORKER, now) as tx:
                duties.note(tx, key)
        return erased

    return Clock(key, frozenset(), count, erase, shared=False)


def count_due(tx: Tx, policy: Policy, clock: Clock) -> int:
    """How much of what the clock ends is due now."""
    return clock.due(tx, policy.rule_for(clock.key).anchor_cutoff(tx.now))


def not_held(account_id: InstrumentedAttribute[Any], covered: ColumnElement[bool], now: datetime) -> ColumnElement[bool]:
    """Whether no hold keeps a row of the account: none on all of it, and none of those that say so of the row."""
    covers = or_(Hold.scope == "account", covered)
    return ~exists().where(Hold.account_id == account_id, in_force(now), covers)


def _erase_all(plane: Plane, policy: Policy, clock: Now, key: str, part: Rows) -> int:
    total, erased = 0, BATCH
    while erased == BATCH:
        with plane.transaction(WORKER, clock()) as tx:
            erased = _erase_batch(tx, part, policy.rule_for(key).anchor_cutoff(tx.now))
        total += erased
    return total


def _erase_batch(tx: Tx, part: Rows, cutoff: datetime) -> int:
    """Erase up to BATCH rows that nobody holds; how many."""
    locked = [part.table, part.parent] if part.parent else [part.table]
    batch = part.chosen(At(tx.now, cutoff)).limit(BATCH).with_for_update(skip_locked=True, of=locked)
    found = batch.cte("batch")
    key = part.table.__table__.primary_key
    gone = delete(part.table).where(*(column == found.c[column.name] for column in key)).returning(*key)
    erased = tx.connection.execute(gone).all()
    for account_id, subject_id in erased if part.told else ():
        events.record(tx, part.told or "", account_id=account_id, subject_id=subject_id)
    return len(erased)


def _ended(at: At) -> ColumnElement[bool]:
    kept = not_held(Mail.account_id, Hold.person_id == Mail.person_id, at.now)
    return and_(Mail.status != "queued", Mail.created_at < at.cutoff, kept)


def _idle_plan(at: At) -> ColumnElement[bool]:
    return and_(Purge.status == "proposed", PurgeRun.planned_at < at.cutoff)


def _idle_run(at: At) -> ColumnElement[bool]:
    empty = ~exists().where(Purge.run_id == PurgeRun.run_id)
    return and_(PurgeRun.status == "proposed", PurgeRun.planned_at < at.cutoff, empty)


CLOCKS: Final = (
    # Its row says when the answer's time is over: a backend was promised that.
    of_rows("idempotency_keys", Rows(IdempotencyKey, lambda at: IdempotencyKey.expires_at <= at.now)),
    of_rows("ended_mails", Rows(Mail, _ended)),
    of_rows("proposed_plans", Rows(Purge, _idle_plan, parent=PurgeRun), Rows(PurgeRun, _idle_run)),
    of_rows("cancelled_purges", Rows(Purge, lambda at: and_(Purge.status == "cancelled", Purge.finished_at < at.cutoff))),
)
