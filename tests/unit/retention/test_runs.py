"""Plans: proposed, judged anew, carried out, and approved by somebody else."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import WORKER, Actor
from cloudpriv.platform.errors import ConflictError, NotFoundError, SecondPersonNeededError
from cloudpriv.retention import approval, plans, purge, runs
from cloudpriv.retention.tables import PurgeRun
from tests.factories import BACKEND, BOSS, NOW, make_account, make_device, make_person, transaction
from tests.purges import LONG_AGO, clear_the_way, let_it_age, plan, purge_of, run, terms
from tests.stack import every_row


def propose(services: Services, owner: Engine) -> list[PurgeRun]:
    clear_the_way(services, owner)
    with transaction(services) as tx:
        return runs.propose(tx, terms(services))


def execute(services: Services, run_id: UUID, *, accounts: int = 100) -> tuple[PurgeRun, list[UUID]]:
    with transaction(services) as tx:
        return runs.execute(tx, terms(services, accounts=accounts), run_id), [subject for _, subject in tx.wake]


def stopped(services: Services, owner: Engine, number: int = 2) -> tuple[PurgeRun, list[UUID]]:
    """A run that waits for approval, planned by BACKEND, and its purges."""
    for _ in range(number):
        make_account(services, created_at=LONG_AGO)
    clear_the_way(services, owner)
    with transaction(services, BACKEND) as tx:
        [waiting] = runs.plan_due(tx, terms(services, accounts=1))
    with transaction(services) as tx:
        found = purge.list_purges(tx, after=None, limit=10, run_id=waiting.run_id)
    return waiting, [each.purge_id for each in found]


def test_a_dry_run_changes_nothing_of_an_account_and_nobody_carries_it_out(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    clear_the_way(services, owner_engine)
    before = every_row(owner_engine)
    [proposed] = propose(services, owner_engine)
    changed = {name for name, rows in every_row(owner_engine).items() if rows != before[name]}
    assert changed == {"purge_runs", "purges", "audit_events", "log_pending"}
    with transaction(services) as tx:
        [each] = plans.contents(tx, services.policy, proposed.run_id)
        assert purge.waiting(tx, 10) == purge.unfinished(tx) == []
        assert purge.list_purges(tx, after=None, limit=10) == []
    run(worker_services, each.purge_id)
    assert (each.account_id, purge_of(services, each.purge_id).status) == (account_id, "proposed")


def test_a_dry_run_shows_what_each_account_holds(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    make_person(services, account_id)
    for _ in range(2):
        make_device(services, account_id)
    [proposed] = propose(services, owner_engine)
    with transaction(services) as tx:
        [shown] = plans.contents(tx, services.policy, proposed.run_id)
    # Its account's row, key, directory entry and notice, and the announcement to its person.
    assert (shown.people, shown.devices, shown.traffic, shown.other_rows) == (1, 2, 0, 5)


def test_each_service_has_a_plan_of_its_own(services: Services, owner_engine: Engine) -> None:
    make_account(services, created_at=LONG_AGO)
    make_account(services, service="intesis", created_at=LONG_AGO)
    assert [each.service for each in propose(services, owner_engine)] == ["intesis", "talk2m"]
    with transaction(services) as tx:
        [chosen] = runs.propose(tx, terms(services), services=["intesis"])
    assert chosen.service == "intesis"


def test_what_is_executed_is_carried_out_and_once_only(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    make_account(services, created_at=LONG_AGO)
    [proposed] = propose(services, owner_engine)
    approved, woken = execute(services, proposed.run_id)
    assert (approved.status, approved.accounts) == ("approved", 1)
    run(worker_services, woken[0])
    assert purge_of(services, woken[0]).status == "done"
    with pytest.raises(ConflictError, match="approved already"):
        execute(services, proposed.run_id)


def test_execution_judges_anew_and_leaves_out_what_is_not_due_any_more(services: Services, owner_engine: Engine) -> None:
    lively = make_account(services, created_at=LONG_AGO).row.account_id
    make_account(services, created_at=LONG_AGO)
    taken = make_account(services, created_at=LONG_AGO).row.account_id
    [proposed] = propose(services, owner_engine)
    let_it_age(owner_engine, lively, NOW)
    with transaction(services) as tx:
        runs.plan_account(tx, terms(services), taken)
    executed, woken = execute(services, proposed.run_id, accounts=2)
    assert (executed.status, executed.accounts, len(woken)) == ("approved", 1, 1), "beside the other of today"
    with transaction(services) as tx:
        statuses = sorted(each.status for each in purge.list_purges(tx, after=None, limit=9, run_id=proposed.run_id))
    assert statuses == ["cancelled", "cancelled", "planned"]


def test_a_guard_stops_what_is_executed(services: Services, owner_engine: Engine) -> None:
    for _ in range(2):
        make_account(services, created_at=LONG_AGO)
    [proposed] = propose(services, owner_engine)
    waiting, woken = execute(services, proposed.run_id, accounts=1)
    assert (waiting.status, woken, [each["guard"] for each in waiting.findings]) == ("waiting", [], ["too_many"])


def test_nothing_that_waits_is_carried_out(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    _, waiting = stopped(services, owner_engine)
    with transaction(services) as tx:
        assert purge.waiting(tx, 10) == purge.unfinished(tx) == []
    for purge_id in waiting:
        run(worker_services, purge_id)
        assert purge_of(services, purge_id).status == "waiting"


@pytest.mark.parametrize("actor", [BACKEND, WORKER], ids=["the planner", "a worker"])
def test_only_a_second_person_approves(services: Services, owner_engine: Engine, actor: Actor) -> None:
    waiting, [purge_id, _] = stopped(services, owner_engine)
    with transaction(services, actor) as tx, pytest.raises(SecondPersonNeededError):
        approval.approve(tx, terms(services), waiting.run_id)
    with transaction(services, actor) as tx, pytest.raises(SecondPersonNeededError):
        approval.approve_purge(tx, terms(services), purge_id)
    assert purge_of(services, purge_id).status == "waiting"


def test_whoever_executes_a_dry_run_of_another_does_not_approve_it(services: Services, owner_engine: Engine) -> None:
    for _ in range(2):
        make_account(services, created_at=LONG_AGO)
    [proposed] = propose(services, owner_engine)
    with transaction(services, BOSS) as tx:
        assert runs.execute(tx, terms(services, accounts=1), proposed.run_id).status == "waiting"
    with transaction(services, BOSS) as tx, pytest.raises(SecondPersonNeededError):
        approval.approve(tx, terms(services), proposed.run_id)
    with transaction(services, BACKEND) as tx:
        assert approval.approve(tx, terms(services), proposed.run_id).status == "approved"


def test_an_approved_run_goes_ahead_whole(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    waiting, purges = stopped(services, owner_engine)
    with transaction(services, BOSS) as tx:
        approved = approval.approve(tx, terms(services), waiting.run_id)
        assert sorted(tx.wake) == sorted(("purge", each) for each in purges)
    assert (approved.status, approved.approved_by, approved.approved_at) == ("approved", BOSS.name, NOW)
    for purge_id in purges:
        run(worker_services, purge_id)
        assert purge_of(services, purge_id).status == "done"
    with transaction(services, BOSS) as tx, pytest.raises(ConflictError, match="does not wait"):
        approval.approve(tx, terms(services), waiting.run_id)


def test_one_erasure_of_a_stopped_run_can_be_approved_alone(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    _, [chosen, other] = stopped(services, owner_engine)
    with transaction(services, BOSS) as tx:
        approval.approve_purge(tx, terms(services), chosen)
    run(worker_services, chosen)
    run(worker_services, other)
    assert [purge_of(services, each).status for each in (chosen, other)] == ["done", "waiting"]
    with transaction(services, BOSS) as tx, pytest.raises(ConflictError):
        approval.approve_purge(tx, terms(services), chosen)


def test_an_approved_account_with_new_traffic_is_not_erased(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    waiting, purges = stopped(services, owner_engine)
    with transaction(services, BOSS) as tx:
        approval.approve(tx, terms(services), waiting.run_id)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET last_traffic_at = :now"), {"now": NOW})
    for purge_id in purges:
        run(worker_services, purge_id)
        assert purge_of(services, purge_id).status == "cancelled"


def test_a_holders_wish_overrides_a_stopped_run(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    _, [purge_id, _] = stopped(services, owner_engine)
    account_id = purge_of(services, purge_id).account_id
    assert account_id is not None
    with transaction(services) as tx:
        closed = purge.request_erasure(tx, services.policy, account_id, 1)
    assert (closed.purge_id, closed.status, closed.trigger) == (purge_id, "planned", "request")
    run(worker_services, purge_id)
    assert purge_of(services, purge_id).status == "done"


def test_another_service_sees_and_approves_nothing(services: Services, owner_engine: Engine) -> None:
    waiting, [purge_id, _] = stopped(services, owner_engine)
    stranger = Actor("client", str(uuid4()), "intesis")
    with transaction(services, stranger) as tx:
        for call in (
            lambda: approval.approve(tx, terms(services), waiting.run_id),
            lambda: approval.approve_purge(tx, terms(services), purge_id),
            lambda: runs.read_run(tx, waiting.run_id),
            lambda: approval.approve(tx, terms(services), uuid4()),
        ):
            with pytest.raises(NotFoundError):
                call()
        assert runs.list_runs(tx, after=None, limit=5) == []


def test_plans_come_in_order_and_leave_a_trail(services: Services, owner_engine: Engine) -> None:
    make_account(services, created_at=LONG_AGO)
    first, second = propose(services, owner_engine)[0], propose(services, owner_engine)[0]
    with transaction(services) as tx:
        assert [each.run_id for each in runs.list_runs(tx, after=None, limit=1)] == [first.run_id, second.run_id]
        assert [each.run_id for each in runs.list_runs(tx, after=first.run_id, limit=1)] == [second.run_id]
    trail = [row for row in every_row(owner_engine)["audit_events"] if str(first.run_id) in row]
    assert [sum(action in row for row in trail) for action in ("purge_run.plan", "purge_run.read")] == [1, 1]


def test_ten_thousand_due_accounts_are_planned_at_once(services: Services, owner_engine: Engine) -> None:
    with owner_engine.begin() as connection:
        statement = """INSERT INTO accounts (account_id, service, status, profile, created_at, version)
                       SELECT gen_random_uuid(), 'talk2m', 'active', '', '2018-08-01', 1 FROM generate_series(1, 10000)"""
        connection.execute(text(statement))
        notices = """INSERT INTO notices SELECT account_id, '2025-08-02', 7, '2025-07-01', 0 FROM accounts"""
        connection.execute(text(notices))
    assert len(plan(services, owner_engine)) == runs.WOKEN_AT_ONCE, "the sweep wakes the others"
    with transaction(services) as tx:
        assert len(purge.waiting(tx, 20_000)) == 10_000
