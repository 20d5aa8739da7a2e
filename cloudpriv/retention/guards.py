"""Guards: what stops a run of purges until a second person approves, because a fault could look like accounts falling due.

Each finding names its guard and the figures it was made by. The clocks and the period that a run is compared with are those
of the last run that nothing was found in, or that was approved: a finding stands until somebody has looked at it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from cloudpriv.audit.events import AuditEvent
from cloudpriv.controller.tables import Account
from cloudpriv.platform import clock
from cloudpriv.platform.clock import APART, Boot
from cloudpriv.platform.db import Tx, database_time
from cloudpriv.policy.periods import ROUNDINGS, RoundTo, erasable_from, parse_period
from cloudpriv.policy.register import Policy
from cloudpriv.policy.schema import Retention
from cloudpriv.retention import due, notices
from cloudpriv.retention.due import DueAccount
from cloudpriv.retention.tables import GuardBaseline, Purge, PurgeRun

QUIET: Final = timedelta(hours=48)  # longer than any maintenance: then ingest is broken, not every customer gone
DRIFT: Final = 0.001  # a host's crystal is off by less than a tenth of that
DAY: Final = timedelta(days=1)
TURN: Final = 7_235_003  # any number of our own, for the advisory lock of planners
ROUNDED: Final[dict[str, RoundTo]] = {each: each for each in ROUNDINGS}
ABSENCE: Final = timedelta(hours=48)  # across two starts of a host nothing but its own clock tells how long it was

GUARDS: Final = (
    "too_many",
    "too_large_a_share",
    "no_traffic",
    "clocks_apart",
    "clock_jump",
    "period_shorter",
    "notice_pending",
)


@dataclass(frozen=True)
class Limits:
    """How much of a service one run may erase without approval: a number of accounts, and a share of them."""

    accounts: int
    share: float


@dataclass(frozen=True)
class Clocks:
    """What host, database and the host's unsettable clock say at one moment."""

    host: datetime
    database: datetime
    boot: Boot


@dataclass(frozen=True)
class Terms:
    """What a run is judged by."""

    policy: Policy
    limits: Limits
    clocks: Clocks


@dataclass(frozen=True)
class Finding:
    """A guard that stops a run, in words for people and in figures."""

    guard: str
    detail: str
    figures: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """As the run's row keeps it."""
        return {"guard": self.guard, "detail": self.detail, "figures": self.figures}


def read_clocks(tx: Tx) -> Clocks:
    """The clocks now, the host's as the unit of work was told it."""
    return Clocks(tx.now, database_time(tx), clock.boot())


def inspect(tx: Tx, terms: Terms, service: str, found: Sequence[DueAccount]) -> list[Finding]:
    """What stops a run over the due accounts `found` of `service`; nothing when it may go ahead.

    Planners of a service take turns until their transactions end, so that none overlooks what another has just planned.
    """
    tx.session.execute(select(func.pg_advisory_xact_lock(TURN, func.hashtext(service))))
    return [
        *filter(None, [_too_many(tx, service, len(found), terms), _notice_pending(tx, terms.policy, found)]),
        *look_around(tx, terms, service),
    ]


def look_around(tx: Tx, terms: Terms, service: str) -> list[Finding]:
    """What speaks against any run at this moment, whatever accounts it is over."""
    baselines = list(tx.session.scalars(select(GuardBaseline).where(GuardBaseline.service == service)))
    newest = max(baselines, key=lambda each: each.host_at, default=None)
    own = next((each for each in baselines if each.boot_id == terms.clocks.boot.id), newest)
    findings = [
        _no_traffic(tx, terms.clocks),
        _clocks_apart(terms.clocks),
        _clock_jump(own, terms.clocks) if own else None,
        _period_shorter(newest, terms) if newest else None,
    ]
    return [finding for finding in findings if finding is not None]


def trust(tx: Tx, terms: Terms, service: str) -> None:
    """Let later runs of the service be compared with this moment: nothing was found, or somebody approved."""
    clocks, rule = terms.clocks, due.rule(terms.policy)
    row = {
        "service": service,
        "boot_id": clocks.boot.id,
        "host_at": clocks.host,
        "boot_seconds": clocks.boot.seconds,
        "period": _named(rule),
    }
    statement = insert(GuardBaseline).values(row)
    tx.session.execute(statement.on_conflict_do_update(index_elements=["service", "boot_id"], set_=row))


