"""Use the stack of a folder whoever runs it: start it, or join the process that has."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloudpriv.embedded.errors import StackInUse
from cloudpriv.embedded.stack import running

RECORD: Final = "running.json"
START_SECONDS: Final = 15.0  # how long another process may take from holding the folder to answering


@dataclass(frozen=True)
class JoinedStack:
    """How to reach the servers, and whether this process runs them."""

    environment: Mapping[str, str]
    versions: Mapping[str, str]
    is_ours: bool


@contextmanager
def joined(folder: Path) -> Iterator[JoinedStack]:
    """The stack of `folder`: started, and stopped after the body, unless another process runs it already.

    Raises StackInUse when another process holds the folder without ever answering, StartFailed, StackError.
    """
    with ExitStack() as cleanup:
        try:
            started = cleanup.enter_context(running(folder))
        except StackInUse as busy:
            yield _await_record(folder, busy)
            return
        cleanup.callback(_remove_record, folder, os.getpid())
        _write_record(folder, started.environment, started.versions)
        yield JoinedStack(started.environment, started.versions, is_ours=True)


def _remove_record(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not in a forked child that leaves through here
        (folder / RECORD).unlink(missing_ok=True)


def _write_record(folder: Path, environment: Mapping[str, str], versions: Mapping[str, str]) -> None:
    fresh = folder / f"{RECORD}.new"
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"pid": os.getpid(), "environment": dict(environment), "versions": dict(versions)}, file)
    fresh.replace(folder / RECORD)


def _await_record(folder: Path, busy: StackInUse) -> JoinedStack:
    for _ in range(round(START_SECONDS / 0.1)):
        record = folder / RECORD
        if record.exists():
            found = json.loads(record.read_text())
            # The one of a killed owner names another process than the one that holds the folder now.
            if found["pid"] == busy.pid:
                return JoinedStack(found["environment"], found["versions"], is_ours=False)
        time.sleep(0.1)
    raise busy
