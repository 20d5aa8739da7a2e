"""How long the customer has points kept: by rules of the account, a device or a tag, of which the narrowest counts.

Without a rule a point stays until the account ends. A period is counted from the point's own time by the calendar rules of
the policy (`policy.periods`), by the slower of two clocks: never early. Once a day, what is over is ordered to be deleted.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import delete, exists, func, or_, select

from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx, database_time
from cloudpriv.platform.errors import FieldError, InvalidError, StaleError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.policy.periods import Period, anchor_cutoff, last_day, parse_period
from cloudpriv.processor import accounts, events, tasks
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.order_tables import LogRetention
from cloudpriv.processor.orders import deletions, scope
from cloudpriv.processor.orders.scope import Names, Scope
from cloudpriv.processor.query import counting
from cloudpriv.processor.storage.chunks import Selection, of_selection
from cloudpriv.processor.tables import LogAccount, LogChunk, LogTag, LogTask
from cloudpriv.processor.tasks import Now

TASK: Final = "retain"
TRIGGER: Final = "retention"
SHORTEST: Final = parse_period("P10D")
LONGEST: Final = parse_period("P10Y")
SOME_DAY: Final = datetime(2001, 1, 1, tzinfo=UTC)  # from which periods are compared: P10Y is then P3652D
VERSIONS: Final = 10**9  # an ETag of ours has up to nine digits


class RuleIn(NamedTuple):
    """A rule as the customer writes it."""

    device: str | None
    tag: str | None
    period: str


@dataclass(frozen=True)
class Rules:
    """An account's rules, the names in them, and the version of the whole."""

    rows: Sequence[LogRetention]
    names: Names

    @property
    def version(self) -> int:
        """Another number for other rules; 0 where there are none."""
        ids = b"".join(row.rule_id.bytes for row in self.rows)
        return int.from_bytes(hashlib.sha256(ids).digest()[:8], "big") % (VERSIONS - 1) + 1 if ids else 0


@dataclass(frozen=True)
class Due:
    """What is over by a rule: points of a scope from before a time."""

    rule_id: UUID
    scope: Scope
    before: datetime
    tags: Sequence[int] | None = None  # of the device, when not all of them are under the rule

    @property
    def selection(self) -> Selection:
        """The points."""
        device_ids = None if self.scope.device_id is None else [self.scope.device_id]
        return Selection(device_ids=device_ids, tag_ids=self.tags, until=self.before)


def read_rules(tx: Tx, account_id: UUID) -> Rules:
    """The account's rules in force, audited. Raises NotFoundError."""
    account = accounts.find_account(tx, account_id)
    events.record(tx, "retention.read", account_id=account_id)
    return rules_of(tx, account_id, scope.names(tx, account))


def rules_of(tx: Tx, account_id: UUID, names: Names) -> Rules:
    """The account's rules in force."""
    return Rules(_rows(tx, account_id), names)


def set_rules(tx: Tx, account_id: UUID, wanted: Sequence[RuleIn], version: int) -> Rules:
    """Replace all of the account's rules. They act from the next day (UTC) on, so that a slip can be mended until then.

    Raises NotFoundError, BusyError, StaleError unless `version` is that of the present rules, and InvalidError for a period
    that is none or not between SHORTEST and LONGEST, an unknown name, and two rules of one scope.
    """
    account = accounts.lock_account(tx, account_id)
    names = scope.names(tx, account)
    if rules_of(tx, account_id, names).version != version:
        raise StaleError
    rows = [_made(tx, account, rule, f"/rules/{place}") for place, rule in enumerate(wanted)]
    _check_distinct(rows)
    tx.session.execute(delete(LogRetention).where(LogRetention.account_id == account_id))
    tx.session.add_all(rows)
    account.row.kept_on = max(filter(None, (account.row.kept_on, _slower(tx).date())))
    tx.session.flush()
    events.record(tx, "retention.set", account_id=account_id)
    return rules_of(tx, account_id, names)


def due(tx: Tx, account_id: UUID, rows: Sequence[LogRetention]) -> Iterator[Due]:
    """What is over by these rules now, of every scope of which anything is stored."""
    now = _slower(tx)
    oldest = _oldest_of_devices(tx, account_id)
    for rule_id, each, period, tags in _resolved(tx, account_id, rows, list(oldest)):
        found = Due(rule_id, each, anchor_cutoff(now, period), tags)
        if tags is not None:
            if tx.session.scalar(select(exists().where(of_selection(account_id, found.selection)))):
                yield found
        elif any(since < found.before for device_id, since in oldest.items() if each.device_id in (None, device_id)):
            yield found


def count_due(tx: Tx, objects: ObjectStore, account_id: UUID, rules: Rules) -> int:
    """How many points are over by these rules now, as `counting.count` counts. Raises BusyError, NotFoundError."""
    account = accounts.find_account(tx, account_id)
    return counting.count(tx, objects, account, [each.selection for each in due(tx, account_id, rules.rows)])


def enqueue_due(tx: Tx, limit: int) -> int:
    """Have workers look after up to `limit` accounts with rules that were not looked after today; how many."""
    with_rules = exists().where(LogRetention.account_id == LogAccount.account_id)
    waiting = exists().where(LogTask.account_id == LogAccount.account_id, LogTask.kind == TASK)
    not_today = or_(LogAccount.kept_on.is_(None), LogAccount.kept_on < _slower(tx).date())
    query = select(LogAccount.account_id).where(with_rules, not_today, LogAccount.erasing_at.is_(None), ~waiting)
    found = tx.session.scalars(query.order_by(LogAccount.account_id).limit(limit)).all()
    for account_id in found:
        tasks.enqueue(tx, TASK, account_id)
    return len(found)


