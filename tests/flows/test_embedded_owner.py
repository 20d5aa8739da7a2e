"""However the process that owns an embedded stack ends, nothing of it stays, and its data is found again."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from cloudpriv.embedded.identity import choose, hand_over
from cloudpriv.embedded.process import command_line
from cloudpriv.embedded.stack import running
from tests.flows.embedded_data import KEPT, OWNER, read_everywhere, write_everywhere

REPOSITORY = Path(__file__).parents[2]
SECONDS = 20.0


@dataclass(frozen=True)
class Owner:
    """A process that owns a running stack, and what it said about it."""

    process: subprocess.Popen[bytes]
    about: dict[str, Any]
    servers: list[int]  # handles (pidfd) of the three servers

    def servers_end(self) -> bool:
        """Whether all servers end in time."""
        return all(select.select([handle], [], [], SECONDS)[0] for handle in self.servers)

    def private_folder(self) -> Path:
        return Path(str(make_url(self.about["environment"][OWNER]).query["host"]))


@contextmanager
def owner_of(folder: Path, *options: str, closing: str = "<&-", launch_as: str = "same") -> Iterator[Owner]:
    """An owner started with standard streams closed, as some supervisors do."""
    program = [sys.executable, "-m", "tests.flows.embedded_owner", str(folder), *options]
    shell = ["/bin/sh", "-c", f'exec "$@" {closing}', "sh", *program]
    command = command_line(launch_as, signal.SIGKILL, shell)
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            about = json.loads(process.stdout.readline())
            handles = [os.pidfd_open(pid) for pid in about["pids"].values()]
            yield Owner(process, about, handles)
            for handle in handles:
                os.close(handle)
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_a_signal_stops_everything_in_order(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with owner_of(tmp_path, closing="<&- 2>&-") as owner:
        owner.process.send_signal(number)
        assert owner.process.wait(SECONDS) == code
        assert owner.servers_end()
        assert not owner.private_folder().exists()
    assert "database system is shut down" in (tmp_path / "postgresql" / "server.log").read_text()


def test_a_killed_owner_takes_its_servers_along_and_the_next_start_finds_the_data(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    with owner_of(folder) as owner:
        write_everywhere(owner.about["environment"])
        owner.process.kill()
        assert owner.servers_end()
    with running(folder, durable=False) as stack:
        assert read_everywhere(stack.environment) == KEPT
        assert not owner.private_folder().exists()


def test_a_start_right_after_a_kill_waits_for_the_last_of_the_servers(tmp_path: Path) -> None:
    with owner_of(tmp_path) as owner:
        write_everywhere(owner.about["environment"])
        owner.process.kill()
        owner.process.wait()
        with running(tmp_path, durable=False) as stack:
            assert read_everywhere(stack.environment) == KEPT


def test_a_child_that_leaves_through_the_context_stops_nothing(tmp_path: Path) -> None:
    with owner_of(tmp_path, "fork") as owner:
        write_everywhere(owner.about["environment"])
        owner.process.terminate()
        assert owner.process.wait(SECONDS) == 143
        assert owner.servers_end()


def test_servers_are_out_of_reach_of_the_terminals_keys(tmp_path: Path) -> None:
    with owner_of(tmp_path) as owner:
        sessions = {os.getsid(pid) for pid in owner.about["pids"].values()}
        assert os.getsid(owner.process.pid) not in sessions


def test_an_ordinary_user_runs_the_stack() -> None:
    identity = choose(Path(sys.executable), namespaces=True)
    # Not pytest's folder, which is closed to all but the caller, as the identity may be a real other user.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        hand_over(Path(name), identity)
        with owner_of(Path(name), launch_as=identity.launch_as) as owner:
            assert owner.about["uid"] != 0
            write_everywhere(owner.about["environment"])
            owner.process.terminate()
            assert owner.process.wait(SECONDS) == 143
            assert owner.servers_end()
