"""Whom PostgreSQL runs as, and what such a user can reach."""

import os
import tempfile
from pathlib import Path

import pytest

from cloudpriv.embedded.identity import choose, hand_over, reachable

STRANGER = 54321


@pytest.mark.parametrize(
    ("mode", "uid_offset", "gid_offset", "expected"),
    [
        (0o700, 0, 0, True),
        (0o700, 1, 0, False),
        (0o710, 1, 0, True),
        (0o710, 1, 1, False),
        (0o711, 1, 1, True),
        (0o077, 0, 0, False),  # the owner's bits count for the owner, however open the rest
        (0o701, 1, 0, False),
    ],
)
def test_reach_follows_the_bits_of_the_class(mode: int, uid_offset: int, gid_offset: int, expected: bool) -> None:
    # Not pytest's folder: its parents are closed to others, which would answer for the folder itself.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        status = folder.stat()
        folder.chmod(mode)
        assert reachable(folder, status.st_uid + uid_offset, status.st_gid + gid_offset) == expected
        folder.chmod(0o700)


def test_a_closed_parent_closes_what_is_below() -> None:
    assert reachable(Path("/"), STRANGER, STRANGER)
    assert not reachable(Path("/proc/1/fd"), STRANGER, STRANGER)


def test_an_ordinary_user_is_left_as_is_and_root_never_stays_root() -> None:
    identity = choose(Path("/bin/true"), namespaces=True)
    assert (identity.launch_as == "same") == (os.geteuid() != 0)


def test_root_without_namespaces_becomes_another_user() -> None:
    identity = choose(Path("/bin/true"), namespaces=False)
    assert identity.is_other_user == (os.geteuid() == 0)


def test_root_becomes_another_user_where_the_program_does_not_run_in_a_namespace() -> None:
    identity = choose(Path("/bin/false"), namespaces=True)
    assert identity.is_other_user == (os.geteuid() == 0)


def test_a_whole_tree_is_handed_over_but_not_what_its_links_point_at(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "file").touch()
    outside.touch()
    (tree / "link").symlink_to(outside)
    identity = choose(Path("/bin/true"), namespaces=False)
    hand_over(tree, identity)
    owners = {path.lstat().st_uid for path in (tree, *tree.rglob("*"))}
    assert owners == {identity.uid}
    assert outside.stat().st_uid == os.geteuid()
