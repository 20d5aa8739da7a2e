"""Server processes: started apart, awaited with an account of what went wrong, stopped for certain."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from cloudpriv.embedded.errors import StartFailed
from cloudpriv.embedded.process import (
    LOG_BYTES,
    SAME_USER,
    Server,
    await_answer,
    clean_environment,
    command_line,
    spawn,
    stop,
    wheel_folder,
)


def _shell(folder: Path, script: str) -> Server:
    return spawn("Shell", ["/bin/sh", "-c", script], folder=folder)


def _is_ready(server: Server) -> str | None:
    return "1" if server.log.read_text() else None


def test_a_server_that_ends_is_reported_with_the_last_lines_of_its_log(tmp_path: Path) -> None:
    server = _shell(tmp_path, "for line in $(seq 40); do echo line $line; done; exit 3")
    with pytest.raises(StartFailed, match=r"(?s)Shell ended with code 3; .*line 40$") as failed:
        await_answer(server, lambda: None)
    assert "line 26" in str(failed.value)
    assert "line 25" not in str(failed.value)


def test_the_answer_of_a_server_is_returned(tmp_path: Path) -> None:
    server = _shell(tmp_path, "echo up; exec sleep 60")
    assert await_answer(server, lambda: _is_ready(server)) == "1"
    stop([server])
    assert server.process.returncode == -signal.SIGTERM


def test_stopping_a_server_that_has_ended_is_no_error(tmp_path: Path) -> None:
    server = _shell(tmp_path, "exit 0")
    server.process.wait()
    stop([server])


def test_a_server_has_a_session_of_its_own_and_no_input(tmp_path: Path) -> None:
    server = _shell(tmp_path, "read line || echo closed; exec sleep 60")
    await_answer(server, lambda: _is_ready(server))
    assert os.getsid(server.process.pid) == server.process.pid
    assert server.log.read_text() == "closed\n"
    stop([server])


def test_a_log_past_its_bound_starts_anew(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_bytes(b"x" * (LOG_BYTES + 1))
    _shell(tmp_path, "echo new").process.wait()
    assert log.read_text() == "new\n"
    assert (tmp_path / "server.old.log").stat().st_size == LOG_BYTES + 1


def test_a_log_within_its_bound_is_continued(tmp_path: Path) -> None:
    for word in ("one", "two"):
        _shell(tmp_path, f"echo {word}").process.wait()
    assert (tmp_path / "server.log").read_text() == "one\ntwo\n"


def test_variables_of_the_caller_do_not_reach_the_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/elsewhere")
    monkeypatch.setenv("RCLONE_ADDR", "0.0.0.0:80")
    assert not {"PGDATA", "RCLONE_ADDR"} & set(clean_environment(tmp_path, {"A": "b"}))


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(StartFailed, match="no_such_package"):
        wheel_folder("no_such_package")


def test_a_program_whose_owner_is_gone_does_not_start() -> None:
    command = command_line(SAME_USER, signal.SIGTERM, ["/bin/echo", "started"])
    command[command.index(str(os.getpid()))] = "1"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "the owner is gone\n")
    assert done.returncode == 1
