"""End the servers of an owner that was killed before it could.

The kernel told them to stop when their owner died, so mostly this finds none, or waits for the last of them.
"""

import os
import select
import signal
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from cloudpriv.embedded.process import STOP_SECONDS

_STOP_SIGNALS = {
    "postgres": signal.SIGINT,  # the fast shutdown
    "initdb": signal.SIGKILL,
    "valkey-server": signal.SIGTERM,
    "rclone": signal.SIGTERM,
}


def end_leftovers(folders: Collection[Path]) -> None:
    """End every server that runs in one of `folders` and return when it is gone.

    A process counts only when it is one of our four programs and its working directory is one of the folders,
    which no other use of these programs has.
    """
    for pid, program in list(_found(folders)):
        _end(pid, program, folders)


def _found(folders: Collection[Path]) -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (program := _ours(int(entry.name), folders)):
            yield int(entry.name), program


def _ours(pid: int, folders: Collection[Path]) -> str | None:
    try:
        program = Path(f"/proc/{pid}/exe").readlink().name.removesuffix(" (deleted)")
        place = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:  # gone meanwhile, a zombie, or another user's
        return None
    return program if program in _STOP_SIGNALS and place in folders else None


def _end(pid: int, program: str, folders: Collection[Path]) -> None:
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            # Looked at again under the handle: the id may have passed to a stranger since.
            if _ours(pid, folders) == program:
                signal.pidfd_send_signal(handle, _STOP_SIGNALS[program])
                if not select.select([handle], [], [], STOP_SECONDS)[0]:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    select.select([handle], [], [], STOP_SECONDS)
        finally:
            os.close(handle)
