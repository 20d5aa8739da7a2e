"""The Merkle tree of RFC 6962, section 2.1: its root and proofs from tiles of hashes, and their verification. Pure.

A tile holds up to 256 hashes side by side (C2SP tlog-tiles): level 0 those of leaves, level n + 1 one for each full tile of
level n. Reading is a function (level, first, count) -> `count` hashes of a level from number `first` on, all of one tile.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Final

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
HASH_BYTES: Final = 32
EMPTY: Final = sha256().digest()
Read = Callable[[int, int, int], Sequence[bytes]]


class ProofError(Exception):
    """A proof does not prove; the text says why."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf's content."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return sha256(b"\x01" + left + right).digest()


def grow(size: int, leaves: Sequence[bytes], read: Read) -> dict[tuple[int, int], list[bytes]]:
    """The tiles that change when leaf hashes are appended to a tree of `size`: (level, number) -> all its hashes."""
    changed: dict[tuple[int, int], list[bytes]] = {}
    level, first, added = 0, size, list(leaves)
    while added:
        number, begun = divmod(first, WIDTH)
        hashes = [*read(level, first - begun, begun), *added] if begun else added
        tiles = [hashes[at : at + WIDTH] for at in range(0, len(hashes), WIDTH)]
        changed.update({(level, number + at): tile for at, tile in enumerate(tiles)})
        added = [perfect(tile) for tile in tiles if len(tile) == WIDTH]
        level, first = level + 1, number
    return changed


def root(size: int, read: Read) -> bytes:
    """The root of the first `size` leaves."""
    return _subtree(0, size, read) if size else EMPTY


def inclusion_proof(index: int, size: int, read: Read) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size` (section 2.1.1), the leaf's sibling first."""
    if not 0 <= index < size:
        raise ValueError("no such leaf")
    path, begin, end = [], 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(_subtree(middle, end, read))
            end = middle
        else:
            path.append(_subtree(begin, middle, read))
            begin = middle
    return path[::-1]


def consistency_proof(old: int, new: int, read: Read) -> list[bytes]:
    """That the tree of `new` leaves begins with that of `old` (section 2.1.2)."""
    if not 0 < old <= new:
        raise ValueError("no such trees")
    path, begin, end, whole = [], 0, new, True
    while old != end:
        middle = begin + _split(end - begin)
        if old <= middle:
            path.append(_subtree(middle, end, read))
            end = middle
        else:
            path.append(_subtree(begin, middle, read))
            begin, whole = middle, False
    return [*([] if whole else [_subtree(begin, end, read)]), *path[::-1]]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected: bytes) -> None:
    """Raises ProofError unless the leaf of this hash has this index in the tree of `size` with the root `expected`."""
    if not 0 <= index < size:
        raise ProofError("the index lies outside the tree")
    rest = iter(path)
    found = _climbed(leaf, index, size, rest)
    _used_up(rest)
    if found != expected:
        raise ProofError("the inclusion proof does not lead to the root")


def verify_consistency(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Raises ProofError unless the tree of `new` leaves with `new_root` begins with that of `old` leaves."""
    if not 0 < old <= new:
        raise ProofError("there is no such pair of trees")
    rest = iter(path)
    found = _both(old, new, rest, old_root)
    _used_up(rest)
    if found != (old_root, new_root):
        raise ProofError("the consistency proof does not lead from one root to the other")


class Frontier:
    """The root of leaves as they come, in the memory of one path."""

    def __init__(self) -> None:
        self.size = 0
        self._subtrees: list[bytes] = []  # perfect ones, the largest first: one for each 1 in the size

    def add(self, leaf: bytes) -> None:
        """Append the leaf of this hash."""
        found, size = leaf, self.size
        while size & 1:
            found, size = node_hash(self._subtrees.pop(), found), size >> 1
        self._subtrees.append(found)
        self.size += 1

    def root(self) -> bytes:
        """The root of what was added."""
        if not self._subtrees:
            return EMPTY
        found = self._subtrees[-1]
        for left in self._subtrees[-2::-1]:
            found = node_hash(left, found)
        return found


def _climbed(leaf: bytes, index: int, size: int, path: Iterator[bytes]) -> bytes:
    """The root that a leaf and its audit path give."""
    if size == 1:
        return leaf
    middle = _split(size)
    if index < middle:
        return node_hash(_climbed(leaf, index, middle, path), _next(path))
    right = _climbed(leaf, index - middle, size - middle, path)
    return node_hash(_next(path), right)


def _both(old: int, new: int, path: Iterator[bytes], known: bytes | None) -> tuple[bytes, bytes]:
    """The roots of both trees that a consistency proof gives; `known` is the old one while it is a subtree of the new."""
    if old == new:
        found = known or _next(path)
        return found, found
    middle = _split(new)
    if old <= middle:
        of_old, left = _both(old, middle, path, known)
        return of_old, node_hash(left, _next(path))
    of_old, of_new = _both(old - middle, new - middle, path, None)
    shared = _next(path)
    return node_hash(shared, of_old), node_hash(shared, of_new)


def _next(path: Iterator[bytes]) -> bytes:
    found = next(path, None)
    if found is None:
        raise ProofError("the proof is too short")
    return found


def _used_up(path: Iterator[bytes]) -> None:
    if next(path, None) is not None:
        raise ProofError("the proof is too long")


def _subtree(begin: int, end: int, read: Read) -> bytes:
    """The root of leaves `begin` to `end`, which are a node of the tree."""
    size = end - begin
    if size & (size - 1) == 0:
        level, height = divmod(size.bit_length() - 1, HEIGHT)
        return perfect(read(level, begin >> (HEIGHT * level), 1 << height))
    middle = begin + _split(size)
    return node_hash(_subtree(begin, middle, read), _subtree(middle, end, read))


def perfect(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of hashes."""
    row = hashes
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
