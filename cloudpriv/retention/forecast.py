"""What falls due, month by month, for as long as the policy keeps accounts, and how much of it is held.

Counted by the database in one pass over accounts and traffic, and kept in `forecast_months` until counted anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from sqlalchemy import DateTime, func, literal_column, select, text
from sqlalchemy.dialects import postgresql

from cloudpriv.platform.actor import SERVICES
from cloudpriv.platform.db import Tx
from cloudpriv.policy.register import Policy
from cloudpriv.policy.schema import Retention
from cloudpriv.retention import due
from cloudpriv.retention.tables import ForecastMonth

FRESH: Final = timedelta(days=1)
# Other counters wait for their turn; readers, to whom the former figures stand until the commit, do not.
ONE_AT_A_TIME: Final = "LOCK TABLE forecast_months IN SHARE ROW EXCLUSIVE MODE"

# Accounts that are closing go on their holder's word, not by the clock. A hold that ends before the day blocks nothing.
COUNT: Final = """
    WITH falling AS (
        SELECT account_id, service, status = 'restricted' AS restricted, {due_on} AS due_on
        FROM (SELECT account_id, service, status, GREATEST(created_at, last_traffic_at) AT TIME ZONE 'UTC' AS anchor
              FROM accounts WHERE status IN ('active', 'restricted')) AS clocks
    ), sessions AS (
        SELECT account_id, count(*) AS records FROM traffic GROUP BY account_id
    ), holding AS (
        SELECT account_id, max(COALESCE(until, 'infinity')) AS until FROM holds WHERE released_at IS NULL GROUP BY account_id
    ), kept AS (
        SELECT DISTINCT account_id, true AS kept FROM people WHERE restricted_at IS NOT NULL AND erasure_requested_at IS NULL
    ), judged AS (
        SELECT service, CAST(date_trunc('month', GREATEST(due_on, :today)) AS date) AS month,
               COALESCE(records, 0) AS records,
               restricted OR COALESCE(kept, false)
                   OR COALESCE(until > GREATEST(CAST(due_on AS timestamp) AT TIME ZONE 'UTC', :now), false) AS held
        FROM falling LEFT JOIN sessions USING (account_id) LEFT JOIN holding USING (account_id)
             LEFT JOIN kept USING (account_id)
    ), counted AS (
        SELECT service, month, count(*) AS accounts, sum(records) AS records, count(*) FILTER (WHERE held) AS held_accounts,
               sum(records) FILTER (WHERE held) AS held_records
        FROM judged GROUP BY service, month
    )
    INSERT INTO forecast_months (service, month, accounts, records, held_accounts, held_records, counted_at)
    SELECT service, month, COALESCE(accounts, 0), COALESCE(records, 0), COALESCE(held_accounts, 0),
           COALESCE(held_records, 0), :now
    FROM unnest(CAST(:services AS text[])) AS service
    CROSS JOIN (SELECT CAST(generate_series(CAST(:first AS timestamp), :last, interval '1 month') AS date)) AS months (month)
    LEFT JOIN counted USING (service, month)
"""


@dataclass(frozen=True)
class Forecast:
    """What falls due, as counted at one time by one rule: of each service every month from the first on, zeros included."""

    counted_at: datetime
    rule: str
    months: Sequence[ForecastMonth]


def count(tx: Tx, policy: Policy) -> None:
    """Count anew what falls due in each month (UTC) of `due.purge_due_on`, and replace what was counted before.

    From the present month, which has what is overdue, to that in which an account active now falls due: at seven years 85
    months, on the last day of one 86. An account is held when it, or somebody in it, is restricted (GDPR Article 18), or a
    hold on it, or on a part of it, outlasts its day; its records then all count as held. The accounts are read without
    locks. Raises ValueError when the rule has no period.
    """
    tx.connection.execute(text(ONE_AT_A_TIME))
    tx.connection.execute(text("DELETE FROM forecast_months"))
    rule = due.rule(policy)
    first, last = _first_and_last(policy, tx.now)
    bounds = {"now": tx.now, "today": _day(tx.now), "first": first, "last": last, "services": list(SERVICES)}
    tx.connection.execute(text(COUNT.format(due_on=day_of(rule))), bounds)


def read(tx: Tx, policy: Policy, *, months: int | None = None, service: str | None = None) -> Forecast:
    """The forecast of the services that the actor may see, or of one of them, by service and month.

    `months` is how many, from the present one on. It is counted now when that was never done or more than a day
    ago, or when the month or the period has changed since. It tells of no single account, and so leaves no event.
    """
    if not _is_fresh(tx, policy):
        tx.connection.execute(text(ONE_AT_A_TIME))
        if not _is_fresh(tx, policy):  # nobody else did it meanwhile
            count(tx, policy)
    found = tx.session.scalars(select(ForecastMonth).order_by(ForecastMonth.service, ForecastMonth.month)).all()
    first = found[0].month
    return Forecast(
        counted_at=found[0].counted_at,
        rule=due.rule_name(policy),
        months=[
            row
            for row in found
            if tx.actor.service in (None, row.service)
            and service in (None, row.service)
            and (months is None or _months_between(first, row.month) < months)
        ],
    )


def day_of(rule: Retention) -> str:
    """`due.day_in_sql` of a column `anchor`, as a part of a statement. Raises ValueError when the rule has no period."""
    day = due.day_in_sql(rule, literal_column("anchor", DateTime()))
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it without
    return str(day.compile(dialect=dialect, compile_kwargs={"literal_binds": True})).replace(":", "\\:")


def _is_fresh(tx: Tx, policy: Policy) -> bool:
    columns = (func.min(ForecastMonth.month), func.max(ForecastMonth.month), func.max(ForecastMonth.counted_at))
    first, last, counted_at = tx.session.execute(select(*columns)).one()
    if counted_at is None or counted_at < tx.now - FRESH:
        return False
    return first == _day(tx.now).replace(day=1) and (first, last) == _first_and_last(policy, counted_at)


def _first_and_last(policy: Policy, now: datetime) -> tuple[date, date]:
    """The months that are counted at `now`, by their first days."""
    return _day(now).replace(day=1), due.purge_due_on(policy, now, None).replace(day=1)


def _months_between(first: date, month: date) -> int:
    return 12 * (month.year - first.year) + month.month - first.month


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()
