"""Due is what the policy says, to the microsecond, and nothing else."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import Actor
from cloudpriv.policy.register import load
from cloudpriv.retention import due
from tests.bench import plan as planning
from tests.factories import BACKEND, NOW, make_account, transaction
from tests.purges import let_it_age, plan

POLICY = load()
MICROSECOND = timedelta(microseconds=1)
# Seven years before NOW, 1 June 2026: what happened on 1 June 2019 is kept until the end of that day in 2026.
CUTOFF = datetime(2019, 6, 1, tzinfo=UTC)


def found(services: Services, actor: Actor = BACKEND, now: datetime = NOW) -> list[UUID]:
    with transaction(services, actor, now) as tx:
        return [account.account_id for account in due.due_accounts(tx, services.policy, limit=100)]


@pytest.mark.parametrize(
    ("created", "traffic", "day"),
    [
        ("2018-08-01T12:00:00Z", None, date(2025, 8, 2)),
        ("2018-08-01T12:00:00Z", "2019-03-10T23:59:59Z", date(2026, 3, 11)),
        ("2019-03-10T00:00:00Z", "2018-08-01T12:00:00Z", date(2026, 3, 11)),
        ("2019-03-10T23:00:00-05:00", None, date(2026, 3, 12)),
        ("2020-02-29T12:00:00Z", None, date(2027, 3, 1)),
    ],
)
def test_the_period_runs_from_the_later_of_creation_and_latest_traffic(created: str, traffic: str | None, day: date) -> None:
    last_traffic = None if traffic is None else datetime.fromisoformat(traffic)
    assert due.purge_due_on(POLICY, datetime.fromisoformat(created), last_traffic) == day


@pytest.mark.parametrize("anchored_by", ["creation", "traffic"])
def test_an_account_is_never_due_early_and_due_at_once_after(
    services: Services, owner_engine: Engine, anchored_by: str
) -> None:
    for anchor in (CUTOFF - MICROSECOND, CUTOFF):
        created = anchor if anchored_by == "creation" else anchor - timedelta(days=400)
        account = make_account(services, created_at=created).row
        if anchored_by == "traffic":
            let_it_age(owner_engine, account.account_id, anchor)
        is_due = anchor < CUTOFF
        assert (account.account_id in found(services)) == is_due
        with transaction(services) as tx:
            row = tx.session.get_one(type(account), account.account_id)
            assert due.is_due(services.policy, row, NOW) == is_due
            assert due.is_due(services.policy, row, NOW.replace(day=2, hour=0, minute=0))
    last_moment = datetime(2026, 6, 1, tzinfo=UTC) - MICROSECOND
    assert found(services, now=last_moment) == []


@pytest.mark.parametrize("status", ["restricted", "closing", "purging"])
def test_only_active_accounts_are_due(services: Services, owner_engine: Engine, status: str) -> None:
    account = make_account(services, created_at=CUTOFF - MICROSECOND).row
    assert found(services) == [account.account_id]
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = :status"), {"status": status})
    assert found(services) == []
    with transaction(services) as tx:
        assert not due.is_due(services.policy, tx.session.get_one(type(account), account.account_id), NOW)


def test_a_backend_sees_its_own_service_only(services: Services) -> None:
    theirs = make_account(services, service="intesis", created_at=CUTOFF - MICROSECOND).row.account_id
    ours = make_account(services, created_at=CUTOFF - MICROSECOND).row.account_id
    assert found(services) == [ours]
    assert found(services, Actor("client", "x", "intesis")) == [theirs]
    assert set(found(services, Actor("worker", "x"))) == {ours, theirs}


def test_pages_go_from_the_longest_idle_on_without_gap_or_repetition(services: Services) -> None:
    for days in (3, 1, 2, 1, 1):
        make_account(services, created_at=CUTOFF - timedelta(days=days))
    seen, after = [], None
    while True:
        with transaction(services) as tx:
            page = due.list_due(tx, services.policy, after=after, limit=2)[:2]
        if not page:
            break
        seen += page
        after = (page[-1].last_activity_at, page[-1].account_id)
    assert [CUTOFF - each.last_activity_at for each in seen] == [timedelta(days=days) for days in (3, 2, 1, 1, 1)]
    assert len({each.account_id for each in seen}) == 5
    assert {each.due_since for each in seen} == {datetime(2026, 5, day, tzinfo=UTC) for day in (30, 31)} | {
        datetime(2026, 6, 1, tzinfo=UTC)
    }


def test_what_is_planned_already_can_be_left_out(services: Services, owner_engine: Engine) -> None:
    make_account(services, created_at=CUTOFF - MICROSECOND)
    plan(services, owner_engine)
    with transaction(services) as tx:
        assert len(due.due_accounts(tx, services.policy, limit=9)) == 1
        assert due.due_accounts(tx, services.policy, limit=9, unplanned=True) == []


def test_planning_reads_what_is_due_and_nothing_of_the_other_accounts(services: Services, owner_engine: Engine) -> None:
    planning.prepare(owner_engine, services, 30_000, NOW)
    planning.check_reads(services, NOW)
