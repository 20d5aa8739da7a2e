"""The embedded stack with its real servers, owned by this process."""

import os
import shutil
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
import redis
from botocore.config import Config
from sqlalchemy import make_url

from cloudpriv.embedded import postgres
from cloudpriv.embedded.credentials import credentials_in
from cloudpriv.embedded.errors import StackInUse, StartFailed
from cloudpriv.embedded.folder import make_private_folder
from cloudpriv.embedded.identity import choose
from cloudpriv.embedded.stack import Stack, running

OWNER, API, WORKER = (
    "CLOUDPRIV_MIGRATION_DATABASE_URL",
    "CLOUDPRIV_DATABASE_URL",
    "CLOUDPRIV_WORKER_DATABASE_URL",
)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose stack has run once and stopped; tests work on copies, which spares them its making."""
    folder = tmp_path_factory.mktemp("embedded") / "stopped"
    with running(folder, durable=False):
        pass
    return folder


@pytest.fixture
def folder(stopped: Path, tmp_path: Path) -> Path:
    """A copy of a stopped stack's folder."""
    return Path(shutil.copytree(stopped, tmp_path / "stack", symlinks=True))


def connect(environment: Mapping[str, str], name: str = OWNER) -> psycopg.Connection[tuple[Any, ...]]:
    url = make_url(environment[name])
    return psycopg.connect(
        host=str(url.query["host"]),
        user=url.username,
        password=url.password,
        dbname=url.database,
        autocommit=True,
    )


