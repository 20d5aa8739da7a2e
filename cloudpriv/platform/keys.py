"""Keys of a plane: key-encryption keys, one data key per account, sealing, and blind indexes.

Sealed means AES-256-GCM under the account's data key; the account, the record and the field's purpose are associated data,
so a sealed value moved to another row, field or account does not open. Data keys are stored wrapped by a key-encryption
key of the plane; destroying the wrapped key makes everything sealed under it unreadable, wherever it was copied to.
"""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import boto3
import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key

NONCE_BYTES = 12
CACHE_SECONDS = 30.0  # from then on a data key, maybe an erased account's, is dropped when any key is next asked for
CACHE_ENTRIES = 10_000


class KeyFault(Exception):  # noqa: N818  it is a fault of the installation, not a refusal of the domain
    """A keyring cannot be read, or a sealed value does not open: wrong key, moved or altered value."""


@dataclass(frozen=True)
class WrappedKey:
    """A data key as stored: which key-encryption key wrapped it, and nonce, ciphertext and tag."""

    kek_id: str
    wrapped: bytes


@dataclass(frozen=True, repr=False)
class DataKey:
    """The data key of one account in one plane; seals and opens that account's values."""

    account_id: UUID
    _cipher: AESGCM
    _index_key: bytes

    def seal(self, record_id: UUID, purpose: str, value: dict[str, Any]) -> bytes:
        """`value` as JSON under this key, bound to account, record and purpose."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, msgspec.json.encode(value), self._bound_to(record_id, purpose))

    def open(self, record_id: UUID, purpose: str, sealed: bytes) -> dict[str, Any]:
        """The value that `seal` was given. Raises KeyFault when it was altered or belongs elsewhere."""
        try:
            plain = self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._bound_to(record_id, purpose))
        except (InvalidTag, ValueError):
            raise KeyFault(f"a sealed {purpose} does not open") from None
        value: dict[str, Any] = msgspec.json.decode(plain)
        return value

    def blind_index(self, purpose: str, value: str) -> bytes:
        """Keyed hash of a normalised value, unique to this account: equal values can be found, none can be read."""
        return hmac.digest(self._index_key, f"{purpose}\0{value}".encode(), hashlib.sha256)

    def seal_object(self, name: str, content: bytes) -> bytes:
        """The content of an object of the store under this key, bound to account and object: 28 bytes more than it."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, self._bound_to_object(name))

    def open_object(self, name: str, sealed: bytes) -> bytes:
        """The content that `seal_object` was given. Raises KeyFault when it was altered or lay under another name."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._bound_to_object(name))
        except (InvalidTag, ValueError):
            raise KeyFault("a sealed object does not open") from None

    def _bound_to_object(self, name: str) -> bytes:
        # A record's id has sixteen bytes of any kind where this has a text that no purpose begins with.
        return self.account_id.bytes + b"object\0" + name.encode()

    def _bound_to(self, record_id: UUID, purpose: str) -> bytes:
        return self.account_id.bytes + record_id.bytes + purpose.encode()


@dataclass(frozen=True, repr=False)
class Keyring:
    """The key-encryption keys of a plane and its index key, unsealed in memory."""

    plane: str
    active: str
    keys: dict[str, bytes]
    index_key: bytes
    monotonic: Callable[[], float] = time.monotonic
    _cache: "OrderedDict[bytes, tuple[float, DataKey]]" = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def new_data_key(self, account_id: UUID) -> WrappedKey:
        """A fresh random data key for an account, wrapped by the active key-encryption key."""
        return self._wrap(account_id, AESGCM.generate_key(256))

    def rewrap(self, account_id: UUID, stored: WrappedKey) -> WrappedKey:
        """The same data key under the active key-encryption key, for rotation."""
        return self._wrap(account_id, self._unwrap(account_id, stored))

    def data_key(self, account_id: UUID, stored: WrappedKey) -> DataKey:
        """The usable data key. Raises KeyFault when no live key-encryption key unwraps it."""
        known = self._cached(stored.wrapped)
        if known is None:
            secret = self._unwrap(account_id, stored)
            known = DataKey(account_id, AESGCM(secret), hmac.digest(secret, b"blind index", hashlib.sha256))
            self._remember(stored.wrapped, known)
        return known

    def blind_index(self, purpose: str, value: str) -> bytes:
        """Keyed hash for look-ups across accounts (the directory): the plane's index key, never plaintext."""
        return hmac.digest(self.index_key, f"{self.plane}\0{purpose}\0{value}".encode(), hashlib.sha256)

    def _wrap(self, account_id: UUID, secret: bytes) -> WrappedKey:
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = AESGCM(self.keys[self.active]).encrypt(nonce, secret, self._context(account_id))
        return WrappedKey(self.active, nonce + sealed)

    def _unwrap(self, account_id: UUID, stored: WrappedKey) -> bytes:
        try:
            cipher = AESGCM(self.keys[stored.kek_id])
            return cipher.decrypt(stored.wrapped[:NONCE_BYTES], stored.wrapped[NONCE_BYTES:], self._context(account_id))
        except KeyError:
            raise KeyFault(f"key-encryption key {stored.kek_id} is not in the keyring") from None
        except (InvalidTag, ValueError):
            raise KeyFault(f"the data key of account {account_id} does not unwrap") from None

    def _context(self, account_id: UUID) -> bytes:
        return self.plane.encode() + account_id.bytes

    def _cached(self, wrapped: bytes) -> DataKey | None:
        with self._lock:
            now = self.monotonic()
            while self._cache and next(iter(self._cache.values()))[0] <= now:  # in the order in which they end
                self._cache.popitem(last=False)
            entry = self._cache.get(wrapped)
            return None if entry is None else entry[1]

    def _remember(self, wrapped: bytes, key: DataKey) -> None:
        with self._lock:
            self._cache[wrapped] = (self.monotonic() + CACHE_SECONDS, key)
            while len(self._cache) > CACHE_ENTRIES:
                self._cache.popitem(last=False)


