"""The secrets of one stack: drawn at random on first use, kept in its folder, for its owner alone to read."""

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

RSA_BITS: Final = 2048
LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)
NEVER: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # "no well-defined expiration date" (RFC 5280, 4.1.2.5)

_password = partial(secrets.token_hex, 24)
_key_id = partial(secrets.token_hex, 10)
_secret_key = partial(secrets.token_hex, 20)


@dataclass(frozen=True)
class Credentials:
    """Passwords of the database roles and of Valkey, and the S3 key pairs; hexadecimal, so plain in URLs.

    What is not given is drawn.
    """

    owner_password: str = field(default_factory=_password)
    api_password: str = field(default_factory=_password)
    worker_password: str = field(default_factory=_password)
    valkey_password: str = field(default_factory=_password)
    s3_access_key_id: str = field(default_factory=_key_id)
    s3_secret_access_key: str = field(default_factory=_secret_key)
    processor_owner_password: str = field(default_factory=_password)
    processor_api_password: str = field(default_factory=_password)
    processor_worker_password: str = field(default_factory=_password)
    eraser_password: str = field(default_factory=_password)
    teller_password: str = field(default_factory=_password)
    processor_s3_access_key_id: str = field(default_factory=_key_id)
    processor_s3_secret_access_key: str = field(default_factory=_secret_key)


def credentials_in(folder: Path) -> Credentials:
    """The credentials kept in `folder`; those that lack, all or what an older version had not, are drawn and saved."""
    file = folder / "credentials.json"
    kept = json.loads(file.read_bytes()) if file.exists() else {}
    credentials = Credentials(**kept)
    if asdict(credentials) != kept:
        write_private(file, json.dumps(asdict(credentials), indent=2).encode())
    return credentials


def keyring_file_in(folder: Path, name: str = "keyring") -> Path:
    """A key ring with one index key and one key-encryption key of 256 bits each in `name`.json, made if absent."""
    file = folder / f"{name}.json"
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


def public_key_file_of(private: Path) -> Path:
    """The public half of an Ed25519 key file (PEM, SubjectPublicKeyInfo) beside it in `.pub.pem`, made if not that one's."""
    file = private.with_suffix(".pub.pem")
    key = load_pem_private_key(private.read_bytes(), password=None).public_key()
    content = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if not file.exists() or file.read_bytes() != content:
        write_private(file, content)
    return file


def certificate_file_in(folder: Path) -> Path:
    """An RSA private key (PEM, PKCS #8, unencrypted) and its self-signed certificate for this host, made if absent."""
    file = folder / "certificate.pem"
    if not file.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(file, secret + _self_signed(key).public_bytes(Encoding.PEM))
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


def _self_signed(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    hosts = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
    draft = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), LONG_AGO, NEVER)
    return draft.add_extension(hosts, critical=False).sign(key, SHA256())


def _random_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()