def _too_many(tx: Tx, service: str, found: int, terms: Terms) -> Finding | None:
    others, gone = _at_once(tx, service, terms.clocks)
    limits, number = terms.limits, found + others
    if number > limits.accounts:
        detail = f"{number} accounts are due at once; {limits.accounts} a day may be erased without approval"
        return Finding("too_many", detail, {"due": number, "limit": limits.accounts})
    # As many as make the share, and no more, are counted: the cost follows what is due, not how many accounts there are.
    enough = math.ceil(number / limits.share) if limits.share else number
    # The order keeps PostgreSQL to the index, where all of a service's accounts may lie behind those of the other.
    some = select(Account.account_id).where(Account.service == service).order_by(Account.account_id).limit(enough)
    accounts = gone + (tx.session.scalar(select(func.count()).select_from(some.subquery())) or 0)
    if number > 1 and number > accounts * limits.share:
        detail = f"{number} of {accounts} accounts are due at once; {limits.share:.1%} a day may be erased without approval"
        return Finding("too_large_a_share", detail, {"due": number, "accounts": accounts, "limit": limits.share})
    return None


def _at_once(tx: Tx, service: str, clocks: Clocks) -> tuple[int, int]:
    """What waits or was planned within a day and nobody approved, and how much of it is gone by now.

    For many small plans are as much as a large one.
    """
    unseen = exists().where(PurgeRun.run_id == Purge.run_id, PurgeRun.approved_by.is_(None))
    lately = and_(Purge.planned_at > clocks.host - DAY, Purge.status.in_(("planned", "running", "done")), unseen)
    counts = (func.count(), func.count().filter(Purge.status == "done"))
    query = select(*counts).where(Purge.service == service, or_(Purge.status == "waiting", lately))
    number, gone = tx.session.execute(query).one()
    return number, gone


def _no_traffic(tx: Tx, clocks: Clocks) -> Finding | None:
    by_now = AuditEvent.at <= min(clocks.host, clocks.database) + APART  # a host with a clock ahead tells nothing of now
    last = tx.session.scalar(select(func.max(AuditEvent.at)).where(AuditEvent.action == "traffic.write", by_now))
    if last is not None and clocks.host - last <= QUIET:
        return None
    since = "ever" if last is None else f"since {last:%Y-%m-%dT%H:%M:%SZ}"
    detail = f"no traffic has been received anywhere {since}: ingest may be broken, and then nobody is idle"
    return Finding("no_traffic", detail, {"last_received_at": last and last.isoformat(), "hours": _hours(QUIET)})


def _clocks_apart(clocks: Clocks) -> Finding | None:
    apart = abs(clocks.host - clocks.database)
    if apart <= APART:
        return None
    detail = f"the clocks of host and database are {_seconds(apart)} s apart"
    times = {"host": clocks.host.isoformat(), "database": clocks.database.isoformat()}
    return Finding("clocks_apart", detail, {**times, "seconds": _seconds(apart), "limit": _seconds(APART)})


def _clock_jump(baseline: GuardBaseline, clocks: Clocks) -> Finding | None:
    passed = clocks.host - baseline.host_at
    if baseline.boot_id == clocks.boot.id:
        true = timedelta(seconds=clocks.boot.seconds - baseline.boot_seconds)
        jump = passed - true
        allowed = APART + true * DRIFT
        if abs(jump) <= allowed:
            return None
        detail = f"the host's clock jumped by {_seconds(jump)} s since the last run"
        return Finding("clock_jump", detail, {"seconds": _seconds(jump), "limit": _seconds(allowed)})
    if -APART <= passed <= ABSENCE:
        return None
    detail = f"by the host's clock the last run was {_hours(passed)} hours ago, and the host was started anew since"
    return Finding("clock_jump", detail, {"hours": _hours(passed), "limit": _hours(ABSENCE)})


def _period_shorter(baseline: GuardBaseline, terms: Terms) -> Finding | None:
    rule, now = due.rule(terms.policy), terms.clocks.host
    period, _, rounding = baseline.period.partition(" to ")
    if rule.erasable_from(now) >= erasable_from(now, parse_period(period), ROUNDED.get(rounding)):
        return None
    detail = f"the policy's period became shorter: {_named(rule)} after {baseline.period}"
    return Finding("period_shorter", detail, {"period": _named(rule), "before": baseline.period})


def _named(rule: Retention) -> str:
    return str(rule.period) if rule.round is None else f"{rule.period} to {rule.round}"


def _notice_pending(tx: Tx, policy: Policy, found: Sequence[DueAccount]) -> Finding | None:
    pending = len(notices.pending_among(tx, policy, found))
    if not pending:
        return None
    detail = f"of {pending} of the accounts the owners have not had the last notice for {notices.LAST_DAYS} days"
    return Finding("notice_pending", detail, {"accounts": pending, "days": notices.LAST_DAYS})


def _seconds(span: timedelta) -> int:
    return round(span.total_seconds())


def _hours(span: timedelta) -> int:
    return round(span.total_seconds() / 3600)
