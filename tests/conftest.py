"""Fixtures: one stack a run, one database a test."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import Engine, event

from cloudpriv.bootstrap import ProcessorServices, Services
from cloudpriv.embedded.stack import Stack, running
from tests.stack import TestDatabase, fresh_database, migrate_template

MEMORY, ENOUGH_BYTES = Path("/dev/shm"), 2 * 2**30  # noqa: S108 (a folder of its own is made in it)


def pytest_configure() -> None:
    """Let SIGINT end what tests start: a shell has what runs in its background ignore it, and processes pass that on."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The embedded stack of this process, started when the first test asks for it.

    In memory where there is room: a database is then copied for a test in a third of the time.
    """
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH_BYTES
    with (
        TemporaryDirectory(prefix="cloudpriv-", dir=MEMORY if roomy else tmp_path_factory.mktemp("stack")) as folder,
        running(Path(folder), durable=False) as started,
    ):
        migrate_template(started)
        yield started


@pytest.fixture
def database(stack: Stack) -> Iterator[TestDatabase]:
    """A fresh, migrated, empty database."""
    with fresh_database(stack) as made:
        yield made


@pytest.fixture
def services(database: TestDatabase) -> Iterator[Services]:
    """Services of the API on this test's database."""
    built = database.services("api")
    yield built
    built.controller.engine.dispose()
    built.redis.close()


@pytest.fixture
def worker_services(database: TestDatabase) -> Iterator[Services]:
    """Services of a worker on this test's database."""
    built = database.services("worker")
    yield built
    built.controller.engine.dispose()
    if built.eraser is not None:
        built.eraser.engine.dispose()
    built.redis.close()


@pytest.fixture
def processor(database: TestDatabase) -> Iterator[ProcessorServices]:
    """Services of the processor plane's API on this test's database, with a bucket of its own."""
    built = database.processor("api")
    yield built
    built.plane.engine.dispose()
    built.redis.close()


@pytest.fixture
def processor_worker(database: TestDatabase) -> Iterator[ProcessorServices]:
    """Services of a worker of the processor plane on this test's database and the same bucket."""
    built = database.processor("worker")
    yield built
    built.plane.engine.dispose()
    if built.teller is not None:
        built.teller.engine.dispose()
    built.redis.close()


@pytest.fixture
def owner_engine(database: TestDatabase) -> Iterator[Engine]:
    """The owner's engine, which sees every table."""
    engine = _patient(database.engine("migration"))
    yield engine
    engine.dispose()


@pytest.fixture
def processor_owner(database: TestDatabase) -> Iterator[Engine]:
    """The engine of the processor plane's owner, which sees every table of log data."""
    engine = _patient(database.engine("migration", "processor"))
    yield engine
    engine.dispose()


def _patient(engine: Engine) -> Engine:
    """The same; what holds a lock until some process comes to it may do so for as long as that takes."""

    @event.listens_for(engine, "connect")
    def let_idle(connection: Any, _: object) -> None:
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        connection.commit()

    return engine
