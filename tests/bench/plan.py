"""plan_1m: the daily plan of fifty due accounts among a million, beside the plain SELECT of their ids."""

import math
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from statistics import median
from typing import Final

from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import WORKER
from cloudpriv.retention import due, runs
from tests.bench import crowd
from tests.bench.measure import ROUNDS, Figure, seconds
from tests.bench.stage import Stage
from tests.explained import explained
from tests.factories import transaction
from tests.purges import terms

ACCOUNTS, DUE = 1_000_000, 50
SHARE: Final = 0.05  # the default of CLOUDPRIV_PURGE_LIMIT_SHARE
BOUND: Final = 100.0  # milliseconds
LATELY: Final = 16  # of the crowd's erasures those of the service and the last day
# The due ones and their notices, each twice asked for; as many accounts as the share needs; when traffic last came.
ENOUGH: Final = Counter(
    accounts=DUE + math.ceil((DUE + LATELY) / SHARE),
    notices=2 * DUE,
    purges=LATELY,
    purge_runs=LATELY,
    audit_events=1,
    guard_baselines=1,
)
# What was cancelled may be planned again, and what was planned the day before yesterday does not count against it.
CANCEL: Final = """
UPDATE purges SET status = 'cancelled', finished_at = planned_at, planned_at = planned_at - interval '2 days'
WHERE status = 'planned'
"""
PLAIN: Final = "SELECT account_id FROM accounts WHERE greatest(created_at, last_traffic_at) < :cutoff AND status = 'active'"


def measure(stage: Stage) -> Iterator[Figure]:
    """Milliseconds from the beginning of the plan to its commit; the ratio is how often that fits into what is allowed."""
    with crowd.database(stage, "bench_plan") as owner:
        now = owner.clock()
        prepare(owner.controller.engine, owner, stage.sized(ACCOUNTS), now)
        rounds = [(_plan(owner, now), _select(owner, now)) for _ in range(ROUNDS + 1)][1:]  # the first one warms up
        ours, plain = (median(times) for times in zip(*rounds, strict=True))
        _cancel(owner)
        check_reads(owner, now)
        yield Figure("plan_1m", ours, "ms", plain, BOUND / ours)


def prepare(engine: Engine, services: Services, accounts: int, now: datetime) -> None:
    """So many accounts, and fifty due and told."""
    crowd.fill(engine, accounts, now, whole=False)
    crowd.tell(engine, services.policy, crowd.make_due(engine, DUE), now)
    crowd.settle(engine)


def plan(services: Services, now: datetime) -> None:
    """What the schedule does once a day. Raises RuntimeError unless all that are due are planned."""
    with transaction(services, WORKER, now) as tx:
        planned = [(run.status, run.accounts) for run in runs.plan_due(tx, terms(services, now, share=SHARE))]
    if planned != [("approved", DUE)]:
        raise RuntimeError(f"instead of {DUE} were planned {planned}")


def check_reads(services: Services, now: datetime) -> None:
    """Raises RuntimeError when the statements of a plan look at more rows than what is due asks for."""
    with explained(services.controller.engine) as found:
        plan(services, now)
    read = sum((each.rows for each in found), Counter())
    if not read <= ENOUGH:
        each = "\n".join(f"{dict(one.rows)} by {one.statement[:80]!r}" for one in found)
        raise RuntimeError(f"{dict(read)} were read\n{each}")


def _plan(owner: Services, now: datetime) -> float:
    """Milliseconds of a plan of the fifty."""
    _cancel(owner)
    return seconds(lambda: plan(owner, now)) * 1000


def _cancel(owner: Services) -> None:
    with owner.controller.engine.begin() as connection:
        connection.execute(text(CANCEL))


def _select(owner: Services, now: datetime) -> float:
    """Milliseconds of the query alone, in a transaction of its own."""
    cutoff = due.rule(owner.policy).anchor_cutoff(now)

    def select() -> None:
        with owner.controller.engine.begin() as connection:
            connection.execute(text(PLAIN), {"cutoff": cutoff}).all()

    return seconds(select) * 1000