def enforce(plane: Plane, account_id: UUID, clock: Now) -> None:
    """Order the deletion of all that is over in an account, once a day. Raises BusyError, NotFoundError."""
    with plane.transaction(WORKER, clock()) as tx:
        account = accounts.lock_account(tx, account_id)
        today = _slower(tx).date()
        if account.row.kept_on is not None and account.row.kept_on >= today:
            return
        account.row.kept_on = today
        for each in due(tx, account_id, _rows(tx, account_id)):
            _order(tx, account, each)


def _order(tx: Tx, account: OpenedLogAccount, found: Due) -> None:
    only = found.tags or []
    ordered = deletions.order(
        tx,
        account,
        device_id=found.scope.device_id,
        tag_id=only[0] if len(only) == 1 else None,
        tags=found.tags if len(only) > 1 else None,
        since=None,
        before=found.before,
        trigger=TRIGGER,
        trigger_id=found.rule_id,
    )
    events.record(tx, "retention.enforce", account_id=account.row.account_id, subject_id=ordered.deletion_id)


def parse(text: str) -> Period:
    """A period of days, months and years from ten days to ten years. Raises ValueError for any other."""
    period = parse_period(text)
    shortest, asked, longest = (last_day(SOME_DAY, each) for each in (SHORTEST, period, LONGEST))
    if period.clock or period.weeks or not shortest <= asked <= longest:
        raise ValueError(f"a period is of days, months and years, from {SHORTEST} to {LONGEST}")
    return period


def _slower(tx: Tx) -> datetime:
    """What time it is by the slower of the clocks of host and database: what is erased by a clock that jumped is lost."""
    return min(tx.now, database_time(tx)).astimezone(UTC)


def _rows(tx: Tx, account_id: UUID) -> Sequence[LogRetention]:
    query = select(LogRetention).where(LogRetention.account_id == account_id).order_by(LogRetention.rule_id)
    return tx.session.scalars(query).all()


def _made(tx: Tx, account: OpenedLogAccount, rule: RuleIn, pointer: str) -> LogRetention:
    found = scope.find(tx, account, rule.device, rule.tag, pointer)
    try:
        period = parse(rule.period)
    except ValueError:
        detail = f"is not days, months and years as in ISO 8601, from {SHORTEST} to {LONGEST}"
        raise InvalidError(errors=(FieldError(f"{pointer}/period", detail),)) from None
    return LogRetention(
        account_id=account.row.account_id,
        rule_id=new_id(),
        device_id=found.device_id,
        tag_id=found.tag_id,
        period=str(period),
        set_by=tx.actor.name,
        set_at=tx.now,
    )


def _check_distinct(rows: Sequence[LogRetention]) -> None:
    seen = set()
    for place, row in enumerate(rows):
        if scope_of(row) in seen:
            raise InvalidError(errors=(FieldError(f"/rules/{place}", "is a second rule of the same device and tag"),))
        seen.add(scope_of(row))


def scope_of(row: LogRetention) -> Scope:
    """What a rule is about."""
    return Scope(row.device_id, row.tag_id)


def _oldest_of_devices(tx: Tx, account_id: UUID) -> Mapping[UUID, datetime]:
    """The time of the oldest point of every device that has any."""
    query = select(LogChunk.device_id, func.min(LogChunk.since)).where(LogChunk.account_id == account_id)
    return {row[0]: row[1] for row in tx.connection.execute(query.group_by(LogChunk.device_id))}


def _resolved(
    tx: Tx, account_id: UUID, rows: Sequence[LogRetention], device_ids: Sequence[UUID]
) -> Iterator[tuple[UUID, Scope, Period, Sequence[int] | None]]:
    """Which rule counts for what, in parts that do not overlap: all, a device, or tags of a device that have one period.

    A deletion can name a device, but not all others.
    """
    of = {scope_of(row): row for row in rows}
    narrower = {row.device_id for row in rows} - {None}
    if scope.ALL in of and not narrower:
        yield _applied(of[scope.ALL], scope.ALL)
        return
    for device_id in device_ids:
        of_device = of.get(Scope(device_id)) or of.get(scope.ALL)
        if not any(row.device_id == device_id and row.tag_id is not None for row in rows):
            if of_device is not None:
                yield _applied(of_device, Scope(device_id))
            continue
        of_period: dict[str, tuple[LogRetention, list[int]]] = {}
        for tag_id in _tags_of(tx, account_id, device_id):
            row = of.get(Scope(device_id, tag_id)) or of_device
            if row is not None:
                of_period.setdefault(row.period, (row, []))[1].append(tag_id)
        for row, tags in of_period.values():
            yield _applied(row, Scope(device_id), tags)


def _applied(
    row: LogRetention, to: Scope, tags: Sequence[int] | None = None
) -> tuple[UUID, Scope, Period, Sequence[int] | None]:
    return row.rule_id, to, parse_period(row.period), tags


def _tags_of(tx: Tx, account_id: UUID, device_id: UUID) -> Sequence[int]:
    query = select(LogTag.tag_id).where(LogTag.account_id == account_id, LogTag.device_id == device_id)
    return tx.session.scalars(query.order_by(LogTag.tag_id)).all()
