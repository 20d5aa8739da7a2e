"""Erasures by real workers, which are killed, doubled, forgotten by the queue, and still do it once and wholly."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import traffic
from cloudpriv.controller.traffic_records import Batch, Record
from cloudpriv.retention import purge
from tests.exports import make_sessions, stored
from tests.factories import BACKEND, make_account, make_device, transaction
from tests.patience import PATIENCE
from tests.purges import (
    LONG_AGO,
    age_lease,
    await_blocked,
    checksums_of_others,
    ledger,
    let_it_age,
    make_full_account,
    order,
    purge_of,
    rows_of,
)
from tests.stack import TestDatabase, every_row
from workers.sweep import Sweep

RECORDS = 50_000
BURST = [
    sys.executable,
    "-c",
    "from cloudpriv import config; from workers import main; main.run(config.load('worker'), burst=True)",
]
# Which row somebody else has locked when the worker is killed, and the step that waits for it.
STEPS = {
    "keys": "SELECT FROM accounts WHERE account_id = :id FOR UPDATE",
    "rows": "SELECT FROM traffic WHERE account_id = :id ORDER BY ctid OFFSET 25000 LIMIT 1 FOR UPDATE",
    "verify": "SELECT FROM traffic WHERE account_id = :id ORDER BY ctid DESC LIMIT 1 FOR UPDATE",
}


@contextmanager
def worker(database: TestDatabase) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that ends when the queue is empty; killed if it is still there."""
    process = subprocess.Popen(BURST, env=database.environment("controller"))
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)


def work(database: TestDatabase) -> None:
    """Let a worker do all there is to do."""
    with worker(database) as process:
        assert process.wait(PATIENCE) == 0


def wait_until_blocked(owner: Engine, process: subprocess.Popen[bytes]) -> None:
    assert await_blocked(owner, lambda: process.poll() is not None), "the worker ended without waiting"


@pytest.fixture
def account_id(services: Services, owner_engine: Engine) -> UUID:
    """A due account with 50,000 records and something in every other table, beside another account."""
    make_full_account(services)
    account_id = make_full_account(services)
    with owner_engine.connect() as connection:
        device_id = connection.scalar(text("SELECT device_id FROM devices WHERE account_id = :id"), {"id": account_id})
    make_sessions(owner_engine, account_id, device_id, RECORDS)
    let_it_age(owner_engine, account_id)
    services.redis.flushall()  # no job is left but the test's
    return account_id


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_killed_in_a_step_is_followed_by_another(
    services: Services, worker_services: Services, database: TestDatabase, owner_engine: Engine, account_id: UUID, step: str
) -> None:
    purge_id = order(services, owner_engine, account_id, services.clock())
    filled, others = rows_of(owner_engine, account_id), checksums_of_others(owner_engine, account_id)
    with worker(database) as first, owner_engine.begin() as somebody:
        somebody.execute(text(STEPS[step]), {"id": account_id})
        wait_until_blocked(owner_engine, first)
        first.kill()
        first.wait(PATIENCE)
    reached = purge_of(services, purge_id)
    assert reached.status == ("planned" if step == "keys" else "running")

    age_lease(owner_engine)
    with transaction(worker_services, now=worker_services.clock()) as tx:
        [unfinished] = purge.unfinished(tx)
    services.controller.enqueue("purge", unfinished)
    work(database)

    done = purge_of(services, purge_id)
    assert (done.status, done.attempts) == ("done", 1 if step == "keys" else 2)
    assert done.counts == {**filled, "objects": 1}
    assert len(ledger(services)) == 1
    assert checksums_of_others(owner_engine, account_id) == others
    named = {name for name, rows in every_row(owner_engine).items() if any(str(account_id) in row for row in rows)}
    assert named == {"audit_events"}
    assert stored(services, account_id) == []


def test_two_workers_at_once_erase_once(
    services: Services, database: TestDatabase, owner_engine: Engine, account_id: UUID
) -> None:
    purge_id = order(services, owner_engine, account_id, services.clock())
    filled = rows_of(owner_engine, account_id)
    services.controller.enqueue("purge", purge_id)
    with worker(database) as first, worker(database) as second:
        assert (first.wait(PATIENCE), second.wait(PATIENCE)) == (0, 0)
    done = purge_of(services, purge_id)
    assert (done.status, done.attempts, done.counts) == ("done", 1, {**filled, "objects": 1})


def test_an_emptied_queue_delays_an_erasure_and_loses_nothing(
    services: Services, worker_services: Services, database: TestDatabase, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    purge_id = order(services, owner_engine, account_id, services.clock())
    services.redis.flushall()
    work(database)
    assert purge_of(services, purge_id).status == "planned"
    age_lease(owner_engine)
    Sweep()(worker_services)
    work(database)
    assert purge_of(services, purge_id).status == "done"


def test_traffic_that_comes_before_the_worker_saves_the_account(
    services: Services, database: TestDatabase, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    serial = make_device(services, account_id).identity["serial"]
    purge_id = order(services, owner_engine, account_id, services.clock())
    assert send(services, account_id, serial)
    work(database)
    assert purge_of(services, purge_id).status == "cancelled"
    assert send(services, account_id, serial, "another")


def send(services: Services, account_id: UUID, serial: str, session: str = "one") -> bool:
    """Whether a record of now is taken."""
    now = services.clock()
    record = Record(account=str(account_id), device=serial, source="radius", session=session, started_at=now)
    with transaction(services, BACKEND, now) as tx:
        return traffic.ingest(tx, Batch([record], range(1))).accepted == 1
