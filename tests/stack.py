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
from sqlalchemy import Engine, create_engine, make_url, select, text
from sqlalchemy.exc import ProgrammingError

from cloudpriv import config, database
from cloudpriv.bootstrap import Services, build
from cloudpriv.config import Role, Settings
from cloudpriv.embedded.stack import Stack
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform import db
from cloudpriv.platform.clock import utc_now

TEMPLATE = "cloudpriv_template"
CHEAP: dict[str, Any] = {"argon2_time_cost": 1, "argon2_memory_kib": 8, "argon2_parallelism": 1}
numbers = count()


@dataclass(frozen=True)
class TestDatabase:
    """A database of one test and how to reach it as each role."""

    __test__ = False

    stack: Stack = field(hash=False, compare=False)
    name: str = field(hash=False, compare=False)

    def url(self, role: Role) -> str:
        """The database URL of `role`."""
        variable = config.PREFIX + config.DATABASE_SETTING[role]
        return make_url(self.stack.environment[variable]).set(database=self.name).render_as_string(hide_password=False)

    @property
    def ledger_bucket(self) -> str:
        """A bucket of its own: the ledger of another database would be ahead of this one."""
        return f"ledger-{self.name.replace('_', '-')}"

    def environment(self) -> dict[str, str]:
        """The environment of a process that is to use this database: for tests with real processes."""
        urls = {config.PREFIX + config.DATABASE_SETTING[role]: self.url(role) for role in config.DATABASE_SETTING}
        cheap = {config.PREFIX + name.upper(): str(value) for name, value in CHEAP.items()}
        own = {**urls, **cheap, f"{config.PREFIX}S3_LEDGER_BUCKET": self.ledger_bucket}
        return {**os.environ, **self.stack.environment, **own}

    def settings(self, role: Role) -> Settings:
        """Settings of a process of `role` on this database, hashing at the cheapest."""
        with pytest.MonkeyPatch.context() as environment:
            for name, value in self.stack.environment.items():
                environment.setenv(name, value)
            loaded = config.load(role)
        return replace(loaded, database_url=self.url(role), s3_ledger_bucket=self.ledger_bucket, **CHEAP)

    def engine(self, role: Role) -> Engine:
        """An engine of `role`; the owner may look at everything."""
        return create_engine(self.url(role))

    def services(self, role: Role) -> Services:
        """Services of a process of `role` on this database; the object store's client is slow to make and shared."""
        settings, shared = self.settings(role), _shared_services(self.stack.environment["CLOUDPRIV_REDIS_URL"], self)
        engine = db.connect(settings.database_url, pool_size=settings.web_threads + 1)
        own_plane, own_ledger = replace(shared.controller, engine=engine), shared.exports.of_bucket(self.ledger_bucket)
        return replace(shared, settings=settings, controller=own_plane, ledger=own_ledger)


def migrate_template(stack: Stack) -> None:
    """Make the template that test databases are copied from."""
    template = TestDatabase(stack, TEMPLATE)
    _administer(stack, f"CREATE DATABASE {TEMPLATE}")
    engine = template.engine("migration")
    database.upgrade(engine)
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
    for _ in range(100):
        try:
            return _administer(stack, f"DROP DATABASE {name} WITH (FORCE)")
        except ProgrammingError:
            time.sleep(0.1)
    raise TimeoutError(name)


def every_row(engine: Engine) -> dict[str, list[str]]:
    """The text of every row of every table, for looking whether something is anywhere."""
    with engine.connect() as connection:
        return {
            table.name: [str(row[0]) for row in connection.execute(select(text("t::text")).select_from(table.alias("t")))]
            for table in CONTROLLER.sorted_tables
        }


@cache
def _shared_services(_stack: str, database: TestDatabase) -> Services:
    return build(database.settings("api"), now=utc_now)


def _administer(stack: Stack, statement: str) -> None:
    engine = create_engine(stack.environment["CLOUDPRIV_MIGRATION_DATABASE_URL"], isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
    finally:
        engine.dispose()
