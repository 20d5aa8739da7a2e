"""Real workers, stopped in the middle of an archive."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from uuid import UUID

import pytest
from sqlalchemy import Engine

from cloudpriv.bootstrap import Services
from cloudpriv.rights import export, requests
from cloudpriv.rights.leases import LEASE
from cloudpriv.rights.tables import Export
from tests.archives import opened_by_a_spreadsheet, require_whole, rows_that_differ, saved
from tests.exports import ask, make_sessions, open_archive, run, stored
from tests.factories import make_account, make_device, transaction
from tests.faults import store
from tests.faults.points import Fault, Points
from tests.faults.stage import ENDPOINT
from tests.patience import PATIENCE
from tests.stack import TestDatabase
from tests.unit.rights.full_account import full_account

SESSIONS = 250_000  # an archive of several parts
PART = "objects: PUT uploadId"
WORKER = "from cloudpriv import config; from workers import main; main.run(config.load('worker'), burst=True)"


@dataclass(frozen=True)
class Worker:
    """A worker process; `struck` once it got its signal."""

    process: subprocess.Popen[bytes]
    struck: Event

    def await_signal(self) -> None:
        """Wait until it is in the middle of an archive."""
        assert self.struck.wait(PATIENCE), "no worker began"


@contextmanager
def worker(database: TestDatabase, sent: signal.Signals) -> Iterator[Worker]:
    """A worker, which ends with the last job; killed if it is still there.

    It gets a signal in the middle of an archive, before the object store sees the first of several parts.
    """
    struck = Event()
    process: Future[subprocess.Popen[bytes]] = Future()

    def strike() -> None:
        process.result(PATIENCE).send_signal(sent)
        struck.set()

    points = Points(lambda _, label: None if struck.is_set() or not label.startswith(PART) else Fault.KILLED_BEFORE)
    points.kill = strike
    environment = database.environment()
    with store.proxied(environment[ENDPOINT], points) as endpoint:
        command = [sys.executable, "-c", WORKER]
        started = subprocess.Popen(command, env={**environment, ENDPOINT: endpoint}, stderr=subprocess.PIPE)
        process.set_result(started)
        try:
            yield Worker(started, struck)
        finally:
            started.kill()
            started.communicate(timeout=PATIENCE)


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
    services: Services,
    worker_services: Services,
    database: TestDatabase,
    owner_engine: Engine,
    account_id: UUID,
    tmp_path: Path,
) -> None:
    export_id = ask(services, account_id, services.clock())
    with worker(database, signal.SIGKILL) as first:
        first.await_signal()
        first.process.wait(PATIENCE)
    assert services.exports.unfinished(f"exports/{account_id}/")
    assert state(services, export_id).status == "running"
    with transaction(services, now=over(services)) as tx:
        assert export.unfinished(tx) == [export_id]
    run(worker_services, export_id, over(services))
    ready = state(services, export_id)
    assert (ready.status, ready.attempts) == ("ready", 2)
    assert stored(services, account_id) == [ready.object_key]
    archive = saved(services, export_id, tmp_path / "archive.zip")
    manifest = require_whole(services, archive)
    assert {each["name"]: each["rows"] for each in manifest["members"]}["traffic.csv"] == SESSIONS
    assert rows_that_differ(owner_engine, archive, account_id) == 0


def test_a_spreadsheet_opens_every_table_and_computes_nothing(
    services: Services, worker_services: Services, owner_engine: Engine, tmp_path: Path
) -> None:
    made = full_account(services, owner_engine)  # whose sessions are of the protocol =1+1
    export_id = ask(services, made.account_id, services.clock())
    run(worker_services, export_id, services.clock())
    archive = saved(services, export_id, tmp_path / "archive.zip")
    for name, rows in (("traffic.csv", 2), ("traffic_by_month.csv", 1), ("access_log.csv", None)):
        shown = opened_by_a_spreadsheet(archive, name, tmp_path)
        assert rows is None or len(shown) == rows + 1
    cells = [line.split(",")[8] for line in opened_by_a_spreadsheet(archive, "traffic.csv", tmp_path)]
    assert cells == ["protocol", "=1+1", "=1+1"]  # not 2: the apostrophe, which it takes away, made a text of it


def test_a_worker_that_wakes_up_after_another_took_over_leaves_its_archive_alone(
    services: Services, worker_services: Services, database: TestDatabase, account_id: UUID
) -> None:
    export_id = ask(services, account_id, services.clock())
    with worker(database, signal.SIGSTOP) as first:
        first.await_signal()
        assert services.exports.unfinished(f"exports/{account_id}/")
        run(worker_services, export_id, over(services))
        ready = state(services, export_id)
        first.process.send_signal(signal.SIGCONT)
        assert first.process.wait(PATIENCE) == 0
    assert (ready.status, ready.attempts) == ("ready", 2)
    assert state(services, export_id).sha256 == ready.sha256
    assert stored(services, account_id) == [ready.object_key]
    assert open_archive(services, export_id, services.clock()).testzip() is None
