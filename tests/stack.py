"""One embedded stack a run, and a fresh database from a migrated template for every test that asks for one."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, MetaData, create_engine, make_url, select, text
from sqlalchemy.exc import ProgrammingError

from cloudpriv import bootstrap, config, database
from cloudpriv.bootstrap import ProcessorServices, Services, build, build_processor
from cloudpriv.config import ProcessorSettings, Role, Settings
from cloudpriv.database import SCHEMAS, PlaneName
from cloudpriv.embedded.postgres import DATABASE
from cloudpriv.embedded.stack import Stack, of_plane
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform import db
from cloudpriv.platform.clock import utc_now
from tests.patience import PATIENCE

TEMPLATE = "cloudpriv_template"
PREFIXES: dict[PlaneName, str] = {"controller": config.PREFIX, "processor": config.PROCESSOR_PREFIX}
ERASER, TELLER = f"{config.PREFIX}ERASER_DATABASE_URL", f"{config.PROCESSOR_PREFIX}TELLER_DATABASE_URL"
CHEAP: dict[str, Any] = {"argon2_time_cost": 1, "argon2_memory_kib": 8, "argon2_parallelism": 1}
numbers = count()


@dataclass(frozen=True)
class TestDatabase:
    """A database of one test and how to reach it as each role."""

    __test__ = False

    stack: Stack = field(hash=False, compare=False)
    name: str = field(hash=False, compare=False)

    def url(self, role: Role, plane: PlaneName = "controller") -> str:
        """The database URL of `role` of a plane."""
        return self._here(PREFIXES[plane] + config.DATABASE_SETTING[role])

    @property
    def ledger_bucket(self) -> str:
        """A bucket of its own: the ledger of another database would be ahead of this one."""
        return f"ledger-{self.name.replace('_', '-')}"

    @property
    def log_data_bucket(self) -> str:
        """A bucket of its own on the processor plane's server, made when it is first asked for."""
        return _log_data_bucket(self, f"logdata-{self.name.replace('_', '-')}")

    def environment(self, plane: PlaneName | None = None) -> dict[str, str]:
        """The environment of processes of a plane, or of both, that are to use this database: for tests with real ones."""
        urls = {variable: self._here(variable) for variable in self.stack.environment if variable.endswith("DATABASE_URL")}
        cheap = {config.PREFIX + name.upper(): str(value) for name, value in CHEAP.items()}
        buckets = {
            f"{config.PREFIX}S3_LEDGER_BUCKET": self.ledger_bucket,
            f"{config.PROCESSOR_PREFIX}S3_BUCKET": self.log_data_bucket,
        }
        both = {**os.environ, **self.stack.environment, **urls, **cheap, **buckets}
        return both if plane is None else of_plane(both, plane)

    def settings(self, role: Role) -> Settings:
        """Settings of a process of `role` on this database, hashing at the cheapest."""
        with _named(self.stack):
            loaded = config.load(role)
        eraser = self._here(ERASER) if role == "worker" else None
        own: dict[str, Any] = {"database_url": self.url(role), "eraser_database_url": eraser}
        return replace(loaded, s3_ledger_bucket=self.ledger_bucket, **own, **CHEAP)

    def processor_settings(self, role: Role) -> ProcessorSettings:
        """Settings of a process of the processor plane on this database, with a bucket of its own."""
        with _named(self.stack):
            loaded = config.load_processor(role)
        teller = self._here(TELLER) if role == "worker" else None
        return replace(loaded, database_url=self.url(role, "processor"), teller_database_url=teller)

    def engine(self, role: Role, plane: PlaneName = "controller") -> Engine:
        """An engine of `role`; the owner may look at everything of its plane."""
        return db.connect(self.url(role, plane), pool_size=5, schema=SCHEMAS[plane])

    def services(self, role: Role) -> Services:
        """Services of a process of `role` on this database; the object store's client is slow to make and shared."""
        settings, shared = self.settings(role), _shared_services(self.stack.environment["CLOUDPRIV_REDIS_URL"], self)
        engine = db.connect(settings.database_url, pool_size=settings.web_threads + 1)
        own_plane, own_ledger = replace(shared.controller, engine=engine), shared.exports.of_bucket(self.ledger_bucket)
        eraser = bootstrap._eraser(settings)
        return replace(shared, settings=settings, controller=own_plane, ledger=own_ledger, eraser=eraser)

    def processor(self, role: Role) -> ProcessorServices:
        """Services of a process of the processor plane on this database; the object store's client is shared."""
        shared = _shared_processor(self.stack.environment["CLOUDPRIV_REDIS_URL"], self)
        settings = replace(self.processor_settings(role), s3_bucket=self.log_data_bucket)
        engine = db.connect(settings.database_url, pool_size=settings.web_threads + 1, schema=db.PROCESSOR_SCHEMA)
        url = settings.teller_database_url
        teller = None if url is None else bootstrap._across(url, 1, db.CONTROLLER_SCHEMA)
        own_plane, objects = replace(shared.plane, engine=engine), shared.objects.of_bucket(settings.s3_bucket)
        return replace(shared, settings=settings, plane=own_plane, objects=objects, teller=teller)

    def _here(self, variable: str) -> str:
        return make_url(self.stack.environment[variable]).set(database=self.name).render_as_string(hide_password=False)


