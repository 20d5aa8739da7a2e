"""The embedded stack with its real servers, owned by this process."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from sqlalchemy import make_url

from cloudpriv.embedded import postgres
from cloudpriv.embedded.credentials import credentials_in
from cloudpriv.embedded.errors import StackInUse, StartFailed
from cloudpriv.embedded.folder import make_private_folder
from cloudpriv.embedded.identity import choose
from cloudpriv.embedded.stack import running
from tests.flows.embedded_data import KEPT, OWNER, connect, read_everywhere, write_everywhere

OF_ONE_PLANE = frozenset(
    {"owner_password", "api_password", "worker_password", "valkey_password", "s3_access_key_id", "s3_secret_access_key"}
)
PROCESSOR_URLS = (
    "CLOUDPRIV_PROCESSOR_MIGRATION_DATABASE_URL",
    "CLOUDPRIV_PROCESSOR_DATABASE_URL",
    "CLOUDPRIV_PROCESSOR_WORKER_DATABASE_URL",
    "CLOUDPRIV_PROCESSOR_TELLER_DATABASE_URL",
    "CLOUDPRIV_ERASER_DATABASE_URL",
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


def test_a_second_start_finds_the_data_again(tmp_path: Path) -> None:
    with running(tmp_path, durable=True) as first:
        write_everywhere(first.environment)
    with running(tmp_path, durable=True) as second:
        assert read_everywhere(second.environment) == KEPT
        for name in ("CLOUDPRIV_KEYRING_FILE", "CLOUDPRIV_SIGNING_KEY_FILE", "CLOUDPRIV_S3_SECRET_ACCESS_KEY"):
            assert second.environment[name] == first.environment[name]


@pytest.mark.parametrize("name", ["n" * 120, 'with space, comma and 100% å/it\'s "quoted"'])
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


def test_a_first_start_that_cannot_make_its_roles_fails_and_keeps_no_cluster(tmp_path: Path) -> None:
    credentials = vars(credentials_in(tmp_path))
    credentials["api_password"] = "a' wrong"
    (tmp_path / "credentials.json").write_text(json.dumps(credentials))
    with pytest.raises(StartFailed, match="unrecognized role option"), running(tmp_path, durable=False):
        pass
    assert not (tmp_path / "postgresql" / "data").exists()


def test_a_cluster_of_a_version_with_one_plane_gets_the_other_and_keeps_its_data(folder: Path) -> None:
    with running(folder, durable=False) as stack:
        write_everywhere(stack.environment)
    _forget_the_processor_plane(folder)
    with running(folder, durable=False) as stack:
        assert read_everywhere(stack.environment) == KEPT
        for name in PROCESSOR_URLS:
            connect(stack.environment, name).close()
        with connect(stack.environment, "CLOUDPRIV_PROCESSOR_MIGRATION_DATABASE_URL") as owner:
            owner.execute("CREATE TABLE processor.theirs ()")
    with running(folder, durable=False) as stack, connect(stack.environment, PROCESSOR_URLS[0]) as owner:
        owner.execute("DROP TABLE processor.theirs")


def test_a_plane_whose_making_was_cut_short_is_made_again(folder: Path) -> None:
    (folder / "postgresql" / "planes-separated").unlink()
    with running(folder, durable=False) as stack:
        for name in PROCESSOR_URLS:
            connect(stack.environment, name).close()


def _forget_the_processor_plane(folder: Path) -> None:
    """Make of a stopped stack what a version with one plane left: neither its roles and schema nor its credentials."""
    kept = {name: value for name, value in vars(credentials_in(folder)).items() if name in OF_ONE_PLANE}
    assert len(kept) == len(OF_ONE_PLANE)
    (folder / "credentials.json").write_text(json.dumps(kept))
    (folder / "postgresql" / "planes-separated").unlink()
    roles = (postgres.PROCESSOR_OWNER, postgres.PROCESSOR_API, postgres.PROCESSOR_WORKER, postgres.ERASER, postgres.TELLER)
    statements = ["DROP SCHEMA processor", *(f"DROP ROLE {role}" for role in roles)]
    identity = choose(postgres.program(), namespaces=True)
    postgres._single(
        postgres.program().parent, folder / "postgresql" / "data", identity, postgres.DATABASE, "\n".join(statements) + "\n"
    )


def test_uploads_cut_short_leave_nothing(folder: Path) -> None:
    unfinished = folder / "rclone" / "data" / "cloudpriv-exports" / "a" / ".rclone_temp_put_x"
    unfinished.parent.mkdir()
    unfinished.write_bytes(b"half an export")
    with running(folder, durable=False):
        assert not unfinished.exists()


def test_a_pid_file_that_names_a_stranger_does_not_stop_a_start(folder: Path) -> None:
    stale = folder / "postgresql" / "data" / "postmaster.pid"
    # A process of the same user that is not PostgreSQL's parent, which it would see through itself.
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        stale.write_text(f"{stranger.pid}\n{stale.parent}\n1700000000\n5432\n{folder}\n\n  0  0\nready\n")
        with running(folder, durable=False) as stack:
            write_everywhere(stack.environment)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_left_by_a_killed_owner_is_ended_before_the_next_start(folder: Path) -> None:
    identity = choose(postgres.program(), namespaces=True)
    private = make_private_folder(folder, identity)
    secret = credentials_in(folder)
    left = postgres.start(folder / "postgresql", private, secret, identity, durable=False)
    while postgres.version(private, secret.owner_password) is None:
        assert left.process.poll() is None
        time.sleep(0.05)
    with running(folder, durable=False) as stack:
        assert left.process.wait(5) == 0
        write_everywhere(stack.environment)


def test_a_stack_that_has_its_data_is_up_within_seconds_and_gone_after_its_context(folder: Path) -> None:
    before = time.monotonic()
    with running(folder) as stack:
        assert time.monotonic() - before < 10
    assert not [pid for pid in stack.pids.values() if Path("/proc", str(pid)).exists()]
