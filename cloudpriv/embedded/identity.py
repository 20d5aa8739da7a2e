"""Whom PostgreSQL runs as: it refuses root, and we make no user for it."""

import os
import pwd
import signal
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cloudpriv.embedded.process import SAME_USER, command_line


@dataclass(frozen=True)
class Identity:
    """An identity to run under: the launcher's word for it, and the user and group that own its files."""

    launch_as: str
    uid: int
    gid: int

    @property
    def is_other_user(self) -> bool:
        """Whether files must be handed over, because the process lacks this process's access."""
        return self.uid != os.geteuid()


def choose(program: Path, *, namespaces: bool) -> Identity:
    """The identity `program` can run under here.

    An ordinary user is left as is. Root becomes `nobody` inside a user namespace, where it keeps its access
    to root's files. Where namespaces are forbidden (as in most containers), unwanted (`namespaces=False`), or
    the program is not plainly open to root, root becomes the user `nobody` outright.
    """
    if os.geteuid() != 0:
        return Identity(SAME_USER, os.geteuid(), os.getegid())
    nobody = pwd.getpwnam("nobody")  # initdb wants a user that exists by name
    inside = Identity(f"namespace:{nobody.pw_uid}:{nobody.pw_gid}", os.geteuid(), os.getegid())
    if namespaces and _runs(program, inside):
        return inside
    return Identity(f"user:{nobody.pw_uid}:{nobody.pw_gid}", nobody.pw_uid, nobody.pw_gid)


def reachable(folder: Path, uid: int, gid: int) -> bool:
    """Whether a process of this user and group, without root's powers, can get to `folder` and into it."""
    return all(_may_enter(step.stat(), uid, gid) for step in (folder, *folder.parents))


def hand_over(tree: Path, identity: Identity) -> None:
    """Make `identity` the owner of `tree`, a part of our own folder, if it is not."""
    if tree.stat().st_uid == identity.uid:
        return
    for place, folders, files in os.walk(tree):
        for name in (".", *folders, *files):
            os.chown(Path(place, name), identity.uid, identity.gid, follow_symlinks=False)


def _runs(program: Path, identity: Identity) -> bool:
    command = command_line(identity.launch_as, signal.SIGKILL, [program, "--version"])
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


def _may_enter(status: os.stat_result, uid: int, gid: int) -> bool:
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
