"""Backups of a test's database by PostgreSQL's own programs: pg_dump, and pg_restore into an empty one of the same name."""

import subprocess
from pathlib import Path

from sqlalchemy import create_engine, make_url

from cloudpriv.embedded import postgres
from tests.stack import TestDatabase

PATIENCE = 120


def dump(database: TestDatabase, file: Path) -> None:
    """Write all of the database, with its grants, as of one moment."""
    _run("pg_dump", database, "--format=custom", f"--file={file}", "--dbname", _dsn(database))


def restore(database: TestDatabase, file: Path) -> None:
    """Put what the file holds in the place of the database. Nobody may hold on to a connection."""
    url = make_url(database.stack.environment["CLOUDPRIV_MIGRATION_DATABASE_URL"])
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {database.name} WITH (FORCE)")
        connection.exec_driver_sql(f"CREATE DATABASE {database.name} TEMPLATE template0")
    engine.dispose()
    _run("pg_restore", database, "--exit-on-error", "--dbname", _dsn(database), str(file))


def _dsn(database: TestDatabase) -> str:
    url = make_url(database.url("migration"))
    return f"host={url.query['host']} user={url.username} dbname={database.name}"


def _run(program: str, database: TestDatabase, *arguments: str) -> None:
    command = [str(postgres.program().with_name(program)), "--no-password", *arguments]
    environment = {"PGPASSWORD": str(make_url(database.url("migration")).password)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
