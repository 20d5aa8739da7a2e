"""The access log: one file a UTC day, of lines with addresses, that is erased whole once its last line is due.

The only place where the service writes addresses, beside the traffic itself; its own log stays free of them. A line lies in
the file of its own day, whenever it is written, so that a file's name tells when its last line is due.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

NAME: Final = re.compile(r"access-(\d{4}-\d{2}-\d{2})\.log")
DAY: Final = timedelta(days=1)


def append(folder: Path, at: datetime, line: str) -> None:
    """Write a line to the file of its day, by one write at its end: those of several processes do not mix.

    Only the file's owner may read it. Raises OSError, as on a full disk.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    file = os.open(folder / f"access-{at.astimezone(UTC):%Y-%m-%d}.log", flags, 0o600)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


def due(folder: Path, cutoff: datetime) -> list[Path]:
    """The files all of whose lines are from before the cutoff, oldest first. Raises OSError."""
    return sorted(file for file, day in _files(folder) if day + DAY <= cutoff)


def erase(folder: Path, cutoff: datetime) -> int:
    """Erase those files; how many there were. Raises OSError."""
    found = due(folder, cutoff)
    for file in found:
        file.unlink(missing_ok=True)
    return len(found)


def _files(folder: Path) -> Iterator[tuple[Path, datetime]]:
    """The files that are ours, and the midnight that each begins with."""
    for file in folder.iterdir():
        found = NAME.fullmatch(file.name)
        if found:
            with suppress(ValueError):  # it is named after no day: not ours
                yield file, datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
