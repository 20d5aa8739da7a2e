"""Who holds a stack's folder, and where its sockets go."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudpriv.embedded.errors import StackError, StackInUse
from cloudpriv.embedded.folder import (
    SOCKET_FOLDER_BYTES,
    hold,
    make_private_folder,
    release,
    remove_private_folder,
)
from cloudpriv.embedded.identity import Identity
from cloudpriv.embedded.process import SAME_USER

REPOSITORY = Path(__file__).parents[3]
ME = Identity(SAME_USER, os.geteuid(), os.getegid())
KILLED_BEFORE_ITS_CHILD = """
import os, signal, sys, time
from pathlib import Path
from cloudpriv.embedded.folder import hold
hold(Path(sys.argv[1]))
if os.fork() == 0:
    time.sleep(0.5)
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name leaves room for sockets, whatever the test run's own folder is called."""
    folder = Path(f"/var/tmp/cloudpriv-test-{os.getpid()}")  # noqa: S108  mkdir refuses a planted one
    folder.mkdir(mode=0o700)
    yield folder
    for left in folder.iterdir():
        left.unlink()
    folder.rmdir()


def test_a_held_folder_is_refused_with_the_holder_named(tmp_path: Path) -> None:
    held = hold(tmp_path)
    with pytest.raises(StackInUse, match=f"in use by process {os.getpid()}$") as refused:
        hold(tmp_path)
    assert refused.value.pid == os.getpid()
    release(held)


def test_a_released_folder_can_be_held_again(tmp_path: Path) -> None:
    release(hold(tmp_path))
    release(hold(tmp_path))


def test_a_new_folder_is_private(tmp_path: Path) -> None:
    release(hold(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_the_mode_of_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    release(hold(tmp_path))
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_lock_kept_by_a_child_of_a_killed_owner_is_waited_for(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_BEFORE_ITS_CHILD, str(tmp_path)]
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == -9
    release(hold(tmp_path))


def test_the_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    theirs = tmp_path / "credentials.json"
    if os.geteuid() == 0:
        theirs.touch()
        os.chown(theirs, 65534, 65534)
    else:
        theirs.symlink_to("/etc/passwd")
    with pytest.raises(StackError, match="belongs to user"):
        hold(tmp_path)


def test_sockets_stay_in_a_folder_with_a_short_plain_name(short: Path) -> None:
    made = make_private_folder(short, ME)
    assert made.parent == short
    remove_private_folder(short)
    assert not made.exists()


@pytest.mark.parametrize("name", ["n" * SOCKET_FOLDER_BYTES, "a space", "å", "a,b", "a%20b", "a?b"])
def test_sockets_go_elsewhere_when_the_name_cannot_hold_them(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    made = make_private_folder(folder, ME)
    assert folder not in made.parents
    assert len(str(made)) <= SOCKET_FOLDER_BYTES
    assert made.stat().st_mode & 0o777 == 0o700
    remove_private_folder(folder)
    assert not made.exists()


def test_what_a_killed_owner_left_elsewhere_is_removed_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "a space"
    folder.mkdir()
    abandoned = make_private_folder(folder, ME)
    (abandoned / "socket").touch()
    made = make_private_folder(folder, ME)
    assert made != abandoned
    assert not abandoned.exists()
    remove_private_folder(folder)
    assert list(folder.iterdir()) == []
