"""What is due to be erased: accounts without traffic for as long as the policy says, and nothing else.

An account's clock is the later of its creation and its latest traffic. It becomes due by the calendar rules of the policy's
register, and only while it is active: a restricted one stays (GDPR Article 18), a closing one goes on its holder's word,
and one under a hold is not listed until the hold ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Date, Select, cast, func, literal, select, tuple_

from cloudpriv.audit import events
from cloudpriv.controller import people
from cloudpriv.controller.tables import Account
from cloudpriv.platform.classify import CLOUD_SERVICES
from cloudpriv.platform.db import Tx
from cloudpriv.policy.periods import Period
from cloudpriv.policy.register import Policy
from cloudpriv.policy.schema import Retention
from cloudpriv.retention import holds
from cloudpriv.retention.tables import OPEN, Hold, Purge

ACTIVITY: Final = func.greatest(Account.created_at, Account.last_traffic_at)  # as in the index ix_accounts_activity
UTC_ACTIVITY: Final = func.timezone("UTC", ACTIVITY)


@dataclass(frozen=True)
class DueAccount:
    """An account that may be erased: its last activity, and since when that has been long enough ago."""

    account_id: UUID
    service: str
    last_activity_at: datetime
    due_since: datetime


def rule(policy: Policy) -> Retention:
    """The retention rule of accounts."""
    return policy.rule_for(CLOUD_SERVICES)


def rule_name(policy: Policy) -> str:
    """The rule as purges and the ledger name it, such as `P7Y after last_traffic`."""
    retention = rule(policy)
    return f"{retention.period} after {retention.anchor}"


def with_period(retention: Retention, period: Period) -> Retention:
    """The same rule with another period."""
    return msgspec.structs.replace(retention, period=period)


def last_activity(created_at: datetime, last_traffic_at: datetime | None) -> datetime:
    """The instant that an account's period is counted from."""
    return created_at if last_traffic_at is None else max(created_at, last_traffic_at)


def purge_due_on(policy: Policy, created_at: datetime, last_traffic_at: datetime | None) -> date:
    """The day (UTC) from whose beginning the account may be erased, unless traffic comes before."""
    return rule(policy).erasable_from(last_activity(created_at, last_traffic_at)).date()


def day_in_sql(retention: Retention, anchor: ColumnElement[datetime] = UTC_ACTIVITY) -> ColumnElement[date]:
    """`purge_due_on` in SQL, to the day, of an anchor that is a timestamp in UTC without zone.

    Raises ValueError for a rule without a period.
    """
    period = retention.period
    if period is None:
        raise ValueError(f"a rule of the kind {retention.kind} has no period")
    if period.clock:
        return cast(anchor + literal(period.clock), Date)
    # As in policy.periods: PostgreSQL, too, adds months first and takes the last day of one that is too short.
    end = cast(anchor, Date) + func.make_interval(period.years, period.months, period.weeks, period.days)
    if retention.round is not None:
        end = func.date_trunc("year", end) + func.make_interval(1, 0, 0, -1)
    return cast(end, Date) + 1


def not_held(now: datetime) -> ColumnElement[bool]:
    """That no hold keeps an account whole at `now`."""
    return _without(Hold.account_id, Hold.scope == "account", holds.in_force(now))


def is_due(policy: Policy, account: Account, now: datetime) -> bool:
    """Whether the policy has this account erased at `now`; never a moment before `purge_due_on`."""
    anchor = last_activity(account.created_at, account.last_traffic_at)
    return account.status == "active" and rule(policy).erasable_from(anchor) <= now


def due_accounts(tx: Tx, policy: Policy, *, after: tuple[datetime, UUID] | None = None, limit: int,
                 among: Sequence[UUID] | None = None, unplanned: bool = False) -> list[DueAccount]:  # fmt: skip
    """Up to `limit` due accounts that the actor may see, longest idle first.

    `after` is the last activity and the id of the last one of the page before; `among` chooses by id; `unplanned` leaves out
    those with an open purge.
    The cost follows what is due, not how many accounts there are.
    """
    query = _due(policy, tx.now).order_by(ACTIVITY, Account.account_id).limit(limit)
    if tx.actor.service is not None:
        query = query.where(Account.service == tx.actor.service)
    if after is not None:
        query = query.where(tuple_(ACTIVITY, Account.account_id) > tuple_(literal(after[0]), literal(after[1])))
    if among is not None:
        query = query.where(Account.account_id.in_(among))
    if unplanned:
        query = query.where(_without(Purge.account_id, Purge.status.in_(OPEN)))
    erasable_from = rule(policy).erasable_from
    return [
        DueAccount(account_id, service, anchor, erasable_from(anchor))
        for account_id, service, anchor in tx.session.execute(query)
    ]


def backlog(tx: Tx, policy: Policy) -> tuple[int, datetime | None]:
    """How many accounts are due, and since when the first of them is; the cost follows their number."""
    query = _due(policy, tx.now).with_only_columns(func.count(), func.min(ACTIVITY))
    number, oldest = tx.session.execute(query).one()
    return number, None if oldest is None else rule(policy).erasable_from(oldest)


def list_due(tx: Tx, policy: Policy, *, after: tuple[datetime, UUID] | None, limit: int) -> list[DueAccount]:
    """A page of `due_accounts`, and one more than `limit` if there is one; those shown are audited one by one."""
    found = due_accounts(tx, policy, after=after, limit=limit + 1)
    for account in found[:limit]:
        events.record(tx, "retention.read", account_id=account.account_id)
    return found


def _due(policy: Policy, now: datetime) -> Select[Any]:
    cutoff = rule(policy).anchor_cutoff(now)
    idle = ACTIVITY < cutoff  # noqa: SIM300  a column on the left reads as SQL does
    free = Account.status == "active", not_held(now), ~people.kept_by_restriction()
    return select(Account.account_id, Account.service, ACTIVITY).where(idle, *free)


def _without(account_id: Any, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """That an account has no such row, looked up for each by itself.

    NOT EXISTS would become a join, for which PostgreSQL reads all holds there are as soon as it expects many due accounts:
    and it expects thousands among a million, since its statistics tell no fewer apart.
    """
    found = select(account_id).where(account_id == Account.account_id, *conditions)
    return found.limit(1).correlate(Account).scalar_subquery().is_(None)
