"""`serve --embedded` runs both planes, and a real process of either finds nothing of the other in its environment."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO

import pytest
import urllib3
from click.testing import CliRunner
from sqlalchemy import Engine

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.cli import main
from cloudpriv.config import DATABASE_SETTING, PREFIX, PROCESSOR_PREFIX, ProcessorSettings, Settings, secrets_of
from cloudpriv.database import SCHEMAS
from cloudpriv.embedded import stack
from cloudpriv.metadata import PROCESSOR
from cloudpriv.processor import tasks
from cloudpriv.processor.upkeep import erasure
from cloudpriv.serving import SIDE_BY_SIDE
from tests.logdata import log_transaction, make_log_account
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.stack import TestDatabase, every_row

NO_SECRETS = {"policy_file", "next_policy_file", "breached_passwords_file", "token_key_file", "kms_key_id"}


@dataclass(frozen=True)
class Serving:
    """A running `serve` of both planes: what it said, where it serves, and all processes of each plane."""

    said: str
    ports: tuple[int, int]
    of_controller: list[int]
    of_processor: list[int]


def two_free_ports() -> tuple[int, int]:
    """Two ports beside each other on which nobody listens."""
    port = free_port(2)
    return port, port + 1


@contextmanager
def cloudpriv(*words: str, environment: dict[str, str], stderr: IO[str] | None = None) -> Iterator["subprocess.Popen[str]"]:
    """A command that is told to stop at the end, and has to."""
    command = [sys.executable, "-m", "cloudpriv.cli", *words]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True) as started:
        try:
            yield started
        finally:
            started.terminate()
            started.wait(PATIENCE)


def words_of(process: int) -> list[str]:
    """The command line of a process."""
    return Path("/proc", str(process), "cmdline").read_text().rstrip("\0").split("\0")


def children_of(process: int) -> list[int]:
    """Its children, and theirs."""
    listed = Path("/proc", str(process), "task", str(process), "children").read_text().split()
    return [each for child in listed for each in (int(child), *children_of(int(child)))]


def processes_of(plane: str, parent: int) -> list[int]:
    """What was started for a plane, with the API's own children."""
    return [each for each in children_of(parent) if plane_of(words_of(each)) == plane]


def plane_of(words: list[str]) -> str | None:
    """Which plane a process of ours is of; the controller's worker goes on as a program of its own."""
    if words[-2:] == ["-m", "workers"]:
        return "controller"
    return words[-1] if words[-2:-1] == ["--plane"] else None


