"""Real workers, stopped in the middle of an archive."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine

from cloudpriv.bootstrap import Services
from cloudpriv.rights import export, requests
from cloudpriv.rights.leases import LEASE
from cloudpriv.rights.tables import Export
from tests.exports import ask, make_sessions, open_archive, run, stored
from tests.factories import make_account, make_device, transaction
from tests.stack import TestDatabase

SESSIONS = 250_000  # an archive of a second or two
WORKER = "from cloudpriv import config; from workers import main; main.run(config.load('worker'), burst=True)"
PATIENCE = 60.0


@contextmanager
def worker(database: TestDatabase) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process, which ends with the last job; killed if it is still there."""
    process = subprocess.Popen([sys.executable, "-c", WORKER], env=database.environment(), stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def wait_for_upload(services: Services, account_id: UUID) -> None:
    deadline = time.monotonic() + PATIENCE
    while not services.exports.unfinished(f"exports/{account_id}/"):
        assert time.monotonic() < deadline, "no worker began"
        time.sleep(0.005)


@pytest.fixture
def account_id(services: Services, owner_engine: Engine) -> UUID:
    account_id = make_account(services).row.account_id
    make_sessions(owner_engine, account_id, make_device(services, account_id).row.device_id, SESSIONS)
    return account_id


def over(services: Services) -> datetime:
    """A time at which every lease of now is over."""
    return services.clock() + LEASE + timedelta(seconds=1)


def state(services: Services, export_id: UUID) -> Export:
    with transaction(services, now=services.clock()) as tx:
        return requests.read_export(tx, export_id)


def test_a_worker_killed_in_the_middle_of_an_archive_is_followed_by_another(
    services: Services, worker_services: Services, database: TestDatabase, account_id: UUID
) -> None:
    export_id = ask(services, account_id, services.clock())
    with worker(database) as first:
        wait_for_upload(services, account_id)
        first.kill()
        first.wait(PATIENCE)
    assert state(services, export_id).status == "running"
    with transaction(services, now=over(services)) as tx:
        assert export.unfinished(tx) == [export_id]
    run(worker_services, export_id, over(services))
    ready = state(services, export_id)
    assert (ready.status, ready.attempts) == ("ready", 2)
    assert stored(services, account_id) == [ready.object_key]
    assert open_archive(services, export_id, services.clock()).read("traffic.csv").count(b"\n") == SESSIONS + 1


def test_a_worker_that_wakes_up_after_another_took_over_leaves_its_archive_alone(
    services: Services, worker_services: Services, database: TestDatabase, account_id: UUID
) -> None:
    export_id = ask(services, account_id, services.clock())
    with worker(database) as first:
        wait_for_upload(services, account_id)
        first.send_signal(signal.SIGSTOP)
        run(worker_services, export_id, over(services))
        ready = state(services, export_id)
        first.send_signal(signal.SIGCONT)
        assert first.wait(PATIENCE) == 0
    assert (ready.status, ready.attempts) == ("ready", 2)
    assert state(services, export_id).sha256 == ready.sha256
    assert stored(services, account_id) == [ready.object_key]
    assert open_archive(services, export_id, services.clock()).testzip() is None
