"""Whoever stops wherever: an erasure is done once, and wholly."""

import threading
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, create_engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform import objectstore
from cloudpriv.platform.errors import (
    BusyError,
)
from cloudpriv.retention import erase, purge
from cloudpriv.retention.lease import LEASE, PAUSE
from tests.exports import make_sessions
from tests.factories import NOW, transaction
from tests.purges import (
    Killed,
    Moments,
    await_blocked,
    close,
    device_of,
    die,
    ledger,
    make_full_account,
    purge_of,
    rows_of,
    run,
    run_with,
)


@pytest.mark.parametrize("moment", range(1, 11))
def test_a_worker_killed_between_any_two_transactions_is_succeeded_by_another(
    services: Services, worker_services: Services, owner_engine: Engine, moment: int
) -> None:
    account_id = make_full_account(services)
    make_sessions(owner_engine, account_id, device_of(owner_engine, account_id), 2 * erase.BATCH + 500)
    filled = rows_of(owner_engine, account_id)
    purge_id = close(services, account_id)
    clock = Moments(moment, die)
    with pytest.raises(Killed):
        run_with(worker_services, purge_id, clock)

    run(worker_services, purge_id, NOW + LEASE - timedelta(seconds=1))
    assert purge_of(services, purge_id).status == ("done" if moment == 1 else "running"), "its lease had not run out"
    run(worker_services, purge_id, NOW + LEASE)
    done = purge_of(services, purge_id)
    assert (done.status, done.attempts) == ("done", 1 if moment == 1 else 2)
    assert done.counts == {**filled, "objects": 1}, "counted once, whoever did it"
    assert len(ledger(services)) == 1
    assert not any(rows_of(owner_engine, account_id).values())


def test_the_moments_above_are_all_there_are(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    account_id = make_full_account(services)
    make_sessions(owner_engine, account_id, device_of(owner_engine, account_id), 2 * erase.BATCH + 500)
    clock = Moments(0, die)
    run_with(worker_services, close(services, account_id), clock)
    assert clock.read == 10


def test_a_store_that_is_away_delays_the_purge_and_loses_nothing(services: Services, worker_services: Services) -> None:
    account_id = make_full_account(services)
    purge_id = close(services, account_id)
    nowhere = objectstore.connect(
        "bucket", region="none", endpoint="http://127.0.0.1:1", access_key_id="none", secret_access_key="none"
    )
    with pytest.raises(BusyError):
        purge.run(
            worker_services.controller, replace(services.stores, objects=nowhere), services.policy, purge_id, lambda: NOW
        )
    assert ledger(services) == []
    run(worker_services, purge_id, NOW + LEASE)
    assert purge_of(services, purge_id).status == "done"


@pytest.mark.parametrize("moment", range(2, 11))
def test_a_lost_connection_delays_the_purge_and_loses_nothing(
    services: Services, worker_services: Services, owner_engine: Engine, moment: int
) -> None:
    account_id = make_full_account(services)
    make_sessions(owner_engine, account_id, device_of(owner_engine, account_id), 2 * erase.BATCH + 500)
    filled = rows_of(owner_engine, account_id)
    purge_id = close(services, account_id)
    with pytest.raises(BusyError):
        run_with(worker_services, purge_id, Moments(moment, lambda: end_connections(worker_services)))
    run(worker_services, purge_id, NOW + LEASE)
    done = purge_of(services, purge_id)
    assert (done.status, done.counts) == ("done", {**filled, "objects": 1})


def end_connections(services: Services) -> None:
    """What a restart of PostgreSQL does to a worker."""
    other = create_engine(services.settings.database_url)
    with other.connect() as connection:
        mine = (
            "FROM pg_stat_activity WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert connection.execute(text(f"SELECT pg_terminate_backend(pid, 5000) {mine}")).all()
    other.dispose()


def test_objects_are_counted_once_though_the_worker_stopped_among_them(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    services.exports.put_stream(f"exports/{account_id}/second.zip", [b"archive"], confirm=lambda: None)
    purge_id = close(services, account_id)
    with pytest.raises(Killed):
        run_with(worker_services, purge_id, Moments(4, die))
    assert purge_of(services, purge_id).counts["objects"] == 2
    # As it would be had only the first been erased.
    services.exports.put_stream(f"exports/{account_id}/second.zip", [b"archive"], confirm=lambda: None)
    run(worker_services, purge_id, NOW + LEASE)
    done = purge_of(services, purge_id)
    assert (done.status, done.counts["objects"]) == ("done", 2)


def test_two_workers_on_one_purge_erase_once(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    account_id = make_full_account(services)
    make_sessions(owner_engine, account_id, device_of(owner_engine, account_id), 3 * erase.BATCH)
    filled = rows_of(owner_engine, account_id)
    purge_id = close(services, account_id)
    workers = [threading.Thread(target=run, args=(worker_services, purge_id)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    done = purge_of(services, purge_id)
    assert (done.status, done.attempts) == ("done", 1)
    assert done.counts == {**filled, "objects": 1}


def test_a_worker_whose_lease_was_taken_over_changes_nothing_more(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    purge_id = close(services, account_id)

    def overtake() -> None:
        run(worker_services, purge_id, NOW + LEASE)

    run_with(worker_services, purge_id, Moments(3, overtake))
    done = purge_of(services, purge_id)
    assert (done.status, done.attempts, done.finished_at) == ("done", 2, NOW + LEASE)
    assert len(ledger(services)) == 1


def test_a_purge_that_does_not_exist_is_nothing_to_do(worker_services: Services) -> None:
    run(worker_services, UUID(int=0))


def test_what_met_a_server_away_is_tried_again_in_a_moment(services: Services, worker_services: Services) -> None:
    purge_id = close(services, make_full_account(services))
    nowhere = objectstore.connect(
        "bucket", region="none", endpoint="http://127.0.0.1:1", access_key_id="none", secret_access_key="none"
    )
    stores = replace(services.stores, objects=nowhere)
    with pytest.raises(BusyError):
        purge.run(worker_services.controller, stores, services.policy, purge_id, lambda: NOW)
    with transaction(services, now=NOW + PAUSE) as tx:
        assert purge.unfinished(tx) == [purge_id]
    run(worker_services, purge_id, NOW + PAUSE)
    assert purge_of(services, purge_id).status == "done"


def test_a_look_at_a_purge_does_not_turn_its_worker_away(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    purge_id = close(services, account_id)
    with owner_engine.connect() as somebody:

        def look() -> None:
            somebody.execute(text("SELECT FROM purges FOR UPDATE"))

        clock = Moments(3, look)
        worker = threading.Thread(target=run_with, args=(worker_services, purge_id, clock))
        worker.start()
        assert await_blocked(owner_engine, lambda: not worker.is_alive()), "it went away"
        somebody.rollback()
    worker.join()
    assert (purge_of(services, purge_id).status, purge_of(services, purge_id).attempts) == ("done", 1)
