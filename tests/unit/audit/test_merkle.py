"""The tree: its hashes and proofs as RFC 6962 defines them, from tiles."""

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudpriv.audit import merkle
from cloudpriv.audit.merkle import Frontier, ProofError, leaf_hash, node_hash

# The leaves and roots that the test data of Certificate Transparency's own implementations share.
LEAVES = [bytes.fromhex(text) for text in
          ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = st.integers(1, 600)


class Tree:
    """A tree that grew in steps, in tiles."""

    def __init__(self, *steps: int) -> None:
        self.tiles: dict[tuple[int, int], list[bytes]] = {}
        self.size = 0
        for step in steps:
            self.append([leaf_hash(str(index).encode()) for index in range(self.size, self.size + step)])

    def append(self, leaves: Sequence[bytes]) -> None:
        """Append leaf hashes."""
        self.tiles |= merkle.grow(self.size, leaves, self.read)
        self.size += len(leaves)

    def read(self, level: int, first: int, count: int) -> list[bytes]:
        """Some hashes of one tile."""
        number, at = divmod(first, merkle.WIDTH)
        found = self.tiles[level, number][at : at + count]
        assert len(found) == count
        return found


def defined_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = max(2**power for power in range(64) if 2**power < len(leaves))
    return sha256(b"\x01" + defined_root(leaves[:k]) + defined_root(leaves[k:])).digest()


def defined_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = max(2**power for power in range(64) if 2**power < len(leaves))
    if m < k:
        return [*defined_path(m, leaves[:k]), defined_root(leaves[k:])]
    return [*defined_path(m - k, leaves[k:]), defined_root(leaves[:k])]


def defined_subproof(m: int, leaves: Sequence[bytes], b: bool = True) -> list[bytes]:
    """SUBPROOF of section 2.1.2."""
    if m == len(leaves):
        return [] if b else [defined_root(leaves)]
    k = max(2**power for power in range(64) if 2**power < len(leaves))
    if m <= k:
        return [*defined_subproof(m, leaves[:k], b), defined_root(leaves[k:])]
    return [*defined_subproof(m - k, leaves[k:], False), defined_root(leaves[:k])]


def contents(size: int) -> list[bytes]:
    """The leaves of a `Tree`."""
    return [str(index).encode() for index in range(size)]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    tree, frontier = Tree(), Frontier()
    tree.append([leaf_hash(leaf) for leaf in LEAVES[:size]])
    for leaf in LEAVES[:size]:
        frontier.add(leaf_hash(leaf))
    assert merkle.root(size, tree.read).hex() == frontier.root().hex() == ROOTS[size - 1]


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.root(0, Tree().read).hex() == Frontier().root().hex() == empty


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=4))
def test_a_tree_is_the_same_in_however_many_steps_it_grew(steps: list[int]) -> None:
    assert Tree(*steps).tiles == Tree(sum(steps)).tiles


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES, st.data())
def test_roots_and_proofs_are_as_the_rfc_defines_them(one: int, other: int, data: st.DataObject) -> None:
    old, new = sorted((one, other))
    tree, leaves = Tree(new), contents(new)
    index = data.draw(st.integers(0, old - 1))
    assert merkle.root(old, tree.read) == defined_root(leaves[:old])
    assert merkle.inclusion_proof(index, old, tree.read) == defined_path(index, leaves[:old])
    assert merkle.consistency_proof(old, new, tree.read) == defined_subproof(old, leaves)


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES, st.data())
def test_a_proof_proves_that_leaf_and_those_trees_and_no_others(one: int, other: int, data: st.DataObject) -> None:
    old, new = sorted((one, other))
    tree = Tree(new)
    index = data.draw(st.integers(0, old - 1))
    leaf, other_leaf = leaf_hash(str(index).encode()), leaf_hash(b"x")
    roots = (merkle.root(old, tree.read), merkle.root(new, tree.read))
    path = merkle.inclusion_proof(index, old, tree.read)
    merkle.verify_inclusion(leaf, index, old, path, roots[0])
    for wrong in ((other_leaf, index, old, path), (leaf, index + old, old, path), (leaf, index, old, [*path, leaf]),
                  (leaf, index, old, path[:-1] if path else [leaf])):  # fmt: skip
        with pytest.raises(ProofError):
            merkle.verify_inclusion(*wrong, roots[0])
    between = merkle.consistency_proof(old, new, tree.read)
    merkle.verify_consistency(old, new, between, *roots)
    for path, pair in (([*between, leaf], roots), (between[:-1] or [leaf], roots), (between, (other_leaf, roots[1])),
                       (between, (roots[0], other_leaf))):  # fmt: skip
        with pytest.raises(ProofError):
            merkle.verify_consistency(old, new, path, *pair)


def test_a_tree_of_three_levels_is_read_from_few_hashes() -> None:
    size = merkle.WIDTH**2 + merkle.WIDTH + 1
    tree, frontier = Tree(merkle.WIDTH**2, merkle.WIDTH + 1), Frontier()
    for leaf in contents(size):
        frontier.add(leaf_hash(leaf))
    read = []

    def counted(level: int, first: int, count: int) -> list[bytes]:
        read.append(count)
        return tree.read(level, first, count)

    assert merkle.root(size, counted) == frontier.root()
    assert read == [1, 1, 1]
    path = merkle.inclusion_proof(0, size, tree.read)
    merkle.verify_inclusion(leaf_hash(b"0"), 0, size, path, frontier.root())


def test_a_node_is_never_taken_for_a_leaf() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)
