"""Start, await and stop one server process, so that none outlives its owner."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudpriv.embedded.errors import StartFailed

LAUNCHER = Path(__file__).with_name("launcher.py")
SAME_USER = "same"
POLL_SECONDS = 0.02
START_SECONDS = 60.0
# A fast shutdown of PostgreSQL ends with a checkpoint: gigabytes of dirty pages on a slow disk at worst.
STOP_SECONDS = 60.0
LOG_BYTES = 1 << 20
LOG_TAIL_LINES = 15

Command = Sequence[str | Path]


@dataclass(frozen=True)
class Server:
    """A running server process that this process owns."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    stop_signal: signal.Signals


def command_line(launch_as: str, death_signal: signal.Signals, command: Command) -> list[str]:
    """The arguments that run `command` as the launcher's identity `launch_as`.

    The kernel sends `death_signal` to it when this process ends.
    """
    # -I -S: the launcher needs only the standard library, and starts twice as fast without the rest.
    launcher = [
        sys.executable,
        "-I",
        "-S",
        str(LAUNCHER),
        str(os.getpid()),
        str(int(death_signal)),
        launch_as,
    ]
    return launcher + [str(part) for part in command]


def clean_environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment without the caller's PG*, RCLONE_* and locale variables, which change the servers."""
    # Kept, because the interpreter that runs the launcher may not start without it.
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": str(home), **kept, **(extra or {})}


def spawn(
    name: str,
    command: Command,
    *,
    folder: Path,
    workplace: Path | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
    launch_as: str = SAME_USER,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Server:
    """Start a server that logs to `folder`/server.log and works in `workplace` (by default `folder`).

    It has a session of its own, so that a terminal's Ctrl-C reaches only the owner. The calling thread must
    live for as long as the server is wanted, because the kernel watches the thread.
    """
    log = folder / "server.log"
    _shorten(log)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command_line(launch_as, stop_signal, command),
            cwd=workplace or folder,
            env=clean_environment(folder, environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    return Server(name, process, log, stop_signal)


def await_answer(server: Server, ask: Callable[[], str | None]) -> str:
    """Call `ask` until it answers and return the answer; StartFailed if the server ends or stays silent."""
    for _ in range(round(START_SECONDS / POLL_SECONDS)):
        if (answer := ask()) is not None:
            return answer
        if _ended(server, POLL_SECONDS):
            raise StartFailed(_account(server, f"ended with code {server.process.returncode}"))
    raise StartFailed(_account(server, f"did not answer within {START_SECONDS:.0f} s"))


def stop(servers: Iterable[Server]) -> None:
    """Stop the servers side by side and return when all have ended."""
    running = [server for server in servers if server.process.poll() is None]
    for server in running:
        server.process.send_signal(server.stop_signal)
    for server in running:
        if not _ended(server, STOP_SECONDS):
            server.process.kill()
            server.process.wait()


def wheel_folder(package: str) -> Path:
    """Where a package is installed, found without importing it: these packages act on being imported."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise StartFailed(f"the package {package} is not installed")
    return Path(found.origin).parent


def tail(text: str) -> str:
    """The last lines of a log's text."""
    return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])


def _ended(server: Server, seconds: float) -> bool:
    try:
        server.process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _account(server: Server, happened: str) -> str:
    text = server.log.read_text(encoding="utf-8", errors="replace")
    return f"{server.name} {happened}; its log {server.log} ends with:\n{tail(text)}"


def _shorten(log: Path) -> None:
    # The servers are told to log little. A log past its bound makes room at the next start; one is kept.
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".old.log"))
