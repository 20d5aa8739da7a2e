"""Migrations of a database that is in use, and that are killed on their way."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from cloudpriv import database as schema
from tests.purges import await_blocked
from tests.stack import TestDatabase

WRITE: Final = text(
    "INSERT INTO audit_events (event_id, at, actor_kind, actor_id, action, fields) "
    "VALUES (gen_random_uuid(), now(), 'worker', 'x', 'x', '{}')"
)
INDEXES: Final = text(
    "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 'audit_events'::regclass"
)


@pytest.fixture
def released(database: TestDatabase) -> Iterator[Engine]:
    """A database as the last release left it, by its owner."""
    engine = database.engine("migration")
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    with engine.connect() as connection:
        config = schema._config("controller")
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        connection.commit()
    yield engine
    engine.dispose()


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Somebody in the middle of a unit of work that has written to the trail."""
    with engine.connect() as connection:
        connection.execute(WRITE)
        yield connection
        connection.commit()


def indexes(engine: Engine) -> dict[str, bool]:
    with engine.connect() as connection:
        return {name: valid for name, valid in connection.execute(INDEXES) if name.endswith(("_looks", "_subject"))}


WHOLE: Final = {"ix_audit_events_looks": True, "ix_audit_events_subject": True}


def test_the_trail_is_written_to_while_its_indexes_are_made(released: Engine) -> None:
    with ThreadPoolExecutor(1) as threads:
        with writing(released):
            migration = threads.submit(schema.upgrade, released)
            assert await_blocked(released, migration.done)
            with released.begin() as other:
                other.execute(text("SET LOCAL lock_timeout = '5s'"))
                other.execute(WRITE)
        migration.result()
    assert (indexes(released), schema.differences(released)) == (WHOLE, [])


def test_a_migration_that_was_killed_on_an_index_is_done_again(released: Engine) -> None:
    with ThreadPoolExecutor(1) as threads, writing(released) as writer:
        migration = threads.submit(schema.upgrade, released)
        assert await_blocked(released, migration.done)
        writer.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%'"))
        with pytest.raises(SQLAlchemyError):
            migration.result()
    assert indexes(released) == {"ix_audit_events_looks": False}
    assert schema.current(released) == "0003"
    schema.upgrade(released)
    assert (indexes(released), schema.differences(released)) == (WHOLE, [])


def test_a_migration_that_was_killed_after_the_indexes_is_done_again(
    released: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with released.begin() as connection:  # what it meets in the transaction that follows, once
        connection.execute(text("CREATE TABLE policy_announcements ()"))
    with pytest.raises(SQLAlchemyError):
        schema.upgrade(released)
    assert (indexes(released), schema.current(released)) == (WHOLE, "0003")
    with released.begin() as connection:
        connection.execute(text("DROP TABLE policy_announcements"))
    schema.upgrade(released)
    assert (indexes(released), schema.differences(released)) == (WHOLE, [])


def test_two_upgrades_at_once_take_turns(released: Engine) -> None:
    with ThreadPoolExecutor(2) as threads:
        with writing(released):
            both = [threads.submit(schema.upgrade, released) for _ in range(2)]
            assert await_blocked(released, lambda: any(each.done() for each in both))
        assert [each.result() for each in both] == [schema.head()] * 2
    assert (indexes(released), schema.differences(released)) == (WHOLE, [])
