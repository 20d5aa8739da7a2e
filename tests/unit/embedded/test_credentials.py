"""Secrets of a stack: drawn once, kept private."""

import base64
import json
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from cloudpriv.embedded.credentials import (
    certificate_file_in,
    credentials_in,
    keyring_file_in,
    public_key_file_of,
    signing_key_file_in,
    write_private,
)


def test_credentials_are_drawn_once_and_found_again(tmp_path: Path) -> None:
    assert credentials_in(tmp_path) == credentials_in(tmp_path)


def test_a_folder_of_an_older_version_keeps_its_credentials_and_gets_those_that_it_lacks(tmp_path: Path) -> None:
    drawn = vars(credentials_in(tmp_path))
    older = dict(list(drawn.items())[:6])
    (tmp_path / "credentials.json").write_text(json.dumps(older))
    found = vars(credentials_in(tmp_path))
    assert {name: found[name] for name in older} == older
    assert found.keys() == drawn.keys()
    assert not {found[name] for name in drawn.keys() - older.keys()} & set(drawn.values())
    assert vars(credentials_in(tmp_path)) == found


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
    for make in (keyring_file_in, signing_key_file_in, certificate_file_in):
        before = make(tmp_path).read_bytes()
        assert make(tmp_path).read_bytes() == before


def test_the_signing_key_is_ed25519(tmp_path: Path) -> None:
    key = load_pem_private_key(signing_key_file_in(tmp_path).read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)


def test_the_public_key_is_that_of_the_signing_key(tmp_path: Path) -> None:
    private = signing_key_file_in(tmp_path)
    secret = load_pem_private_key(private.read_bytes(), password=None)
    public = load_pem_public_key(public_key_file_of(private).read_bytes())
    assert isinstance(secret, Ed25519PrivateKey)
    assert isinstance(public, Ed25519PublicKey)
    public.verify(secret.sign(b"said"), b"said")
    assert b"PRIVATE" not in public_key_file_of(private).read_bytes()


def test_the_public_key_follows_a_signing_key_that_was_replaced(tmp_path: Path) -> None:
    private = signing_key_file_in(tmp_path)
    former = public_key_file_of(private).read_bytes()
    private.unlink()
    assert public_key_file_of(signing_key_file_in(tmp_path)).read_bytes() != former


def test_the_certificate_is_that_of_the_rsa_key_in_its_file(tmp_path: Path) -> None:
    content = certificate_file_in(tmp_path).read_bytes()
    key, certificate = load_pem_private_key(content, password=None), x509.load_pem_x509_certificate(content)
    assert isinstance(key, RSAPrivateKey)
    assert certificate.public_key() == key.public_key()
    certificate.verify_directly_issued_by(certificate)


def test_secrets_can_be_read_by_their_owner_alone(tmp_path: Path) -> None:
    credentials_in(tmp_path)
    keyring_file_in(tmp_path)
    public_key_file_of(signing_key_file_in(tmp_path))
    certificate_file_in(tmp_path)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


def test_a_draft_left_by_a_crash_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret.new").write_bytes(b"half")
    write_private(tmp_path / "secret", b"whole")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("secret", b"whole")]