def migrate_template(stack: Stack) -> None:
    """Make the template that test databases are copied from, itself a copy of what has the empty schema of log data."""
    template = TestDatabase(stack, TEMPLATE)
    _administer(stack, f"CREATE DATABASE {TEMPLATE} TEMPLATE {DATABASE}")
    for plane in SCHEMAS:
        engine = template.engine("migration", plane)
        database.upgrade(engine, plane)
        engine.dispose()


@contextmanager
def fresh_database(stack: Stack) -> Iterator[TestDatabase]:
    """A database and a ledger of its own, and an emptied queue. The database is dropped at the end, whoever is connected."""
    name = f"test_{next(numbers)}"
    redis.Redis.from_url(stack.environment["CLOUDPRIV_REDIS_URL"]).flushall()
    _administer(stack, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    made = TestDatabase(stack, name)
    _shared_services(stack.environment["CLOUDPRIV_REDIS_URL"], made).exports._s3.create_bucket(Bucket=made.ledger_bucket)
    try:
        yield made
    finally:
        _drop(stack, name)


def _drop(stack: Stack, name: str) -> None:
    """Drop it when PostgreSQL's own vacuum, which nobody of us may stop, has left it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            return _administer(stack, f"DROP DATABASE {name} WITH (FORCE)")
        except ProgrammingError:
            time.sleep(0.1)
    raise TimeoutError(name)


def every_row(engine: Engine, tables: MetaData = CONTROLLER) -> dict[str, list[str]]:
    """The text of every row of every table of a plane, for looking whether something is anywhere."""
    with engine.connect() as connection:
        return {
            table.name: [str(row[0]) for row in connection.execute(select(text("t::text")).select_from(table.alias("t")))]
            for table in tables.sorted_tables
        }


@cache
def _shared_services(_stack: str, database: TestDatabase) -> Services:
    return build(database.settings("api"), now=utc_now)


@cache
def _shared_processor(_stack: str, database: TestDatabase) -> ProcessorServices:
    return build_processor(database.processor_settings("api"), now=utc_now)


@cache
def _log_data_bucket(database: TestDatabase, name: str) -> str:
    shared = _shared_processor(database.stack.environment["CLOUDPRIV_REDIS_URL"], database)
    shared.objects._s3.create_bucket(Bucket=name)
    return name


@contextmanager
def _named(stack: Stack) -> Iterator[None]:
    """The environment names the stack's servers while this lasts."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in stack.environment.items():
            environment.setenv(name, value)
        yield


def _administer(stack: Stack, statement: str) -> None:
    engine = create_engine(stack.environment["CLOUDPRIV_MIGRATION_DATABASE_URL"], isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
    finally:
        engine.dispose()