def command_of(process: int) -> str:
    """What a process of ours does."""
    words = words_of(process)
    return "worker" if words[-1] == "workers" else words[-3]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Both planes, served on a stack of their own; all their processes have ended when this has."""
    folder, ports = tmp_path_factory.mktemp("planes") / "stack", two_free_ports()
    quiet = {"CLOUDPRIV_LOG_LEVEL": "WARNING", "CLOUDPRIV_PROCESSOR_LOG_LEVEL": "WARNING"}
    words = ["serve", "--embedded", str(folder), "--bind", f"127.0.0.1:{ports[0]}"]
    with cloudpriv(*words, environment={**os.environ, **quiet}) as parent:
        assert parent.stdout is not None
        said = parent.stdout.readline()
        found = [processes_of(plane, parent.pid) for plane in ("controller", "processor")]
        yield Serving(said, ports, *found)
    assert [each for of_plane in found for each in of_plane if Path("/proc", str(each)).exists()] == []


def ours(process: int) -> dict[str, str]:
    """The settings in the environment with which a process was started, as the kernel tells it."""
    content = Path("/proc", str(process), "environ").read_bytes().decode()
    named = dict(entry.split("=", 1) for entry in content.split("\0") if entry)
    return {name: value for name, value in named.items() if name.startswith("CLOUDPRIV_")}


def test_it_says_where_both_planes_are_served(serving: Serving) -> None:
    first, second = serving.ports
    assert f"http://127.0.0.1:{first} and, for log data, http://127.0.0.1:{second} " in serving.said
    for port in serving.ports:
        assert urllib3.request("GET", f"http://127.0.0.1:{port}/readyz").status == 200


def test_each_plane_has_an_api_a_worker_and_a_schedule(serving: Serving) -> None:
    for of_plane in (serving.of_controller, serving.of_processor):
        commands = [command_of(process) for process in of_plane]
        assert set(commands) == set(SIDE_BY_SIDE)
        assert commands.count("serve") == 2, "gunicorn's own process and the one that answers"


def test_no_process_of_the_controller_plane_has_a_setting_of_the_processors(serving: Serving) -> None:
    assert len(serving.of_controller) == 4
    for process in serving.of_controller:
        found = ours(process)
        assert [name for name in found if name.startswith("CLOUDPRIV_PROCESSOR_")] == []
        assert "CLOUDPRIV_DATABASE_URL" in found


def test_no_process_of_the_processor_plane_has_a_setting_of_the_controllers(serving: Serving) -> None:
    assert len(serving.of_processor) == 4
    for process in serving.of_processor:
        found = ours(process)
        assert [name for name in found if not name.startswith("CLOUDPRIV_PROCESSOR_")] == []
        assert "CLOUDPRIV_PROCESSOR_DATABASE_URL" in found


def test_no_value_is_common_to_both_planes_but_what_is_no_secret(serving: Serving) -> None:
    controller, processor = (
        {value for process in of_plane for value in ours(process).values()}
        for of_plane in (serving.of_controller, serving.of_processor)
    )
    assert controller & processor == {"us-east-1", "WARNING", f"http://127.0.0.1:{serving.ports[0]}"}


def test_the_processor_plane_knows_the_tokens_of_the_api_beside_it(serving: Serving) -> None:
    for process in serving.of_processor:
        assert ours(process)["CLOUDPRIV_PROCESSOR_TOKEN_ISSUER"] == f"http://127.0.0.1:{serving.ports[0]}"
        assert ours(process)["CLOUDPRIV_PROCESSOR_URL"] == f"http://127.0.0.1:{serving.ports[1]}"


def test_the_routes_of_a_plane_are_served_by_it_alone(serving: Serving) -> None:
    controller, processor = (f"http://127.0.0.1:{port}" for port in serving.ports)
    for here, there, path in ((controller, processor, "/v1/accounts"), (processor, controller, "/v1/logdata/tokens")):
        assert urllib3.request("GET", f"{here}{path}").status == 401
        assert urllib3.request("GET", f"{there}{path}").status == 404


def test_on_servers_that_the_settings_name_the_apis_alone_are_served_side_by_side(
    database: TestDatabase, tmp_path: Path
) -> None:
    ports = two_free_ports()
    words = ["serve", "--plane", "all", "--bind", f"127.0.0.1:{ports[0]}"]
    said = tmp_path / "stderr"
    with said.open("w") as stderr, cloudpriv(*words, environment=database.environment(), stderr=stderr) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().endswith(f"http://127.0.0.1:{ports[1]}. Ctrl-C stops everything.\n")
        assert {command_of(child) for child in children_of(parent.pid)} == {"serve"}
        for port in ports:
            assert urllib3.request("GET", f"http://127.0.0.1:{port}/healthz").status == 200
        first = processes_of("processor", parent.pid)[0]
        os.kill(first, signal.SIGKILL)
        assert parent.wait(PATIENCE) == 1, "an API that ends takes the other along, for whoever watches to start both again"
    assert "the API of the processor plane ended by SIGKILL" in said.read_text()


def test_workers_of_both_planes_end_when_there_is_nothing_to_do(database: TestDatabase) -> None:
    with cloudpriv("worker", "--plane", "all", "--burst", environment=database.environment()) as workers:
        assert workers.wait(PATIENCE) == 0


def test_a_worker_and_a_schedule_of_log_data_do_their_work_without_any_setting_of_the_other_plane(
    database: TestDatabase, processor: ProcessorServices, processor_owner: Engine
) -> None:
    account_id = make_log_account(processor)
    with log_transaction(processor) as tx:
        tasks.enqueue(tx, erasure.TASK, account_id)
    processor.redis.flushall()
    own = {name: value for name, value in database.environment().items() if _is_for_log_data(name)}
    with cloudpriv("worker", "--plane", "processor", environment=own) as worker:
        with cloudpriv("schedule", "--plane", "processor", environment=own) as schedule:
            deadline = time.monotonic() + PATIENCE
            while every_row(processor_owner, PROCESSOR)["log_tasks"]:
                assert worker.poll() is schedule.poll() is None, "a process ended"
                assert time.monotonic() < deadline, "nobody did it"
                time.sleep(0.05)
        assert schedule.returncode == 143, "as a shell reports SIGTERM"
    assert worker.returncode == 0


@pytest.mark.parametrize("command", SIDE_BY_SIDE)
@pytest.mark.parametrize(
    ("words", "theirs"),
    [
        ([], "CLOUDPRIV_PROCESSOR_DATABASE_URL"),
        (["--plane", "controller"], "CLOUDPRIV_PROCESSOR_KEYRING_FILE"),
        (["--plane", "processor"], "CLOUDPRIV_SIGNING_KEY_FILE"),
    ],
)
def test_a_process_of_one_plane_does_not_start_with_a_secret_of_the_other(
    database: TestDatabase, command: str, words: list[str], theirs: str
) -> None:
    own = database.environment("processor" if "processor" in words else "controller")
    result = CliRunner().invoke(main, [command, *words], env={**own, theirs: database.environment()[theirs]})
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert result.stderr.startswith(f"cloudpriv: {theirs}: ")


@pytest.mark.parametrize("command", SIDE_BY_SIDE)
@pytest.mark.parametrize("unset", ["CLOUDPRIV_S3_ACCESS_KEY_ID", "CLOUDPRIV_PROCESSOR_S3_SECRET_ACCESS_KEY"])
def test_both_planes_are_not_started_together_when_one_would_take_keys_that_the_host_has_for_everybody(
    database: TestDatabase, command: str, unset: str
) -> None:
    result = CliRunner().invoke(main, [command, "--plane", "all"], env={**database.environment(), unset: None})
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert result.stderr.startswith(f"cloudpriv: {unset}: ")


def test_what_clients_of_aws_and_postgresql_take_up_by_themselves_is_handed_to_neither_plane() -> None:
    both = {"AWS_SECRET_ACCESS_KEY": "x", "AWS_PROFILE": "y", "PGPASSWORD": "z", "PGSERVICEFILE": "f", "PATH": "p"}
    for plane in SCHEMAS:
        assert stack.of_plane(both, plane) == {"PATH": "p"}


def test_every_setting_is_known_to_be_a_secret_or_not() -> None:
    for kind, prefix in ((Settings, PREFIX), (ProcessorSettings, PROCESSOR_PREFIX)):
        telling = {
            prefix + field.name.upper()
            for field in fields(kind)
            if field.name.endswith(("_url", "_file", "_key", "_key_id")) and field.name not in NO_SECRETS
        }
        assert telling - {f"{prefix}DATABASE_URL"} == secrets_of(kind) - {
            prefix + name for name in DATABASE_SETTING.values()
        }


def _is_for_log_data(name: str) -> bool:
    return name.startswith("CLOUDPRIV_PROCESSOR_") or not name.startswith("CLOUDPRIV_")
