"""Running a plane's API under gunicorn, and the processes of both planes side by side, each with its plane's settings."""

import errno
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from flask import Flask
from gunicorn.app.base import BaseApplication

from cloudpriv import connections
from cloudpriv.app import create_app, create_processor_app
from cloudpriv.bootstrap import build, build_processor
from cloudpriv.config import ProcessorSettings, Settings
from cloudpriv.database import PlaneName
from cloudpriv.embedded.stack import of_plane
from cloudpriv.platform.logs import configure_logging

GRACE_SECONDS: Final = 20
RESTART_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 0.1
LAUNCHER: Final = Path(__file__).with_name("embedded") / "launcher.py"
SIDE_BY_SIDE: Final = ("serve", "worker", "schedule")

Process = tuple[PlaneName, str]  # of a plane, and the command that runs it, with its options
Children = dict[Process, "subprocess.Popen[bytes]"]


class _Gunicorn(BaseApplication):  # type: ignore[misc]  # gunicorn carries no types
    def __init__(self, settings: Settings | ProcessorSettings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": self.settings.bind,
            "workers": self.settings.web_processes,
            "threads": self.settings.web_threads,
            "worker_class": connections.Worker,
            "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,  # noqa: S108  a heartbeat file, on no disk
            "graceful_timeout": GRACE_SECONDS,
            "keepalive": 30,
            "timeout": 120,
            "limit_request_line": 8190,
            "loglevel": "warning",
            "control_socket_disable": True,
            "proc_name": "cloudpriv",
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        # In the worker, after the fork: connections must not be shared between processes.
        configure_logging(self.settings.log_level)
        app = _app(self.settings)
        connections.install(app)
        return app


def serve(settings: Settings | ProcessorSettings) -> None:
    """Serve the API of the plane whose settings these are, until SIGTERM or SIGINT; running requests are finished first."""
    _Gunicorn(settings).run()


def _app(settings: Settings | ProcessorSettings) -> Flask:
    if isinstance(settings, ProcessorSettings):
        return create_processor_app(build_processor(settings))
    return create_app(build(settings))


def is_free(bind: str) -> bool:
    """Whether nothing listens on `bind` (host:port); gunicorn would try it again for seconds, and log each time."""
    with socket.socket(socket.AF_INET6 if bind.startswith("[") else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(_address(bind))
        except OSError as fault:
            return fault.errno != errno.EADDRINUSE
    return True


def await_answer(bind: str, api: "subprocess.Popen[bytes]") -> bool:
    """Wait until the API answers on `bind`; False when its process ended instead."""
    host, port = _address(bind)
    while api.poll() is None:
        connection = http.client.HTTPConnection(host, port, timeout=RESTART_SECONDS)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            time.sleep(RETRY_SECONDS)
        finally:
            connection.close()
    return False


def _address(bind: str) -> tuple[str, int]:
    host, _, port = bind.rpartition(":")
    return host.strip("[]"), int(port)


@contextmanager
def side_by_side(processes: Collection[Process], environment: Mapping[str, str]) -> Iterator[Children]:
    """These processes as children that are stopped at the end, and die with this process.

    Each finds in its environment what `environment` and this process's own name for its plane, and nothing of the other.
    """
    children: Children = {}
    try:
        for process in processes:
            children[process] = _start(process, environment)
        yield children
    finally:
        for child in children.values():
            child.terminate()
        for child in children.values():
            _await_end(child)


def keep_running(children: Children, environment: Mapping[str, str]) -> None:
    """Restart a worker or a schedule when one ends; return when an API ends."""
    while all(child.poll() is None for (_, command), child in children.items() if command == "serve"):
        for process, child in children.items():
            if process[1] != "serve" and child.poll() is not None:
                children[process] = _start(process, environment)
        time.sleep(RESTART_SECONDS)


def await_end(children: Children, *, of_all: bool) -> int:
    """Wait until the first of the children has ended, or all; the highest of their exit codes, 1 for one that was killed."""
    enough = all if of_all else any
    while not enough(child.poll() is not None for child in children.values()):
        time.sleep(RETRY_SECONDS)
    codes = [child.returncode for child in children.values() if child.returncode is not None]
    return max(1 if code < 0 else code for code in codes)


def _start(process: Process, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    plane, command = process
    words = [
        sys.executable,
        "-P",
        str(LAUNCHER),
        str(os.getpid()),
        "15",
        "same",
        sys.executable,
        "-m",
        "cloudpriv.cli",
        *command.split(),
        "--plane",
        plane,
    ]
    named = of_plane({**os.environ, **environment}, plane)
    # The servers are named already: a child that chose the stack again would run everything once more.
    named.pop("CLOUDPRIV_EMBEDDED", None)
    return subprocess.Popen(words, env=named, stdin=subprocess.DEVNULL, start_new_session=True)


def _await_end(child: "subprocess.Popen[bytes]") -> None:
    try:
        child.wait(GRACE_SECONDS + 5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
