"""What every figure is measured on: a durable embedded stack, and real processes of the product on it."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import urllib3

from cloudpriv.bootstrap import Services
from cloudpriv.demo.servers import stack
from cloudpriv.embedded.stack import of_plane
from cloudpriv.serving import LAUNCHER

ROOT: Final = Path(__file__).parents[2]
COMMAND: Final = "cloudpriv.cli"
# Not the system's folder for temporary files: where that is memory, to wait for the disk costs nothing.
FOLDER: Final = ROOT / "var"
PATIENCE: Final = 120.0  # seconds
GRACE: Final = 25.0  # seconds; the server gives running requests 20
# So high that no request is refused, and still counted as in production.
LIMITS: Final = {
    "CLOUDPRIV_RATE_LIMIT": "600000/minute",
    "CLOUDPRIV_VERIFY_RATE_LIMIT": "600000/minute",
    "CLOUDPRIV_PROCESSOR_RATE_LIMIT": "600000/minute",
}

Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Stage:
    """The running stack as its owner sees it, and by how much all sizes are scaled."""

    folder: Path
    owner: Services
    scale: float

    def sized(self, full: int) -> int:
        """So many at this scale."""
        return max(1, round(full * self.scale))


@contextmanager
def prepared(scale: float) -> Iterator[Stage]:
    """A fresh stack that syncs to disk, removed afterwards; its settings are those of this process meanwhile."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=FOLDER) as folder, stack(Path(folder)) as (_, owner, _):
        yield Stage(Path(folder), owner, scale)


@contextmanager
def server(stage: Stage, *words: str, **more: str) -> Iterator[int]:
    """`python -m WORDS…` as a server of HTTP on a free port of loopback; the port, once it takes connections.

    `more` are settings that differ from production's.
    """
    port = _free_port()
    address = f"127.0.0.1:{port}"
    settings = {
        "CLOUDPRIV_BIND": address,
        "CLOUDPRIV_ISSUER": f"http://{address}",
        "CLOUDPRIV_PROCESSOR_BIND": address,
        **LIMITS,
        **more,
    }
    with process(stage, *words, **settings) as child:
        await_true(lambda: _answers(port), child)
        yield port


@contextmanager
def api(stage: Stage) -> Iterator[int]:
    """One process of the API, with the settings of production; its port."""
    with server(stage, COMMAND, "serve") as port:
        yield port


@contextmanager
def worker(stage: Stage) -> Iterator[Process]:
    """One worker."""
    with process(stage, COMMAND, "worker") as child:
        yield child


@contextmanager
def process(stage: Stage, *words: str, **settings: str) -> Iterator[Process]:
    """`python -m WORDS…`, which dies with this process; what it says goes to a file of the stage."""
    launched = [sys.executable, "-P", str(LAUNCHER), str(os.getpid()), "15", "same"]
    command = [*launched, sys.executable, "-m", *words]
    both = {**os.environ, **settings}
    environment = of_plane(both, "processor" if "processor" in words else "controller") if COMMAND in words else both
    with (stage.folder / "processes.log").open("ab") as log:
        child = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stderr=log)
    try:
        yield child
    finally:
        _stop(child)


def await_true(condition: Callable[[], bool], child: Process, pause: float = 0.01) -> None:
    """Return as soon as `condition` holds. Raises RuntimeError when `child` has ended, or after PATIENCE."""
    ends = time.monotonic() + PATIENCE
    while not condition():
        if child.poll() is not None or time.monotonic() > ends:
            raise RuntimeError(f"a process did not do what it was started for (exit code {child.poll()})")
        time.sleep(pause)


def _stop(child: Process) -> None:
    child.terminate()
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/", retries=False, timeout=2).status > 0
    except urllib3.exceptions.HTTPError:
        return False
