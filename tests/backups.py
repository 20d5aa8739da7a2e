"""Backups of a test's database by PostgreSQL's own programs: pg_dump, and pg_restore into an empty one of the same name."""

import subprocess
from pathlib import Path

from sqlalchemy import create_engine, make_url

from cloudpriv.database import SCHEMAS, PlaneName
from cloudpriv.embedded import postgres
from tests.patience import PATIENCE
from tests.stack import TestDatabase


def dump(database: TestDatabase, file: Path) -> None:
    """Write all of the database, with its grants, each plane as of one moment and as its owner, who sees no other."""
    for plane, schema in SCHEMAS.items():
        written = [f"--file={file}.{plane}", f"--schema={schema}", "--dbname", _dsn(database, plane)]
        _run("pg_dump", database, plane, "--format=custom", *written)


def restore(database: TestDatabase, file: Path) -> None:
    """Put what the files hold in the place of the database. Nobody may hold on to a connection."""
    url = make_url(database.stack.environment["CLOUDPRIV_MIGRATION_DATABASE_URL"])
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {database.name} WITH (FORCE)")
        connection.exec_driver_sql(f"CREATE DATABASE {database.name} TEMPLATE {postgres.DATABASE}")
    engine.dispose()
    for plane, schema in SCHEMAS.items():
        held, wanted = Path(f"{file}.{plane}"), Path(f"{file}.{plane}.list")
        entries = _run("pg_restore", database, plane, "--list", str(held)).splitlines()
        # The schemas are there; who may use them is to be restored.
        wanted.write_text("\n".join(entry for entry in entries if f" SCHEMA - {schema} " not in entry))
        chosen = ["--exit-on-error", f"--use-list={wanted}", "--dbname", _dsn(database, plane)]
        _run("pg_restore", database, plane, *chosen, str(held))


def _dsn(database: TestDatabase, plane: PlaneName) -> str:
    url = make_url(database.url("migration", plane))
    return f"host={url.query['host']} user={url.username} dbname={database.name}"


def _run(program: str, database: TestDatabase, plane: PlaneName, *arguments: str) -> str:
    command = [str(postgres.program().with_name(program)), "--no-password", *arguments]
    environment = {"PGPASSWORD": str(make_url(database.url("migration", plane)).password)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
