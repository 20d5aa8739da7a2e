"""Become the process a server runs in, then turn into the server. Run by path, never imported.

    launcher.py OWNER_PID DEATH_SIGNAL IDENTITY PROGRAM ARGUMENT…

IDENTITY is `same`, `namespace:UID:GID` (a user namespace in which root appears as UID) or `user:UID:GID`.
The kernel sends DEATH_SIGNAL to the server when its owner dies, however it dies.
"""

import ctypes
import os
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{call}: {os.strerror(ctypes.get_errno())}")


def _enter_namespace(uid: int, gid: int) -> None:
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _check(_libc.unshare(CLONE_NEWUSER), "unshare")
    # The kernel takes a group map from us only once setgroups is given up (user_namespaces(7)).
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1", encoding="ascii")


def _become_user(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _take_identity(identity: str) -> None:
    kind, *ids = identity.split(":")
    if kind == "namespace":
        _enter_namespace(int(ids[0]), int(ids[1]))
    elif kind == "user":
        _become_user(int(ids[0]), int(ids[1]))


def main(arguments: list[str]) -> None:
    owner, death_signal, identity, *command = arguments
    _take_identity(identity)
    # After the change of identity, because that clears it (prctl(2)).
    _check(_libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0), "prctl")
    if os.getppid() != int(owner):
        sys.exit("the owner is gone")
    os.execv(command[0], command)  # noqa: S606 - the program is named by its full path, no shell wanted


if __name__ == "__main__":
    main(sys.argv[1:])
