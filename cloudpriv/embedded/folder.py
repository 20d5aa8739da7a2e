"""The folder of a stack: who holds it, and where its sockets live."""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudpriv.embedded.errors import StackInUse

# sun_path holds 108 bytes with its end mark (unix(7)); the longest name in it is "/.s.PGSQL.5432.lock".
SOCKET_FOLDER_BYTES = 107 - 20


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold `folder` (made if absent, mode 0700) for this process alone; StackInUse when another one does."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackInUse(str(folder), int(os.read(descriptor, 20) or b"0")) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def socket_folder(folder: Path) -> Iterator[Path]:
    """A private folder for sockets whose name is short and needs no quoting in any URL.

    It is inside `folder` where that name allows it, else under the system's folder for temporary files, recorded
    in `folder` and removed at the end (or by the next start, when there was no end).
    """
    record = folder / "sockets-elsewhere"
    _remove_recorded(record)
    inside = folder / "sockets"
    if fits(inside):
        shutil.rmtree(inside, ignore_errors=True)
        inside.mkdir(mode=0o700)
        yield inside
        return
    made = Path(tempfile.mkdtemp(prefix="cloudpriv-", dir=_short_base()))
    record.write_text(str(made), encoding="utf-8")
    try:
        yield made
    finally:
        _remove_recorded(record)


def fits(sockets: Path) -> bool:
    """Whether sockets may live in this folder: short, and plain in URLs and configuration files."""
    name = str(sockets)
    return len(name) <= SOCKET_FOLDER_BYTES and re.fullmatch(r"[A-Za-z0-9/_.-]+", name) is not None


def _short_base() -> Path:
    base = Path(tempfile.gettempdir())
    return base if fits(base / "cloudpriv-12345678") else Path("/tmp")  # noqa: S108 - mkdtemp makes it private


def _remove_recorded(record: Path) -> None:
    if record.exists():
        shutil.rmtree(record.read_text(encoding="utf-8"), ignore_errors=True)
        record.unlink()
