"""Secrets of a stack: drawn once, kept private."""

import base64
import json
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cloudpriv.embedded.credentials import (
    credentials_in,
    keyring_file_in,
    signing_key_file_in,
    write_private,
)


def test_credentials_are_drawn_once_and_found_again(tmp_path: Path) -> None:
    assert credentials_in(tmp_path) == credentials_in(tmp_path)


def test_two_folders_share_no_secret(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    first, second = (vars(credentials_in(folder)).values() for folder in folders)
    assert not set(first) & set(second)
    assert keyring_file_in(folders[0]).read_bytes() != keyring_file_in(folders[1]).read_bytes()
    assert signing_key_file_in(folders[0]).read_bytes() != signing_key_file_in(folders[1]).read_bytes()


def test_the_key_ring_names_its_active_key_of_256_bits(tmp_path: Path) -> None:
    ring = json.loads(keyring_file_in(tmp_path).read_bytes())
    assert len(base64.b64decode(ring["keys"][ring["active"]])) == 32
    assert len(base64.b64decode(ring["index_key"])) == 32
    assert ring["index_key"] not in ring["keys"].values()


def test_key_files_are_made_once(tmp_path: Path) -> None:
    for make in (keyring_file_in, signing_key_file_in):
        before = make(tmp_path).read_bytes()
        assert make(tmp_path).read_bytes() == before


def test_the_signing_key_is_ed25519(tmp_path: Path) -> None:
    key = load_pem_private_key(signing_key_file_in(tmp_path).read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)


def test_secrets_can_be_read_by_their_owner_alone(tmp_path: Path) -> None:
    credentials_in(tmp_path)
    keyring_file_in(tmp_path)
    signing_key_file_in(tmp_path)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


def test_a_draft_left_by_a_crash_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret.new").write_bytes(b"half")
    write_private(tmp_path / "secret", b"whole")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("secret", b"whole")]
