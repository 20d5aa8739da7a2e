"""Signed notes with Ed25519 (C2SP signed-note), and what a log says in them: checkpoints and proofs. Pure.

A verifier key is text: `<name>+<key id, 8 hexadecimal digits>+<base64 of 0x01 and the public key>`.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cloudpriv.audit.merkle import HASH_BYTES, ProofError

ED25519: Final = b"\x01"
ID_BYTES: Final = 4
SIGNATURE_BYTES: Final = 64
MOST_SIGNATURES: Final = 100  # the specification asks for 16 at least, and for a limit
MOST_HASHES: Final = 63  # the path in a tree of 2^63 leaves
PROOF_HEADER: Final = "c2sp.org/tlog-proof@v1"
NAME: Final = re.compile(r"[^\s+]+")
DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
SIGNATURE: Final = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


class NoteError(ProofError):
    """A note, key or proof is malformed, or its signature is not that of the key; the text says what."""


@dataclass(frozen=True)
class VerifierKey:
    """A name and a public key that may sign under it."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The key id: with the name it says which key made a signature."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:ID_BYTES]

    @property
    def text(self) -> str:
        """The vkey."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log's tree (C2SP tlog-checkpoint)."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text of its note."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True)
class InclusionProof:
    """A leaf's place in the tree of a checkpoint (C2SP tlog-proof); `note` is the signed checkpoint."""

    index: int
    path: tuple[bytes, ...]
    note: str


def verifier_key(name: str, key: Ed25519PrivateKey) -> VerifierKey:
    """The verifier key of a private key under a name. Raises NoteError for a name with blanks or a plus."""
    if NAME.fullmatch(name) is None:
        raise NoteError("a key's name is empty or holds blanks or a plus")
    return VerifierKey(name, key.public_key().public_bytes_raw())


def read_verifier_key(text: str) -> VerifierKey:
    """The verifier key of a vkey. Raises NoteError."""
    name, plus, rest = text.strip().partition("+")
    hex_id, also_plus, encoded = rest.partition("+")
    raw = _decoded(encoded, "the key is not base64")
    if not (plus and also_plus and NAME.fullmatch(name)) or raw[:1] != ED25519 or len(raw) != 33:
        raise NoteError("the key is no Ed25519 verifier key (name+id+base64)")
    key = VerifierKey(name, raw[1:])
    if hex_id != key.id.hex():
        raise NoteError("the key's id is not that of its name and bytes")
    return key


def sign(text: str, name: str, key: Ed25519PrivateKey) -> str:
    """`text`, which ends with a newline, as a note signed under a name."""
    signature = base64.b64encode(verifier_key(name, key).id + key.sign(text.encode())).decode()
    return f"{text}\n— {name} {signature}\n"


def verify(note: str, keys: Iterable[VerifierKey]) -> str:
    """The text of a note that at least one of the keys has signed; signatures of unknown keys are ignored.

    Raises NoteError when it is malformed, nobody known has signed it, or a signature of one of the keys is wrong.
    """
    text, signatures = _parted(note)
    known = {(key.name, key.id): key for key in keys}
    made = [(known[name, raw[:ID_BYTES]], raw[ID_BYTES:]) for name, raw in signatures if (name, raw[:ID_BYTES]) in known]
    if not made:
        raise NoteError("no signature is of the given key")
    for key, signature in made:
        _check(key, signature, text)
    return text


def read_verifier_keys(vkeys: str) -> list[VerifierKey]:
    """Verifier keys, one a line. Raises NoteError."""
    return [read_verifier_key(line) for line in vkeys.splitlines() if line.strip()]


def open_checkpoint(note: str, vkeys: str) -> Checkpoint:
    """The checkpoint of a note that the log it is of has signed, with one of these verifier keys, one a line.

    Raises NoteError when none is the log's own, or it has not signed.
    """
    origin = note.partition("\n")[0]
    key = next((key for key in read_verifier_keys(vkeys) if key.name == origin), None)
    if key is None:
        raise NoteError("the checkpoint is of another log than the given key")
    return read_checkpoint(verify(note, [key]))


def read_checkpoint(text: str) -> Checkpoint:
    """The checkpoint that a note's text states. Raises NoteError."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() or not all(lines):
        raise NoteError("the checkpoint is not of at least three lines")
    origin, size, encoded = lines[:3]
    root = _decoded(encoded, "the checkpoint's root is not base64")
    if DECIMAL.fullmatch(size) is None or len(root) != HASH_BYTES:
        raise NoteError("the checkpoint's size or root is malformed")
    return Checkpoint(origin, int(size), root)


def write_proof(proof: InclusionProof) -> str:
    """A proof as `c2sp.org/tlog-proof@v1`."""
    hashes = "".join(f"{base64.b64encode(each).decode()}\n" for each in proof.path)
    return f"{PROOF_HEADER}\nindex {proof.index}\n{hashes}\n{proof.note}"


def read_proof(text: str) -> InclusionProof:
    """A proof, strictly read; extra data, which nothing vouches for, is left aside. Raises NoteError."""
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines[0] != PROOF_HEADER:
        raise NoteError(f"the proof does not begin as {PROOF_HEADER}")
    rest = lines[1:]
    if rest and rest[0].startswith("extra "):
        _decoded(rest.pop(0).removeprefix("extra "), "the proof's extra data is not base64")
    word, _, index = rest[0].partition(" ") if rest else ("", "", "")
    if word != "index" or DECIMAL.fullmatch(index) is None:
        raise NoteError("the proof names no index")
    return InclusionProof(int(index), _hashes(rest[1:]), note)


def _hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    path = tuple(_decoded(line, "a hash of the proof is not base64") for line in lines)
    if len(path) > MOST_HASHES or any(len(each) != HASH_BYTES for each in path):
        raise NoteError("the proof holds something else than hashes")
    return path


def _parted(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """A note's text, and names and bytes of its signatures."""
    text, blank, last = note.rpartition("\n\n")
    lines = last.split("\n")
    if not (text and blank) or lines.pop() or CONTROL.search(note) or not 0 < len(lines) <= MOST_SIGNATURES:
        raise NoteError("the note is malformed")
    return text + "\n", [_signature(line) for line in lines]


def _signature(line: str) -> tuple[str, bytes]:
    found = SIGNATURE.fullmatch(line)
    if found is None:
        raise NoteError("a signature line of the note is malformed")
    raw = _decoded(found[2], "a signature of the note is not base64")
    if len(raw) <= ID_BYTES:
        raise NoteError("a signature of the note is too short")
    return found[1], raw


def _check(key: VerifierKey, signature: bytes, text: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text.encode())
    except (InvalidSignature, ValueError):
        raise NoteError("the note's signature is not that of the key over its text") from None


def _decoded(text: str, otherwise: str) -> bytes:
    """Base64 with padding, in its one canonical spelling. Raises NoteError."""
    try:
        raw = base64.b64decode(text.encode(), validate=True)
    except ValueError:
        raise NoteError(otherwise) from None
    if base64.b64encode(raw).decode() != text:
        raise NoteError(otherwise)
    return raw
