"""Certificates of erasure: signed (JWS, RFC 7515), entered in the log, and verified without the database.

The signature is a detached JWS (appendix F) over the canonical JSON (RFC 8785) of the certificate: `alg` is Ed25519 (RFC
9864), `kid` the thumbprint of the key (RFC 7638). The same key signs the checkpoints of the log.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from cloudpriv.audit import merkle, notes, tiles
from cloudpriv.audit.canonical import canonical
from cloudpriv.audit.merkle import ProofError
from cloudpriv.audit.tables import Certificate, Checkpoint, PendingEntry
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError, NotReadyError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.objectstore import ObjectStore

ALGORITHM: Final = "Ed25519"
ROWS_AT_ONCE: Final = 1000
MISPLACED: Final = text("""
    SELECT certificate_id FROM certificates c
    WHERE NOT EXISTS (SELECT FROM log_pending WHERE entry_id = c.certificate_id)
      AND NOT EXISTS (
        SELECT FROM log_tiles t JOIN logs l USING (log)
        WHERE t.log = c.log AND t.level = 0 AND t.number = c.leaf_index / 256 AND c.leaf_index < l.size
          AND t.entries[(c.leaf_index % 256)::int + 1] = c.certificate_id
      )
    ORDER BY certificate_id
""")


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


def document(tx: Tx, certificate_id: UUID) -> dict[str, Any]:
    """The certificate with its signature and the proof that it is in the log: all that `verify` needs beside the key.

    Raises NotFoundError, and NotReadyError while no published checkpoint covers it.
    """
    found = tx.session.get(Certificate, certificate_id)
    if found is None:
        raise NotFoundError
    proof = None if found.log is None or found.leaf_index is None else _proof(tx, found.log, found.leaf_index)
    if proof is None:
        raise NotReadyError("The certificate is signed and not in a published checkpoint yet.")
    return {"certificate": json.loads(found.body), "signature": found.signature, "proof": proof}


def keep(tx: Tx, ledger: ObjectStore, log: int, first: int) -> None:
    """Put the documents of what stands in the log from the leaf `first` on into the bucket, which no restore takes back."""
    query = select(Certificate.certificate_id).where(Certificate.log == log, Certificate.leaf_index >= first)
    for certificate_id in tx.session.scalars(query).all():
        ledger.put(object_key(certificate_id), canonical(document(tx, certificate_id)))


def kept(ledger: ObjectStore, certificate_id: UUID) -> dict[str, Any]:
    """The document of a certificate that the database lost in a restore. Raises NotFoundError, BusyError."""
    found: dict[str, Any] = json.loads(ledger.get(object_key(certificate_id)))
    return found


def object_key(certificate_id: UUID) -> str:
    """Where a certificate's document lies in the ledger's bucket."""
    return f"certificates/{certificate_id}.json"


def read_document(text: str) -> dict[str, Any]:
    """The members of a document's JSON, each named once. Raises ProofError."""
    try:
        members = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise ProofError("the document is not JSON with each member once") from None
    if not isinstance(members, dict):
        raise ProofError("the document is no JSON object")
    return members


def verify(document: Mapping[str, Any], vkeys: str) -> notes.Checkpoint:
    """That the certificate was signed, and is in the log that the signed checkpoint is of; that checkpoint.

    `vkeys` are verifier keys, one a line: the log's own decides where it stands, and any may have signed it, since what
    waited while the key was changed stands in the log of the next key. Raises ProofError, which says what is wrong.
    """
    if set(document) != {"certificate", "signature", "proof"}:
        raise ProofError("the document is not of certificate, signature and proof")
    certificate, signature, proof = document["certificate"], document["signature"], document["proof"]
    if not (isinstance(certificate, dict) and isinstance(signature, str) and isinstance(proof, str)):
        raise ProofError("certificate, signature or proof is of another kind")
    content, place = _content(certificate), notes.read_proof(proof)
    checkpoint = notes.open_checkpoint(place.note, vkeys)
    verify_signature(content, signature, vkeys)
    merkle.verify_inclusion(merkle.leaf_hash(content), place.index, checkpoint.size, place.path, checkpoint.root)
    return checkpoint


def verify_signature(content: bytes, signature: str, vkeys: str) -> None:
    """That one of the verifier keys, one a line, has signed some bytes as `sign` does. Raises ProofError."""
    header, _, made = signature.partition("..")
    public = next((key.public for key in notes.read_verifier_keys(vkeys) if header == _header(key.public)), None)
    if public is None:
        raise ProofError("the certificate was signed with another key or in another way")
    try:
        raw = base64.b64decode(made + "=" * (-len(made) % 4), altchars=b"-_", validate=True)
        Ed25519PublicKey.from_public_bytes(public).verify(raw, _signed(header, content))
    except (InvalidSignature, ValueError):
        raise ProofError("the certificate's signature is not that of the key over its content") from None


def faults(tx: Tx, vkeys: str) -> Iterator[str]:
    """What in the certificates' rows is not as it was signed and placed, one line each. Leaves are not looked at."""
    for found in tx.session.scalars(select(Certificate).execution_options(yield_per=ROWS_AT_ONCE)):
        told = {"id": found.certificate_id, "purge_id": found.purge_id, "service": found.service}
        try:
            verify_signature(found.body, found.signature, vkeys)
        except ProofError as fault:
            yield f"certificate {found.certificate_id}: {fault}"
        if not _tells(found.body, told | {"issued_at": found.issued_at}):
            yield f"certificate {found.certificate_id}: its row is not what the certificate says"
    for certificate_id in tx.session.scalars(MISPLACED):
        yield f"certificate {certificate_id} is not where its row says, nor waits to be logged"


def sign(content: bytes, key: Ed25519PrivateKey) -> str:
    """The detached JWS of some bytes."""
    header = _header(key.public_key().public_bytes_raw())
    return f"{header}..{_encoded(key.sign(_signed(header, content)))}"


def thumbprint(public: bytes) -> str:
    """The JWK thumbprint of an Ed25519 public key (RFC 7638, RFC 8037)."""
    return _encoded(sha256(canonical({"crv": "Ed25519", "kty": "OKP", "x": _encoded(public)})).digest())


def _proof(tx: Tx, log: int, index: int) -> str | None:
    """The proof under the first checkpoint that covers a leaf, the same for ever after."""
    covering = select(Checkpoint).where(Checkpoint.log == log, Checkpoint.size > index).order_by(Checkpoint.size).limit(1)
    checkpoint = tx.session.scalar(covering)
    if checkpoint is None:
        return None
    path = merkle.inclusion_proof(index, checkpoint.size, tiles.reader(tx, log))
    return notes.write_proof(notes.InclusionProof(index, tuple(path), checkpoint.note))


def _content(certificate: dict[str, Any]) -> bytes:
    try:
        return canonical(certificate)
    except (TypeError, ValueError, RecursionError):
        raise ProofError("the certificate holds what no certificate does") from None


def _tells(content: bytes, members: dict[str, Any]) -> bool:
    """Whether a certificate's bytes hold these members."""
    try:
        told = json.loads(content)
    except ValueError:
        return False
    return isinstance(told, dict) and all(told.get(name) == value for name, value in json.loads(canonical(members)).items())


def _header(public: bytes) -> str:
    return _encoded(canonical({"alg": ALGORITHM, "kid": thumbprint(public)}))


def _signed(header: str, content: bytes) -> bytes:
    return f"{header}.{_encoded(content)}".encode()


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("a member stands twice")
    return found


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
