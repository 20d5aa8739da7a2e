"""Running the API under gunicorn, and API, worker and schedule side by side for trying out."""

import errno
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from gunicorn.app.base import BaseApplication

from cloudpriv import connections
from cloudpriv.app import configure_logging, create_app
from cloudpriv.bootstrap import build
from cloudpriv.config import Settings

GRACE_SECONDS: Final = 20
RESTART_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 0.1
LAUNCHER: Final = Path(__file__).with_name("embedded") / "launcher.py"
SIDE_BY_SIDE: Final = ("serve", "worker", "schedule")


class _Gunicorn(BaseApplication):  # type: ignore[misc]  # gunicorn carries no types
    def __init__(self, settings: Settings) -> None:
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
        app = create_app(build(self.settings))
        connections.install(app)
        return app


def serve(settings: Settings) -> None:
    """Serve the API until SIGTERM or SIGINT; running requests are finished first."""
    _Gunicorn(settings).run()


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
def side_by_side(environment: Mapping[str, str]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """API, worker and schedule as child processes that are stopped at the end, and die with this process."""
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for command in SIDE_BY_SIDE:
            children[command] = _start(command, environment)
        yield children
    finally:
        for child in children.values():
            child.terminate()
        for child in children.values():
            _await_end(child)


def keep_running(children: dict[str, subprocess.Popen[bytes]], environment: Mapping[str, str]) -> None:
    """Restart the worker or the schedule when one ends; return when the API ends."""
    while children["serve"].poll() is None:
        for command, child in children.items():
            if command != "serve" and child.poll() is not None:
                children[command] = _start(command, environment)
        time.sleep(RESTART_SECONDS)


def _start(command: str, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
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
        command,
    ]
    # The servers are named already: a child that chose the stack again would run everything once more.
    named = {name: value for name, value in os.environ.items() if name != "CLOUDPRIV_EMBEDDED"}
    return subprocess.Popen(words, env={**named, **environment}, stdin=subprocess.DEVNULL, start_new_session=True)


def _await_end(child: "subprocess.Popen[bytes]") -> None:
    try:
        child.wait(GRACE_SECONDS + 5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
