"""The folder of a stack: who holds it, where its sockets live, and what a killed owner left in it."""

import fcntl
import os
import re
import secrets
import shutil
import tempfile
import time
from pathlib import Path

from cloudpriv.embedded.credentials import write_private
from cloudpriv.embedded.errors import StackError, StackInUse
from cloudpriv.embedded.identity import Identity, reachable

# sun_path holds 108 bytes with its end mark (unix(7)); the longest name put in it is "/.s.PGSQL.5432.lock".
SOCKET_FOLDER_BYTES = 107 - 20
# How long children forked by a killed owner may take to notice and let go of the lock they inherited.
ORPHAN_SECONDS = 10.0
_RECORD = "private-folder"
_PREFIX = "cloudpriv-"


def hold(folder: Path) -> int:
    """Hold `folder` (made with mode 0700 if absent) for this process; return the lock's file descriptor.

    StackInUse while a live process holds it; StackError when it is another user's.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_another_users(folder / "credentials.json")
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(folder, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def release(descriptor: int) -> None:
    """Let go of a folder held by `hold`, also on behalf of children that inherited the lock."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def make_private_folder(folder: Path, identity: Identity) -> Path:
    """A new folder for sockets that belongs to `identity`, with a name that is short and plain in any URL.

    It is inside `folder` where that will do, else among the temporary files.
    """
    remove_private_folder(folder)
    made = folder / "private" if _will_do(folder / "private", identity) else _elsewhere(identity)
    # Recorded before it is made, so that there is no moment at which a kill would leave it behind for good.
    write_private(folder / _RECORD, os.fsencode(made))
    made.mkdir(mode=0o700)
    if identity.is_other_user:
        os.chown(made, identity.uid, identity.gid)
    return made


def remove_private_folder(folder: Path) -> None:
    """Remove what `make_private_folder` made for `folder`, in this process or one that was killed."""
    record = folder / _RECORD
    if record.exists():
        made = Path(os.fsdecode(record.read_bytes()))
        if made.exists():
            shutil.rmtree(made)
        record.unlink()


def _refuse_another_users(file: Path) -> None:
    if file.exists() and file.stat().st_uid != os.geteuid():
        raise StackError(f"{file.parent} belongs to user {file.stat().st_uid}: start as that user")


def _lock(folder: Path, descriptor: int) -> None:
    for _ in range(round(ORPHAN_SECONDS / 0.05)):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if Path("/proc", str(_holder(descriptor))).exists():
                break
            time.sleep(0.05)
    raise StackInUse(folder, _holder(descriptor))


def _holder(descriptor: int) -> int:
    # Empty for the instant between taking the lock and writing; no process has id 0, so that reads as dead.
    return int(os.pread(descriptor, 20, 0) or b"0")


def _will_do(place: Path, identity: Identity) -> bool:
    return not identity.is_other_user and _plain(place) and reachable(place.parent, identity.uid, identity.gid)


def _plain(place: Path) -> bool:
    name = str(place)
    return len(name) <= SOCKET_FOLDER_BYTES and re.fullmatch(r"[A-Za-z0-9/_.-]+", name) is not None


def _elsewhere(identity: Identity) -> Path:
    name = _PREFIX + secrets.token_hex(8)
    for base in map(Path, (tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108  mkdir refuses a planted one
        if _plain(base / name) and _holds_programs(base) and reachable(base, identity.uid, identity.gid):
            return base / name
    raise StackError("no folder for temporary files can be used: set TMPDIR to one with a short, plain name")


def _holds_programs(base: Path) -> bool:
    return base.is_dir() and not os.statvfs(base).f_flag & os.ST_NOEXEC
