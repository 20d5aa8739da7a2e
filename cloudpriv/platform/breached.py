"""Passwords that became public, looked up in a file on this host: no password, and no part of its hash, leaves it.

The file is one of Have I Been Pwned's downloads: a line `HASH:COUNT` for each password, with its SHA-1 in capitals, in order
of the hashes. It has some 40 GB, so it is searched by bisection, and never read whole.
"""

import re
from hashlib import sha1
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from cloudpriv.platform.errors import BusyError

LINE: Final = re.compile(rb"([0-9A-F]{40}):[0-9]{1,12}\r?\n?")
LONGEST_LINE: Final = 64
SAMPLES: Final = 64  # lines read at start, evenly spread


class _Line(NamedTuple):
    start: int
    end: int
    hash: bytes


def check_file(path: Path) -> None:
    """Raises ValueError for a file that is no list of hashes in order, as far as samples tell; OSError when not readable."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        found = [_line_from(file, size * part // SAMPLES, size) for part in range(SAMPLES)]
        _check_last(file, size)
    lines = [line for line in dict.fromkeys(found) if line is not None]
    if not lines or any(earlier.hash >= later.hash for earlier, later in pairwise(lines)):
        raise ValueError("no list in order of its hashes")


def is_breached(path: Path, password: str) -> bool:
    """Whether a password stands in the file. Raises BusyError when that cannot be told, as while the file is replaced."""
    wanted = sha1(password.encode(), usedforsecurity=False).hexdigest().upper().encode()
    try:
        with path.open("rb") as file:
            return _search(file, wanted, file.seek(0, 2))
    except (OSError, ValueError):
        raise BusyError("The list of breached passwords cannot be read.") from None


def _search(file: BinaryIO, wanted: bytes, size: int) -> bool:
    """Bisection by bytes: what is wanted begins at or after `low` and before `high`, or nowhere."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        line = _line_from(file, middle, high)
        if line is None or line.hash > wanted:
            high = middle
        elif line.hash < wanted:
            low = line.end
        else:
            return True
    return False


def _line_from(file: BinaryIO, offset: int, before: int) -> _Line | None:
    """The first line that begins at `offset` or later, if that is before `before`. Raises ValueError for none of a list."""
    if offset:
        file.seek(offset - 1)
        file.readline(LONGEST_LINE)
    else:
        file.seek(0)
    start = file.tell()
    if start >= before:
        return None
    found = LINE.fullmatch(file.readline(LONGEST_LINE))
    if found is None:
        raise ValueError("no line of a hash and a count")
    return _Line(start, file.tell(), found[1])


def _check_last(file: BinaryIO, size: int) -> None:
    """Raises ValueError when the file does not end with a whole line, as a download does that was broken off."""
    file.seek(max(0, size - LONGEST_LINE))
    last = file.read().rstrip(b"\r\n").rpartition(b"\n")[2]
    if LINE.fullmatch(last) is None:
        raise ValueError("no whole line at the end")
