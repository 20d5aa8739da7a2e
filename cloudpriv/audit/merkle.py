"""The Merkle tree of RFC 6962, section 2.1: its root and proofs from tiles of hashes, and their verification. Pure.

A tile holds up to 256 hashes side by side (C2SP tlog-tiles): level 0 those of leaves, level n + 1 one for each full tile of
level n. Reading is a function (level, first, count) -> `count` hashes of a level from number `first` on, all of one tile.
"""

from collections.abc import Callable, Sequence
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
        added = [_perfect(tile) for tile in tiles if len(tile) == WIDTH]
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
    found, at, last = leaf, index, size - 1
    for sibling in path:
        if last == 0:
            raise ProofError("the inclusion proof is too long")
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while not at & 1 and at:  # a right edge rises without siblings
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofError("the inclusion proof is too short")
    if found != expected:
        raise ProofError("the inclusion proof does not lead to the root")


def verify_consistency(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Raises ProofError unless the tree of `new` leaves begins with that of `old` (RFC 9162, 2.1.4.2)."""
    if not 0 < old <= new:
        raise ProofError("there is no such pair of trees")
    if old == new:
        if path or old_root != new_root:
            raise ProofError("two roots of one size differ")
        return
    hashes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    if not hashes:
        raise ProofError("the consistency proof is too short")
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    of_old = of_new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if at & 1 or at == last:
            of_old, of_new = node_hash(sibling, of_old), node_hash(sibling, of_new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            of_new = node_hash(of_new, sibling)
        at, last = at >> 1, last >> 1
    if last or (of_old, of_new) != (old_root, new_root):
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


def _subtree(begin: int, end: int, read: Read) -> bytes:
    """The root of leaves `begin` to `end`, which are a node of the tree."""
    size = end - begin
    if size & (size - 1) == 0:
        level, height = divmod(size.bit_length() - 1, HEIGHT)
        return _perfect(read(level, begin >> (HEIGHT * level), 1 << height))
    middle = begin + _split(size)
    return node_hash(_subtree(begin, middle, read), _subtree(middle, end, read))


def _perfect(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of hashes."""
    row = hashes
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
