"""What is planned, what cancels it, and what its holder closes."""

import threading

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform.errors import (
    AccountClosingError,
    AccountRestrictedError,
    NotDueError,
    NotFoundError,
    StaleError,
)
from cloudpriv.retention import purge, runs
from cloudpriv.retention.lease import LEASE
from tests.exports import stored
from tests.factories import BACKEND, NOW, make_account, transaction
from tests.purges import (
    LONG_AGO,
    await_blocked,
    close,
    ledger,
    let_it_age,
    make_full_account,
    plan,
    purge_of,
    rows_of,
    run,
    terms,
)
from tests.stack import every_row


def test_new_traffic_between_plan_and_run_cancels(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    let_it_age(owner_engine, account_id)
    [purge_id] = plan(services, owner_engine)
    let_it_age(owner_engine, account_id, NOW)
    before = every_row(owner_engine)
    run(worker_services, purge_id)
    after = every_row(owner_engine)
    assert purge_of(services, purge_id).status == "cancelled"
    assert {name for name in before if before[name] != after[name]} == {"purges", "audit_events", "log_pending"}
    assert stored(services, account_id)
    let_it_age(owner_engine, account_id)
    run(worker_services, purge_id)
    assert purge_of(services, purge_id).status == "cancelled", "a cancelled purge stays so"
    [again] = plan(services, owner_engine)
    run(worker_services, again)
    named = {name for name, rows in every_row(owner_engine).items() if any(str(account_id) in row for row in rows)}
    assert named == {"audit_events"}, "cancelled purges forget the account too"


def test_traffic_that_holds_the_account_while_it_is_rechecked_cancels(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    [purge_id] = plan(services, owner_engine)
    worker = threading.Thread(target=run, args=(worker_services, purge_id))
    with owner_engine.begin() as ingest:
        ingest.execute(text("SELECT FROM accounts WHERE account_id = :id FOR NO KEY UPDATE"), {"id": account_id})
        worker.start()
        assert await_blocked(owner_engine, lambda: not worker.is_alive())
        ingest.execute(text("UPDATE accounts SET last_traffic_at = :now"), {"now": NOW})
    worker.join()
    assert purge_of(services, purge_id).status == "cancelled"
    assert rows_of(owner_engine, account_id)["account_keys"] == 1


@pytest.mark.parametrize("status", ["restricted"])
def test_an_account_restricted_after_its_plan_is_not_purged(
    services: Services, worker_services: Services, owner_engine: Engine, status: str
) -> None:
    make_account(services, created_at=LONG_AGO)
    [purge_id] = plan(services, owner_engine)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = :status"), {"status": status})
    run(worker_services, purge_id)
    assert purge_of(services, purge_id).status == "cancelled"


def test_what_is_planned_twice_is_planned_once(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    [planned] = plan(services, owner_engine)
    assert plan(services, owner_engine) == []
    with transaction(services) as tx:
        assert runs.plan_account(tx, terms(services), account_id).purge_id == planned
    with transaction(services, now=NOW + LEASE) as tx:
        assert purge.unfinished(tx) == [planned]


def test_only_a_due_account_can_be_planned(services: Services) -> None:
    fresh = make_account(services).row.account_id
    theirs = make_account(services, service="intesis", created_at=LONG_AGO).row.account_id
    with transaction(services, BACKEND) as tx, pytest.raises(NotDueError):
        runs.plan_account(tx, terms(services), fresh)
    with transaction(services, BACKEND) as tx, pytest.raises(NotFoundError):
        runs.plan_account(tx, terms(services), theirs)


def test_a_closed_account_is_erased_however_fresh(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    let_it_age(owner_engine, account_id, NOW)
    purge_id = close(services, account_id)
    with transaction(services) as tx:
        assert tx.session.scalar(text("SELECT status FROM accounts")) == "closing"
        with pytest.raises(AccountClosingError):
            purge.request_erasure(tx, services.policy, account_id, 2)
    run(worker_services, purge_id)
    [entry] = ledger(services)
    assert (entry.trigger, entry.rule) == ("request", runs.ON_REQUEST)


def test_closing_an_account_that_the_policy_planned_leaves_one_purge(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    let_it_age(owner_engine, account_id)
    [planned] = plan(services, owner_engine)
    assert close(services, account_id) == planned
    let_it_age(owner_engine, account_id, NOW)
    run(worker_services, planned)
    assert purge_of(services, planned).status == "done", "new traffic does not keep what its holder closed"


def test_closing_needs_the_current_version_and_an_unrestricted_account(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    with transaction(services) as tx, pytest.raises(StaleError):
        purge.request_erasure(tx, services.policy, account_id, 2)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'restricted'"))
    with transaction(services) as tx, pytest.raises(AccountRestrictedError):
        purge.request_erasure(tx, services.policy, account_id, 1)
    assert every_row(owner_engine)["purges"] == []
