"""Certificates of erasure: signed (JWS, RFC 7515), entered in the log, and verified without the database.

The signature is a detached JWS (appendix F) over the canonical JSON (RFC 8785) of the certificate: `alg` is Ed25519 (RFC
9864), `kid` the thumbprint of the key (RFC 7638). The same key signs the checkpoints of the log.
"""

import base64
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from cloudpriv.audit.canonical import canonical
from cloudpriv.audit.tables import Certificate, PendingEntry
from cloudpriv.platform.db import Tx
from cloudpriv.platform.ids import new_id

ALGORITHM: Final = "Ed25519"


def issue(tx: Tx, key: Ed25519PrivateKey, *, purge_id: UUID, service: str, body: dict[str, Any]) -> UUID:
    """Sign what was erased and enter it for the log; the certificate's id.

    Once for each purge: another call answers the first one's id and makes nothing. `body` holds texts, whole numbers, times,
    ids, and lists and objects of them (see `canonical`); no personal data, and nothing that guesses could confirm.
    """
    certificate_id = new_id()
    own = {"id": certificate_id, "purge_id": purge_id, "service": service, "issued_at": tx.now}
    content = canonical({**body, **own})
    made = tx.session.scalar(
        upsert(Certificate)
        .values(certificate_id=certificate_id, purge_id=purge_id, service=service, body=content,
                signature=sign(content, key), issued_at=tx.now)
        .on_conflict_do_nothing(index_elements=[Certificate.purge_id])
        .returning(Certificate.certificate_id)
    )  # fmt: skip
    if made is None:
        return tx.session.scalars(select(Certificate.certificate_id).where(Certificate.purge_id == purge_id)).one()
    tx.session.execute(insert(PendingEntry).values(entry_id=certificate_id))
    return certificate_id


def sign(content: bytes, key: Ed25519PrivateKey) -> str:
    """The detached JWS of some bytes."""
    header = _encoded(canonical({"alg": ALGORITHM, "kid": thumbprint(key.public_key().public_bytes_raw())}))
    return f"{header}..{_encoded(key.sign(f'{header}.{_encoded(content)}'.encode()))}"


def thumbprint(public: bytes) -> str:
    """The JWK thumbprint of an Ed25519 public key (RFC 7638, RFC 8037)."""
    return _encoded(sha256(canonical({"crv": "Ed25519", "kty": "OKP", "x": _encoded(public)})).digest())


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