def s3_client(environment: Mapping[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=environment["CLOUDPRIV_S3_ENDPOINT"],
        region_name=environment["CLOUDPRIV_S3_REGION"],
        aws_access_key_id=environment["CLOUDPRIV_S3_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["CLOUDPRIV_S3_SECRET_ACCESS_KEY"],
        config=Config(
            request_checksum_calculation="when_required", response_checksum_validation="when_required"
        ),
    )


def write_everywhere(environment: Mapping[str, str]) -> None:
    """A row, a key and an object."""
    with connect(environment) as database:
        database.execute("CREATE TABLE kept AS SELECT 'row' AS what")
    with redis.Redis.from_url(environment["CLOUDPRIV_REDIS_URL"]) as cache:
        cache.set("kept", "key")
    bucket = environment["CLOUDPRIV_S3_EXPORT_BUCKET"]
    s3_client(environment).put_object(Bucket=bucket, Key="a/kept", Body=b"object")


def read_everywhere(environment: Mapping[str, str]) -> list[object]:
    """What `write_everywhere` wrote."""
    with connect(environment) as database:
        row = database.execute("SELECT what FROM kept").fetchone()
    with redis.Redis.from_url(environment["CLOUDPRIV_REDIS_URL"]) as cache:
        key = cache.get("kept")
    bucket = environment["CLOUDPRIV_S3_EXPORT_BUCKET"]
    return [row, key, s3_client(environment).get_object(Bucket=bucket, Key="a/kept")["Body"].read()]


KEPT = [("row",), b"key", b"object"]


@pytest.mark.parametrize("durable", [True, False])
def test_a_second_start_finds_the_data_again(tmp_path: Path, durable: bool) -> None:
    with running(tmp_path, durable=durable) as first:
        write_everywhere(first.environment)
    with running(tmp_path, durable=durable) as second:
        assert read_everywhere(second.environment) == KEPT
        same = {name for name in first.environment if first.environment[name] == second.environment[name]}
        assert set(first.environment) - same <= {
            "CLOUDPRIV_S3_ENDPOINT",
            OWNER,
            API,
            WORKER,
            "CLOUDPRIV_REDIS_URL",
        }


@pytest.mark.parametrize("name", ["n" * 120, 'with space, comma and 100% å/it\'s "quoted"', "closed"])
def test_any_name_of_a_folder_will_do(tmp_path: Path, name: str) -> None:
    tmp_path.chmod(0o700)
    with running(tmp_path / name, durable=False) as stack:
        write_everywhere(stack.environment)
        assert read_everywhere(stack.environment) == KEPT


def test_root_denied_a_namespace_runs_the_same_stack(folder: Path) -> None:
    with running(folder, durable=False) as stack:
        write_everywhere(stack.environment)
    with running(folder, durable=False, namespaces=False) as stack:
        assert read_everywhere(stack.environment) == KEPT
        database = Path("/proc", str(stack.pids["PostgreSQL"]))
        assert database.stat().st_uid != 0
        private = Path(str(make_url(stack.environment[OWNER]).query["host"]))
    assert not (private.exists() and os.geteuid() == 0)
    with running(folder, durable=False) as stack:
        assert read_everywhere(stack.environment) == KEPT


def test_a_first_start_as_nobody_works_in_a_closed_folder(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    with running(tmp_path / "closed" / "stack", durable=False, namespaces=False) as stack:
        write_everywhere(stack.environment)
        assert read_everywhere(stack.environment) == KEPT


def test_a_folder_in_use_is_refused_and_its_stack_goes_on(folder: Path) -> None:
    with running(folder, durable=False) as stack:
        with pytest.raises(StackInUse, match=str(os.getpid())), running(folder):
            pass
        write_everywhere(stack.environment)


def test_the_versions_are_those_of_the_servers(folder: Path) -> None:
    with running(folder, durable=False) as stack:
        assert stack.versions["PostgreSQL"].startswith("18.")
        assert stack.versions["Valkey"].startswith("9.")
        assert stack.versions["rclone"].startswith("1.")


def test_the_database_is_utf_8_in_utc_and_only_its_owner_may_make_things(folder: Path) -> None:
    with running(folder, durable=False) as stack:
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


def test_there_is_no_way_in_without_a_password_nor_as_superuser(folder: Path) -> None:
    with running(folder, durable=False) as stack:
        host = str(make_url(stack.environment[OWNER]).query["host"])
        for user in ("cloudpriv_owner", "postgres"):
            for password in ("", "postgres"):
                with pytest.raises(psycopg.OperationalError, match="password"):
                    psycopg.connect(host=host, user=user, password=password, dbname="cloudpriv")
        with (
            redis.Redis(unix_socket_path=f"{host}/valkey.sock") as cache,
            pytest.raises(redis.AuthenticationError),
        ):
            cache.ping()
        with connect(stack.environment) as database:
            superusers = database.execute("SELECT rolname FROM pg_roles WHERE rolsuper").fetchall()
            assert superusers == [("postgres",)]


def test_only_loopback_is_listened_on(folder: Path) -> None:
    with running(folder, durable=False) as stack:
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
        port = int(stack.environment["CLOUDPRIV_S3_ENDPOINT"].rsplit(":", 1)[1])
        assert listening == [["0100007F", f"{port:04X}"]]


def test_secrets_are_in_no_command_line_and_no_open_file(folder: Path) -> None:
    with running(folder, durable=False) as stack:
        secrets = list(vars(credentials_in(folder)).values())
        for pid in stack.pids.values():
            command = Path("/proc", str(pid), "cmdline").read_text()
            assert not [secret for secret in secrets if secret in command]
        for file in folder.rglob("*"):
            private = stat.S_IMODE(file.stat().st_mode) & 0o077 == 0
            hidden = any(stat.S_IMODE(parent.stat().st_mode) & 0o077 == 0 for parent in file.parents)
            assert private or hidden, file
        logs = "".join(file.read_text() for file in folder.glob("*/server.log"))
        assert not [secret for secret in secrets if secret in logs]


def test_values_of_failed_statements_stay_out_of_the_log(folder: Path) -> None:
    with running(folder, durable=False) as stack, connect(stack.environment) as database:
        database.execute("CREATE TABLE people (name text UNIQUE)")
        database.execute("INSERT INTO people VALUES ('Astrid')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            database.execute("INSERT INTO people VALUES (%s)", ("Astrid",))
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            database.execute("SELECT 'Astrid'::int")
        with pytest.raises(psycopg.errors.SyntaxError):
            database.execute("Astrid")
        database.execute("DO $$ BEGIN RAISE WARNING 'Astrid'; END $$")
    log = (folder / "postgresql" / "server.log").read_text()
    assert "ready to accept connections" in log
    assert "Astrid" not in log


def test_a_server_that_does_not_start_is_named_with_its_log_and_the_others_stop(folder: Path) -> None:
    configuration = folder / "postgresql" / "data" / "postgresql.conf"
    sound = configuration.read_text()
    configuration.write_text("no such setting\n")
    with pytest.raises(StartFailed, match=r"(?s)PostgreSQL ended with code 1.*syntax error"), running(folder):
        pass
    assert not (folder / "private").exists()
    configuration.write_text(sound)
    with running(folder, durable=False) as stack:  # nothing holds the folder, nothing runs in it
        write_everywhere(stack.environment)


def test_a_first_start_cut_short_is_begun_anew(tmp_path: Path) -> None:
    draft = tmp_path / "postgresql" / "data.new"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("half")
    with running(tmp_path, durable=False) as stack:
        write_everywhere(stack.environment)
    assert not draft.exists()


def test_uploads_cut_short_leave_nothing(folder: Path) -> None:
    unfinished = folder / "rclone" / "data" / "cloudpriv-exports" / "a" / ".rclone_temp_put_x"
    unfinished.parent.mkdir()
    unfinished.write_bytes(b"half an export")
    with running(folder, durable=False):
        assert not unfinished.exists()


def test_a_pid_file_that_names_a_stranger_does_not_stop_a_start(folder: Path) -> None:
    stale = folder / "postgresql" / "data" / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{stale.parent}\n1700000000\n5432\n{folder}\n\n  0  0\nready\n")
    with running(folder, durable=False) as stack:
        write_everywhere(stack.environment)


def test_a_server_left_by_a_killed_owner_is_ended_before_the_next_start(folder: Path) -> None:
    identity = choose(postgres.program(), namespaces=True)
    private = make_private_folder(folder, identity)
    secret = credentials_in(folder)
    left = postgres.start(folder / "postgresql", private, secret, identity, durable=False)
    while postgres.version(private, secret.owner_password) is None:
        assert left.process.poll() is None
    with running(folder, durable=False) as stack:
        assert left.process.wait(5) == 0
        write_everywhere(stack.environment)


def test_a_stack_that_has_its_data_is_up_within_seconds(folder: Path) -> None:
    before = time.monotonic()
    with running(folder):
        assert time.monotonic() - before < 10


def test_a_stack_is_gone_after_its_context(folder: Path) -> None:
    with running(folder, durable=False) as stack:
        pass
    assert not [pid for pid in stack.pids.values() if Path("/proc", str(pid)).exists()]
    assert isinstance(stack, Stack)
