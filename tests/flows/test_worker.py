"""A real worker and a real schedule: told to stop, left without a queue, and given one again."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from redis import Redis
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.embedded import valkey
from cloudpriv.embedded.process import Server, await_answer, stop
from cloudpriv.platform import jobs
from cloudpriv.retention import ledger
from cloudpriv.retention.ledger import Entry
from tests.factories import NOW, make_account
from tests.patience import PATIENCE
from tests.purges import LONG_AGO, age_lease, is_blocked, plan, purge_of
from tests.stack import TestDatabase

PASSWORD = "of-this-test-alone"


@contextmanager
def process(command: str, environment: dict[str, str], stderr: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A worker or a schedule that runs until it is told to stop; killed if it does not."""
    started = subprocess.Popen([sys.executable, "-m", "cloudpriv.cli", command], env=environment, stderr=stderr)
    try:
        yield started
    finally:
        started.kill()
        started.communicate(timeout=PATIENCE)


def wait_until(condition: Callable[[], bool], *alive: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert all(each.poll() is None for each in alive), "a process ended"
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def waits_for_jobs(redis: Redis) -> bool:
    """Whether there is a worker and it is ready: one that is only known yet may not heed signals yet."""
    return any(redis.hget(worker, "state") == b"idle" for worker in redis.smembers("rq:workers"))


def is_done(services: Services, purge_id: UUID) -> bool:
    return purge_of(services, purge_id).status == "done"


def test_a_worker_that_is_told_to_stop_finishes_its_job(
    services: Services, database: TestDatabase, owner_engine: Engine
) -> None:
    make_account(services, created_at=LONG_AGO)
    [purge_id] = plan(services, owner_engine)
    with process("worker", database.environment("controller")) as worker:
        with owner_engine.begin() as somebody:
            somebody.execute(text("SELECT FROM accounts FOR UPDATE"))
            wait_until(lambda: is_blocked(owner_engine), worker)
            worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0
    assert is_done(services, purge_id)


def test_an_idle_worker_stops_at_once(services: Services, database: TestDatabase) -> None:
    with process("worker", database.environment("controller")) as worker:
        wait_until(lambda: waits_for_jobs(services.redis), worker)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0


def test_the_schedule_has_a_worker_finish_what_nobody_was_woken_for(
    services: Services, database: TestDatabase, owner_engine: Engine
) -> None:
    make_account(services, created_at=LONG_AGO)
    [purge_id] = plan(services, owner_engine)
    age_lease(owner_engine)
    services.redis.flushall()
    environment = database.environment("controller")
    with process("worker", environment) as worker, process("schedule", environment) as schedule:
        wait_until(lambda: is_done(services, purge_id), worker, schedule)
        schedule.send_signal(signal.SIGTERM)
        assert schedule.wait(PATIENCE) == 143, "as a shell reports SIGTERM"


@pytest.fixture
def queue_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Server]]:
    """Starts a Valkey of this test's own, again and again on the same socket."""
    folder = tmp_path_factory.mktemp("valkey")
    started: list[Server] = []

    def start() -> Server:
        server = valkey.start(folder, folder, PASSWORD, durable=False)
        started.append(server)
        await_answer(server, lambda: valkey.version(valkey.url(folder, PASSWORD)))
        return server

    start.url = valkey.url(folder, PASSWORD)  # type: ignore[attr-defined]  # one thing to hand over
    yield start
    stop(started)


def test_a_worker_outlives_a_queue_that_is_killed_and_comes_back_empty(
    services: Services, database: TestDatabase, owner_engine: Engine, queue_server: Callable[[], Server]
) -> None:
    url: str = queue_server.url  # type: ignore[attr-defined]  # set by the fixture
    make_account(services, created_at=LONG_AGO)
    [purge_id] = plan(services, owner_engine)
    first = queue_server()
    with process("worker", {**database.environment("controller"), "CLOUDPRIV_REDIS_URL": url}) as worker:
        client = Redis.from_url(url)
        wait_until(lambda: waits_for_jobs(client), worker)
        first.process.kill()
        first.process.wait(PATIENCE)
        assert worker.poll() is None
        queue_server()
        client.flushall()
        jobs.Waker(client)("purge", purge_id)
        wait_until(lambda: is_done(services, purge_id), worker)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0
        client.close()


def test_a_worker_that_is_started_before_its_queue_waits_for_it(
    services: Services, database: TestDatabase, owner_engine: Engine, queue_server: Callable[[], Server]
) -> None:
    url: str = queue_server.url  # type: ignore[attr-defined]  # set by the fixture
    make_account(services, created_at=LONG_AGO)
    [purge_id] = plan(services, owner_engine)
    with process("worker", {**database.environment("controller"), "CLOUDPRIV_REDIS_URL": url}) as worker:
        queue_server()
        client = Redis.from_url(url)
        jobs.Waker(client)("purge", purge_id)
        wait_until(lambda: is_done(services, purge_id), worker)
        client.close()


def test_a_restore_beneath_a_running_worker_ends_it_with_one_line(
    services: Services, database: TestDatabase, owner_engine: Engine
) -> None:
    make_account(services, created_at=LONG_AGO)
    with process("worker", database.environment("controller"), stderr=subprocess.PIPE) as worker:
        wait_until(lambda: waits_for_jobs(services.redis), worker)
        [purge_id] = plan(services, owner_engine)
        ledger.store(services.ledger, Entry(bytes(32), "talk2m", "request", "r", "v", {}, NOW))
        jobs.Waker(services.redis)("purge", purge_id)
        said = worker.communicate(timeout=PATIENCE)[1].decode().splitlines()
    assert worker.returncode == 1
    assert said[-1] == "cloudpriv: the database is older than the erasure ledger: run `cloudpriv purge replay`"
    assert purge_of(services, purge_id).step == "keys"
