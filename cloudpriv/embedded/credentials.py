"""The secrets of one stack: drawn at random on first use, kept in its folder, for its owner alone to read."""

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


@dataclass(frozen=True)
class Credentials:
    """Passwords of the database roles and of Valkey, and the S3 key pair; hexadecimal, so plain in URLs."""

    owner_password: str
    api_password: str
    worker_password: str
    valkey_password: str
    s3_access_key_id: str
    s3_secret_access_key: str


def credentials_in(folder: Path) -> Credentials:
    """The credentials kept in `folder`, drawn and saved first if there are none."""
    file = folder / "credentials.json"
    if not file.exists():
        write_private(file, json.dumps(asdict(_draw_credentials()), indent=2).encode())
    return Credentials(**json.loads(file.read_bytes()))


def keyring_file_in(folder: Path) -> Path:
    """A key ring with one index key and one key-encryption key of 256 bits each, made if absent."""
    file = folder / "keyring.json"
    if not file.exists():
        active = secrets.token_hex(8)
        keyring = {"index_key": _random_key(), "active": active, "keys": {active: _random_key()}}
        write_private(file, json.dumps(keyring, indent=2).encode())
    return file


def signing_key_file_in(folder: Path, name: str = "signing-key") -> Path:
    """An Ed25519 private key (PEM, PKCS #8, unencrypted) in the file `name`.pem, made if absent."""
    file = folder / f"{name}.pem"
    if not file.exists():
        key = Ed25519PrivateKey.generate()
        write_private(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file


def write_private(file: Path, content: bytes) -> None:
    """Write `file` with mode 0600, whole or not at all: a crash never leaves half a secret behind."""
    draft = file.with_name(file.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        output.write(content)
        output.flush()
        os.fsync(descriptor)
    draft.replace(file)


def _draw_credentials() -> Credentials:
    return Credentials(
        owner_password=secrets.token_hex(24),
        api_password=secrets.token_hex(24),
        worker_password=secrets.token_hex(24),
        valkey_password=secrets.token_hex(24),
        s3_access_key_id=secrets.token_hex(10),
        s3_secret_access_key=secrets.token_hex(20),
    )


def _random_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()
