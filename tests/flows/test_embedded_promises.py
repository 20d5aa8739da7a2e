"""What a running embedded stack promises: versions, roles, and that nothing of it is open to others."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import make_url

from cloudpriv.embedded.credentials import credentials_in
from cloudpriv.embedded.stack import Stack, running
from tests.flows.embedded_data import API, OWNER, WORKER, connect


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of this module's own, without tables."""
    with running(tmp_path_factory.mktemp("promises"), durable=False) as started:
        yield started


def test_the_versions_are_those_of_the_servers(stack: Stack) -> None:
    assert stack.versions["PostgreSQL"].startswith("18.")
    assert stack.versions["Valkey"].startswith("9.")
    assert stack.versions["rclone"].startswith("1.")


def test_the_database_is_utf_8_in_utc_and_only_its_owner_may_make_things(stack: Stack) -> None:
    with connect(stack.environment) as database:
        assert database.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        assert database.execute("SHOW timezone").fetchone() == ("UTC",)
        assert database.execute("SHOW listen_addresses").fetchone() == ("",)
        assert database.execute("SELECT lower('Å')").fetchone() == ("å",)
        database.execute("CREATE TABLE mine (a int)")
        database.execute("CREATE ROLE another")
        database.execute("CREATE DATABASE another")
    for name in (API, WORKER):
        with connect(stack.environment, name) as limited:
            for statement in (
                "SELECT * FROM mine",
                "CREATE TABLE theirs (a int)",
                "CREATE DATABASE theirs",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    limited.execute(statement)


def test_no_role_is_a_member_or_an_administrator_of_another(stack: Stack) -> None:
    with connect(stack.environment) as database:
        ours = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'cloudpriv%'"
        assert len(database.execute(ours).fetchall()) == 8
        members = "SELECT 1 FROM pg_auth_members WHERE roleid::regrole::text LIKE 'cloudpriv%'"
        assert database.execute(members).fetchall() == []


def test_the_schema_of_log_data_is_made_and_only_its_owner_may_use_it(stack: Stack) -> None:
    urls = [name for name in stack.environment if name.endswith("DATABASE_URL")]
    assert len(urls) == 8
    for name in urls:
        with connect(stack.environment, name) as database:
            may = "SELECT has_schema_privilege('processor', '{}') FROM pg_namespace WHERE nspname = 'processor'"
            found = [database.execute(may.format(right)).fetchone() for right in ("USAGE", "CREATE")]
            is_owner = name == "CLOUDPRIV_PROCESSOR_MIGRATION_DATABASE_URL"
            assert found == [(is_owner,)] * 2, name


def test_there_is_no_way_in_without_a_password_nor_as_superuser(stack: Stack) -> None:
    host = str(make_url(stack.environment[OWNER]).query["host"])
    for user in ("cloudpriv_owner", "postgres"):
        for password in ("", "postgres"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(host=host, user=user, password=password, dbname="cloudpriv")
    with (
        redis.Redis(unix_socket_path=f"{host}/valkey.sock", retry=Retry(NoBackoff(), 0)) as cache,
        pytest.raises(redis.AuthenticationError),
    ):
        cache.ping()
    with connect(stack.environment) as database:
        superusers = database.execute("SELECT rolname FROM pg_roles WHERE rolsuper").fetchall()
        assert superusers == [("postgres",)]


def test_only_loopback_is_listened_on(stack: Stack) -> None:
    sockets = {
        os.readlink(file)  # noqa: PTH115  its targets are not paths
        for pid in stack.pids.values()
        for file in Path("/proc", str(pid), "fd").iterdir()
        if file.is_symlink()
    }
    listening = [
        row[1].rsplit(":", 1)
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        if Path(table).exists()
        for row in (line.split() for line in Path(table).read_text().splitlines()[1:])
        if row[3] == "0A" and f"socket:[{row[9]}]" in sockets
    ]
    endpoints = (stack.environment[f"CLOUDPRIV_{plane}S3_ENDPOINT"] for plane in ("", "PROCESSOR_"))
    ports = {int(endpoint.rsplit(":", 1)[1]) for endpoint in endpoints}
    assert sorted(listening) == sorted(["0100007F", f"{port:04X}"] for port in ports)
    assert len(ports) == 2


def test_secrets_are_in_no_command_line_and_no_open_file(stack: Stack) -> None:
    secrets = list(vars(credentials_in(stack.folder)).values())
    for pid in stack.pids.values():
        command = Path("/proc", str(pid), "cmdline").read_text()
        assert not [secret for secret in secrets if secret in command]
    for file in stack.folder.rglob("*"):
        # Closed by its own mode or by a sub-folder's: the mode of the folder itself is its maker's business.
        way = [place for place in (file, *file.parents) if stack.folder in place.parents]
        assert any(stat.S_IMODE(place.stat().st_mode) & 0o077 == 0 for place in way), file
    logs = "".join(file.read_text() for file in stack.folder.glob("*/server.log"))
    assert not [secret for secret in secrets if secret in logs]


def test_values_of_failed_statements_stay_out_of_the_log(stack: Stack) -> None:
    with connect(stack.environment) as database:
        database.execute("CREATE TABLE people (name text UNIQUE)")
        database.execute("INSERT INTO people VALUES ('Astrid')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            database.execute("INSERT INTO people VALUES (%s)", ("Astrid",))
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            database.execute("SELECT 'Astrid'::int")
        with pytest.raises(psycopg.errors.SyntaxError):
            database.execute("Astrid")
        database.execute("DO $$ BEGIN RAISE WARNING 'Astrid'; END $$")
    log = (stack.folder / "postgresql" / "server.log").read_text()
    assert "ready to accept connections" in log
    assert "Astrid" not in log
