"""The schema of each plane's database: bring it up to date, and check that it is. The engine is of that plane's owner."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Final, Literal

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, create_engine

from cloudpriv.config import load, load_processor
from cloudpriv.metadata import CONTROLLER, PROCESSOR
from cloudpriv.platform.db import CONTROLLER_SCHEMA, PROCESSOR_SCHEMA

PlaneName = Literal["controller", "processor"]

LOCK: Final = 7_235_001  # any number, the same for every `db upgrade`, so that two of them take turns
TURN_SECONDS: Final = 0.5
TABLES: Final[dict[PlaneName, MetaData]] = {"controller": CONTROLLER, "processor": PROCESSOR}
SCHEMAS: Final[dict[PlaneName, str]] = {"controller": CONTROLLER_SCHEMA, "processor": PROCESSOR_SCHEMA}


@contextmanager
def owner_engine(plane: PlaneName = "controller") -> Iterator[Engine]:
    """An engine of the owner of a plane's tables, as the environment names it. Raises SettingsError."""
    named = load("migration") if plane == "controller" else load_processor("migration")
    options = {"options": f"-c search_path={SCHEMAS[plane]}"}
    engine = create_engine(named.database_url, hide_parameters=True, connect_args=options)
    try:
        yield engine
    finally:
        engine.dispose()


def upgrade_named() -> str:
    """Apply all revisions of both planes to the databases that the environment names; the controller plane's newest."""
    for plane in TABLES:
        with owner_engine(plane) as engine:
            upgrade(engine, plane)
    return head()


def upgrade(engine: Engine, plane: PlaneName = "controller") -> str:
    """Apply all revisions, one process at a time; the revision that the database then has."""
    with engine.connect() as connection:
        _take_turn(connection)
        config = _config(plane)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
        connection.exec_driver_sql(f"SELECT pg_advisory_unlock({LOCK})")
        connection.commit()
    return head(plane)


def _take_turn(connection: Connection) -> None:
    """Wait for other upgrades, but not within a statement: making an index concurrently waits for those to end."""
    while not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({LOCK})").scalar():
        connection.rollback()
        time.sleep(TURN_SECONDS)
    connection.commit()


def head(plane: PlaneName = "controller") -> str:
    """The newest revision that this version knows."""
    return ScriptDirectory.from_config(_config(plane)).get_current_head() or ""


def current(engine: Engine) -> str | None:
    """The revision of the database, None for an empty one."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def differences(engine: Engine, plane: PlaneName = "controller") -> list[str]:
    """How the database's tables differ from the classified ones; empty when they agree."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [repr(change) for change in compare_metadata(context, TABLES[plane])]


def _config(plane: PlaneName) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files(f"migrations.{plane}")))
    return config
