"""The schema of the controller plane's database: bring it up to date, and check that it is."""

from importlib.resources import files

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from cloudpriv.metadata import CONTROLLER

LOCK = 7_235_001  # any number, the same for every `db upgrade`, so that two of them take turns


def upgrade(engine: Engine) -> str:
    """Apply all revisions, one process at a time; the revision that the database then has. The URL is the owner's."""
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({LOCK})")
        connection.commit()
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
        connection.exec_driver_sql(f"SELECT pg_advisory_unlock({LOCK})")
        connection.commit()
    return head()


def head() -> str:
    """The newest revision that this version knows."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def current(engine: Engine) -> str | None:
    """The revision of the database, None for an empty one."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def differences(engine: Engine) -> list[str]:
    """How the database's tables differ from the classified ones; empty when they agree."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [repr(change) for change in compare_metadata(context, CONTROLLER)]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("migrations.controller")))
    return config
