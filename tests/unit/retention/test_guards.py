"""What stops a run: each guard at its limit, with its figures."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform import clock
from cloudpriv.platform.clock import APART, Boot
from cloudpriv.platform.errors import ConflictError
from cloudpriv.policy.periods import parse_period
from cloudpriv.policy.register import Policy
from cloudpriv.policy.succession import Policies
from cloudpriv.retention import approval, due, guards, runs
from cloudpriv.retention import purge as purges
from cloudpriv.retention.guards import QUIET, Clocks, Terms
from cloudpriv.retention.tables import PurgeRun
from tests.factories import BOSS, NOW, make_account, transaction
from tests.purges import LONG_AGO, clear_the_way, let_traffic_come, tell_owners, terms
from tests.purges import run as run_purge

DAY = timedelta(days=1)


def plan(services: Services, judged: Terms) -> PurgeRun:
    with transaction(services, now=judged.clocks.host) as tx:
        [run] = runs.plan_due(tx, judged)
        return run


def found(run: PurgeRun) -> dict[str, dict[str, Any]]:
    return {finding["guard"]: finding["figures"] for finding in run.findings}


def make_due(services: Services, owner: Engine, number: int = 1, now: datetime = NOW) -> None:
    for _ in range(number):
        make_account(services, created_at=LONG_AGO)
    clear_the_way(services, owner, now)


def at(judged: Terms, host: datetime, **changes: Any) -> Terms:
    return replace(judged, clocks=replace(judged.clocks, host=host, **{"database": host, **changes}))


def with_period(policy: Policy, period: str) -> Policy:
    return with_rule(policy, period=parse_period(period))


def with_rule(policy: Policy, **changes: Any) -> Policy:
    """The policy with another rule for accounts."""
    rule = msgspec.structs.replace(due.rule(policy), **changes)
    changed = tuple(
        msgspec.structs.replace(each, retention=rule) if each.key == "cloud_services" else each for each in policy.activities
    )
    return msgspec.structs.replace(policy, activities=changed)


def test_a_run_that_nothing_speaks_against_goes_ahead(services: Services, owner_engine: Engine) -> None:
    make_due(services, owner_engine)
    run = plan(services, terms(services))
    assert (run.status, run.findings, run.accounts) == ("approved", [], 1)


@pytest.mark.parametrize(("number", "status"), [(3, "approved"), (4, "waiting")])
def test_more_accounts_than_the_limit_wait(services: Services, owner_engine: Engine, number: int, status: str) -> None:
    make_due(services, owner_engine, number)
    run = plan(services, terms(services, accounts=3))
    assert run.status == status
    assert found(run) == ({} if number == 3 else {"too_many": {"due": 4, "limit": 3}})


@pytest.mark.parametrize(("fresh", "status"), [(18, "approved"), (17, "waiting")])
def test_a_larger_share_than_the_limit_waits(services: Services, owner_engine: Engine, fresh: int, status: str) -> None:
    make_due(services, owner_engine, 2)
    for _ in range(fresh):
        make_account(services)
    make_account(services, service="intesis")
    run = plan(services, terms(services, share=0.1))
    assert run.status == status
    assert found(run) == ({} if fresh == 18 else {"too_large_a_share": {"due": 2, "accounts": 19, "limit": 0.1}})


def test_a_single_account_is_within_any_share(services: Services, owner_engine: Engine) -> None:
    make_due(services, owner_engine)
    assert plan(services, terms(services, share=0.0)).status == "approved"


def test_what_already_waits_counts_as_due_at_once(services: Services, owner_engine: Engine) -> None:
    make_due(services, owner_engine, 4)
    assert plan(services, terms(services, accounts=3)).status == "waiting"
    make_due(services, owner_engine)
    assert found(plan(services, terms(services, accounts=3))) == {"too_many": {"due": 5, "limit": 3}}


@pytest.mark.parametrize(("silence", "status"), [(QUIET, "approved"), (QUIET + timedelta(seconds=1), "waiting")])
def test_without_traffic_from_anywhere_for_two_days_nothing_goes(
    services: Services, owner_engine: Engine, silence: timedelta, status: str
) -> None:
    make_due(services, owner_engine, now=NOW)
    tell_owners(owner_engine, services.policy, NOW)
    run = plan(services, at(terms(services), NOW + silence))
    assert run.status == status
    assert set(found(run)) == ({"no_traffic"} if status == "waiting" else set())


def test_an_installation_that_never_had_traffic_erases_nothing_by_itself(services: Services, owner_engine: Engine) -> None:
    make_account(services, created_at=LONG_AGO)
    tell_owners(owner_engine, services.policy)
    assert found(plan(services, terms(services))) == {"no_traffic": {"last_received_at": None, "hours": 48}}


@pytest.mark.parametrize("apart", [APART, -APART])
def test_clocks_of_host_and_database_agree_within_a_minute(
    services: Services, owner_engine: Engine, apart: timedelta
) -> None:
    make_due(services, owner_engine)
    second = timedelta(seconds=1 if apart > timedelta(0) else -1)
    inside, outside = at(terms(services), NOW, database=NOW + apart), at(terms(services), NOW, database=NOW + apart + second)
    with transaction(services) as tx:
        account = due.due_accounts(tx, services.policy, limit=1)
        assert guards.inspect(tx, inside, "talk2m", account) == []
        [finding] = [each for each in guards.inspect(tx, outside, "talk2m", account) if each.guard == "clocks_apart"]
    assert (finding.guard, finding.figures["seconds"]) == ("clocks_apart", 61)


@pytest.mark.parametrize(
    ("boot", "passed", "status"),
    [
        (Boot("test", 86_400), DAY, "approved"),
        (Boot("test", 86_400), DAY + timedelta(minutes=2), "approved"),  # a slow crystal
        (Boot("test", 86_400), DAY + timedelta(minutes=3), "waiting"),
        (Boot("test", 86_400), DAY - timedelta(minutes=3), "waiting"),
        (Boot("test", 86_400), timedelta(days=8 * 365), "waiting"),
        (Boot("test", 100 * 86_400.0), timedelta(days=100), "approved"),  # down for long, but nobody set the clock
        (Boot("another", 60), timedelta(hours=48), "approved"),
        (Boot("another", 60), timedelta(hours=49), "waiting"),
        (Boot("another", 60), timedelta(minutes=-2), "waiting"),
    ],
)
def test_a_clock_that_jumped_since_the_last_run_stops_the_next(
    services: Services, owner_engine: Engine, boot: Boot, passed: timedelta, status: str
) -> None:
    make_due(services, owner_engine)
    assert plan(services, terms(services)).status == "approved"
    make_due(services, owner_engine, now=NOW + passed)
    run = plan(services, at(terms(services), NOW + passed, boot=boot))
    assert run.status == status
    assert set(found(run)) == ({"clock_jump"} if status == "waiting" else set())


def test_a_jump_stands_until_somebody_approves(services: Services, owner_engine: Engine) -> None:
    make_due(services, owner_engine)
    plan(services, terms(services))
    later = NOW + 30 * DAY
    make_due(services, owner_engine, now=later)
    stopped = plan(services, at(terms(services), later))
    make_due(services, owner_engine, now=later)
    assert plan(services, at(terms(services), later)).status == "waiting", "the next day's run is stopped as well"
    with transaction(services, BOSS, later) as tx:
        approval.approve(tx, at(terms(services), later), stopped.run_id)
    make_due(services, owner_engine, now=later)
    assert set(found(plan(services, at(terms(services), later)))) == set()


def test_a_period_that_became_shorter_stops_the_next_run(services: Services, owner_engine: Engine) -> None:
    make_due(services, owner_engine)
    plan(services, terms(services))
    shorter = replace(services, policies=Policies(with_period(services.policy, "P6Y")))
    make_due(shorter, owner_engine)
    run = plan(shorter, terms(shorter))
    assert found(run) == {"period_shorter": {"period": "P6Y", "before": "P7Y"}}
    assert plan_longer(services, owner_engine) == {}


def plan_longer(services: Services, owner: Engine) -> dict[str, Any]:
    """What a run finds whose period became longer."""
    longer = replace(services, policies=Policies(with_period(services.policy, "P7Y1D")))
    with owner.begin() as connection:
        connection.execute(text("UPDATE purges SET status = 'cancelled'"))
    make_due(longer, owner)
    return found(plan(longer, terms(longer)))


def test_the_daily_plan_leaves_out_whose_owners_were_not_told(services: Services, owner_engine: Engine) -> None:
    make_due(services, owner_engine)
    make_account(services, created_at=LONG_AGO)
    assert plan(services, terms(services)).accounts == 1
    with transaction(services) as tx:
        assert runs.plan_due(tx, terms(services)) == []


def test_whoever_orders_the_erasure_of_one_that_was_not_told_needs_a_second_person(
    services: Services, owner_engine: Engine
) -> None:
    make_due(services, owner_engine)
    untold = make_account(services, created_at=LONG_AGO).row.account_id
    with transaction(services) as tx:
        purge = runs.plan_account(tx, terms(services), untold)
        assert purge.status == "waiting"
        assert purge.run_id is not None
        assert found(runs.read_run(tx, purge.run_id)) == {"notice_pending": {"accounts": 1, "days": 7}}


def test_the_clocks_of_this_host_agree(services: Services) -> None:
    with transaction(services, now=clock.utc_now()) as tx:
        clocks: Clocks = guards.read_clocks(tx)
    assert abs(clocks.host - clocks.database) < APART
    assert clocks.boot.seconds > 0
    assert clock.boot().id == clocks.boot.id


def test_whoever_was_not_told_holds_up_nobody_behind(services: Services, owner_engine: Engine) -> None:
    told = make_account(services, created_at=LONG_AGO + DAY).row.account_id
    clear_the_way(services, owner_engine)
    for _ in range(3):
        make_account(services, created_at=LONG_AGO)
    with transaction(services) as tx:
        [run] = runs.plan_due(tx, terms(services), limit=2)
        [purge] = purges.list_purges(tx, after=None, limit=9, run_id=run.run_id)
        assert purge.account_id == told


def test_one_by_one_is_no_way_around_the_limit(services: Services, owner_engine: Engine) -> None:
    due_ids = [make_account(services, created_at=LONG_AGO).row.account_id for _ in range(4)]
    clear_the_way(services, owner_engine)
    stands = []
    for account_id in due_ids:
        with transaction(services) as tx:
            stands.append(runs.plan_account(tx, terms(services, accounts=2), account_id).status)
    assert stands == ["planned", "planned", "waiting", "waiting"]


def test_small_plans_are_no_way_around_the_limit(services: Services, owner_engine: Engine) -> None:
    for _ in range(4):
        make_account(services, created_at=LONG_AGO)
    clear_the_way(services, owner_engine)
    stands = []
    for _ in range(2):
        with transaction(services) as tx:
            [proposed] = runs.propose(tx, terms(services), limit=2)
        with transaction(services) as tx:
            stands.append(runs.execute(tx, terms(services, accounts=2), proposed.run_id).status)
    assert stands == ["approved", "waiting"]


def test_what_was_planned_yesterday_or_approved_counts_no_more(services: Services, owner_engine: Engine) -> None:
    make_due(services, owner_engine, 2)
    waiting = plan(services, terms(services, accounts=1))
    with transaction(services, BOSS) as tx:
        approval.approve(tx, terms(services), waiting.run_id)
    make_due(services, owner_engine)
    assert plan(services, terms(services, accounts=1)).status == "approved", "somebody has looked at the two"
    make_due(services, owner_engine, now=NOW + DAY)
    assert plan(services, terms(services, NOW + DAY, accounts=1)).status == "approved"


def test_an_approval_covers_only_what_was_shown(services: Services, owner_engine: Engine) -> None:
    make_due(services, owner_engine)
    plan(services, terms(services))
    make_due(services, owner_engine, 2)
    waiting = plan(services, terms(services, accounts=1))
    assert set(found(waiting)) == {"too_many"}
    later = NOW + 300 * DAY
    let_traffic_come(owner_engine, later)
    shorter = replace(at(terms(services), later, boot=Boot("test", 60.0)), policy=with_period(services.policy, "P6Y"))
    for status in ("waiting", "approved"):
        with transaction(services, BOSS, later) as tx:
            looked_at = approval.approve(tx, shorter, waiting.run_id)
        assert set(found(looked_at)) == {"too_many", "clock_jump", "period_shorter"}
        assert looked_at.status == status, "the second time all of it was shown"


def test_one_erasure_is_not_approved_past_what_was_shown(services: Services, owner_engine: Engine) -> None:
    make_due(services, owner_engine)
    untold = make_account(services, created_at=LONG_AGO).row.account_id
    with transaction(services) as tx:
        purge_id = runs.plan_account(tx, terms(services), untold).purge_id
    late = at(terms(services), NOW, database=NOW - DAY)
    with transaction(services, BOSS) as tx, pytest.raises(ConflictError, match="clocks_apart"):
        approval.approve_purge(tx, late, purge_id)


def test_an_event_of_a_host_whose_clock_is_ahead_is_no_traffic(services: Services, owner_engine: Engine) -> None:
    make_due(services, owner_engine, now=NOW)
    let_traffic_come(owner_engine, NOW + 365 * DAY)
    later = NOW + 30 * DAY
    tell_owners(owner_engine, services.policy, later)
    assert set(found(plan(services, terms(services, later)))) == {"no_traffic"}


def test_each_host_is_compared_with_its_own_last_run(services: Services, owner_engine: Engine) -> None:
    def looks(boot: str, seconds: float, now: datetime) -> list[str]:
        judged = at(terms(services), now, boot=Boot(boot, seconds))
        with transaction(services, now=now) as tx:
            findings = [each.guard for each in guards.look_around(tx, judged, "talk2m")]
            if not findings:
                guards.trust(tx, judged, "talk2m")
        return findings

    let_traffic_come(owner_engine)
    assert looks("a", 1000.0, NOW) == []
    assert looks("b", 500.0, NOW + timedelta(seconds=10)) == []
    assert looks("a", 1020.0, NOW + timedelta(hours=47)) == ["clock_jump"], "20 s by the clock that nobody can set"
    assert looks("b", 520.0, NOW + timedelta(seconds=30)) == []


def test_a_rounding_that_is_left_out_shortens_the_period(services: Services, owner_engine: Engine) -> None:
    rounded = replace(services, policies=Policies(with_rule(services.policy, round="end_of_year")))
    make_due(rounded, owner_engine)
    assert plan(rounded, terms(rounded)).status == "approved"
    make_due(services, owner_engine)
    run = plan(services, terms(services))
    assert found(run) == {"period_shorter": {"period": "P7Y", "before": "P7Y to end_of_year"}}


def test_a_share_is_taken_of_all_accounts_that_matter(services: Services, owner_engine: Engine) -> None:
    make_due(services, owner_engine, 2)
    for _ in range(65):
        make_account(services)
    assert plan(services, terms(services, share=0.03)).status == "approved", "2 of 67 are less than 3 %"


def test_what_went_today_counts_among_the_accounts_there_were(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    for _ in range(2):
        make_account(services)
    for _ in range(2):
        make_due(services, owner_engine)
        with transaction(services) as tx:
            [planned] = runs.plan_due(tx, terms(services, share=0.5))
            assert planned.status == "approved", "two of four, though the first of them is gone"
            [purge] = purges.list_purges(tx, after=None, limit=9, run_id=planned.run_id)
        run_purge(worker_services, purge.purge_id)
