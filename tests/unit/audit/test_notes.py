"""Signed notes, checkpoints and proofs, as other tools write and read them."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from cloudpriv.audit import notes
from cloudpriv.audit.notes import Checkpoint, InclusionProof, NoteError
from tests.proofs import KEY

# The example of golang.org/x/mod/sumdb/note: keys and notes that Go's own checksum database reads.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SECRET = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
GO_NOTE = f"{GO_TEXT}\n— PeterNeumann {GO_SIGNATURE}\n"
NAME = "example.com/log/1"
VKEY = notes.verifier_key(NAME, KEY)
OF_ANOTHER_KIND = base64.b64encode(bytes((2, *VKEY.public))).decode()
ROOT = bytes(range(32))
TEXT = Checkpoint(NAME, 7, ROOT).text
NOTE = notes.sign(TEXT, NAME, KEY)
PROOF = InclusionProof(5, (ROOT, ROOT[::-1]), NOTE)


def test_gos_note_is_read_and_written_byte_for_byte() -> None:
    key = notes.read_verifier_key(GO_KEY)
    assert notes.verify(GO_NOTE, [key]) == GO_TEXT
    secret = Ed25519PrivateKey.from_private_bytes(base64.b64decode(GO_SECRET)[1:])
    assert notes.verifier_key("PeterNeumann", secret).text == GO_KEY
    assert notes.sign(GO_TEXT, "PeterNeumann", secret) == GO_NOTE


def test_a_checkpoint_is_origin_size_and_root() -> None:
    assert TEXT.split("\n") == [NAME, "7", base64.b64encode(ROOT).decode(), ""]
    assert notes.open_checkpoint(NOTE, VKEY.text) == Checkpoint(NAME, 7, ROOT)
    assert notes.read_checkpoint(TEXT + "an extension\n").size == 7


def test_signatures_of_strangers_are_ignored_and_one_of_ours_must_be_right() -> None:
    stranger = notes.sign(TEXT, "witness.example", Ed25519PrivateKey.generate()).rpartition("\n\n")[2]
    assert notes.verify(NOTE + stranger, [VKEY]) == TEXT
    with pytest.raises(NoteError, match="no signature is of the given key"):
        notes.verify(f"{TEXT}\n{stranger}", [VKEY])
    forged = f"{TEXT}\n— {NAME} {base64.b64encode(VKEY.id + bytes(64)).decode()}\n"
    with pytest.raises(NoteError, match="not that of the key"):
        notes.verify(forged, [VKEY])
    with pytest.raises(NoteError, match="another log"):
        notes.open_checkpoint(NOTE, GO_KEY)


@pytest.mark.parametrize(
    "note",
    ["", "\n\n", TEXT, TEXT + "\n", NOTE.rstrip("\n"), NOTE + "\n", NOTE.replace("— ", "- "), NOTE.replace("\n", "\r\n"),
     NOTE.replace("7", "7\t"), f"{TEXT}\n— {NAME} AAAA\n", f"{TEXT}\n" + "\n".join([NOTE.splitlines()[-1]] * 101) + "\n"],
)  # fmt: skip
def test_a_malformed_note_is_refused(note: str) -> None:
    with pytest.raises(NoteError):
        notes.verify(note, [VKEY])


@given(st.integers(0, len(NOTE.encode()) - 2), st.integers(1, 255))
def test_no_byte_of_a_note_can_be_changed(at: int, by: int) -> None:
    raw = bytearray(NOTE.encode())
    raw[at] ^= by
    try:
        changed = raw.decode()
    except UnicodeDecodeError:
        return
    with pytest.raises(NoteError):
        notes.verify(changed, [VKEY])


@pytest.mark.parametrize(
    "text",
    ["", "a\n1\n", "a\n01\n" + TEXT.splitlines()[2] + "\n", "a\n-1\n" + TEXT.splitlines()[2] + "\n", TEXT.rstrip("\n"),
     TEXT + "\n", "a\n1\nAAAA\n", "a\n1\n!\n", "\n1\n" + TEXT.splitlines()[2] + "\n", TEXT.replace("7", "\u0667")],
)  # fmt: skip
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        notes.read_checkpoint(text)


@pytest.mark.parametrize(
    "text",
    ["", "name", "name+00000000+AAAA", VKEY.text.replace("log/1", "log/2"), VKEY.text.replace(VKEY.id.hex(), "00000000"),
     f"{NAME}+{VKEY.id.hex()}+{OF_ANOTHER_KIND}", VKEY.text[:-4]],
)  # fmt: skip
def test_a_malformed_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        notes.read_verifier_key(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\nb"])
def test_nobody_signs_under_a_name_that_a_note_cannot_carry(name: str) -> None:
    with pytest.raises(NoteError):
        notes.verifier_key(name, KEY)


def test_a_proof_is_written_and_read_as_its_specification_says() -> None:
    text = notes.write_proof(PROOF)
    hashes = [base64.b64encode(each).decode() for each in PROOF.path]
    assert text == f"c2sp.org/tlog-proof@v1\nindex 5\n{hashes[0]}\n{hashes[1]}\n\n{NOTE}"
    assert notes.read_proof(text) == PROOF
    assert notes.read_proof(text.replace("index", "extra AAAA\nindex")) == PROOF
    alone = InclusionProof(0, (), NOTE)
    assert notes.read_proof(notes.write_proof(alone)) == alone


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("@v1", "@v2"), ("index 5\n", ""), ("index 5", "index 05"), ("index 5", "index -1"), ("index 5", "index  5"),
     ("index 5\n", "index 5\nextra AAAA\n"), ("index 5\n", "index 5\nAAAA\n"), ("index 5\n", "index 5\n!\n"),
     ("index", "extra !\nindex"), ("\n\n", "\n"), ("index 5\n", "index 5\n" + "AAAA\n" * 64)],
)  # fmt: skip
def test_a_malformed_proof_is_refused(ours: str, theirs: str) -> None:
    with pytest.raises(NoteError):
        notes.read_proof(notes.write_proof(PROOF).replace(ours, theirs, 1))