NO_KEYS = Keyring("none", "", {}, b"")  # of a connection to the other plane, which opens nothing there


def load_keyring(path: Path, plane: str, *, kms_key_id: str | None = None, kms_endpoint: str | None = None,
                 region: str | None = None) -> Keyring:  # fmt: skip
    """Read a keyring file: `{"index_key", "active", "keys": {id: key}}`, each key 32 bytes in base64.

    With `kms_key_id` each entry is a ciphertext of AWS KMS, decrypted once, here, with the plane and the entry's name as
    encryption context. Raises KeyFault naming what is wrong, never key material.
    """
    try:
        document = json.loads(path.read_text())
        unseal = _plain if kms_key_id is None else _KmsUnsealer(plane, kms_key_id, kms_endpoint, region)
        keys = {kek_id: unseal(kek_id, text) for kek_id, text in document["keys"].items()}
        ring = Keyring(plane, document["active"], keys, unseal("index_key", document["index_key"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BotoCoreError, ClientError) as fault:
        raise KeyFault(f"the keyring of the {plane} plane cannot be read ({type(fault).__name__})") from None
    if ring.active not in ring.keys or any(len(key) != 32 for key in (*ring.keys.values(), ring.index_key)):
        raise KeyFault(f"the keyring of the {plane} plane needs 32-byte keys and an active one among them")
    return ring


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 private key of a PEM file. Raises KeyFault when there is none in it."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as fault:
        raise KeyFault(f"a signing key cannot be read ({type(fault).__name__})") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFault("a signing key is not of Ed25519")
    return key


def _plain(_name: str, text: str) -> bytes:
    return base64.b64decode(text, validate=True)


class _KmsUnsealer:
    def __init__(self, plane: str, key_id: str, endpoint: str | None, region: str | None) -> None:
        self._client = boto3.client("kms", endpoint_url=endpoint, region_name=region)
        self._plane, self._key_id = plane, key_id

    def __call__(self, name: str, text: str) -> bytes:
        context = {"plane": self._plane, "entry": name}
        answer = self._client.decrypt(
            KeyId=self._key_id,
            CiphertextBlob=base64.b64decode(text, validate=True),
            EncryptionContext=context,
        )
        plaintext: bytes = answer["Plaintext"]
        return plaintext
