"""Links in mails about consents: each holds ids and 128 bits that nobody can guess, and stands nowhere in the database.

The bits follow from the account's data key, so a link dies with the account's erasure, wherever the mail lies. One that asks
for a confirmation is good for one event, while the address that it was mailed to is registered. One that unsubscribes is
good for a person and purpose, for good: a mail of last year must still let its reader go (RFC 8058).
"""

import base64
import binascii
import hmac
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cloudpriv.platform.keys import DataKey
from cloudpriv.rights.consents.records import PURPOSES, Purpose

CONFIRM: Final = "consent.confirm"
UNSUBSCRIBE: Final = "consent.unsubscribe"
PROOF_BYTES: Final = 16
TOKEN_BYTES: Final = 16 + 16 + PROOF_BYTES


@dataclass(frozen=True)
class Token:
    """What a link's last part says: an account, an event or a person in it, and the proof that we made it."""

    account_id: UUID
    subject_id: UUID
    proof: bytes

    def confirms(self, key: DataKey, address: str) -> bool:
        """Whether it is that of a confirmation of its event, mailed to this address."""
        return hmac.compare_digest(self.proof, _of_address(key, self.subject_id, address))

    def unsubscribes_from(self, key: DataKey) -> Purpose | None:
        """The purpose that it unsubscribes its person from; None when it is no such token."""
        found = [each for each in PURPOSES if hmac.compare_digest(self.proof, _of_purpose(key, self.subject_id, each))]
        return found[0] if found else None


def confirmation(url: str, key: DataKey, consent_id: UUID, address: str) -> str:
    """The page where an event is confirmed by whoever reads the mail to `address`, while that is registered."""
    return f"{url.rstrip('/')}/portal/consents/confirm/{_written(key, consent_id, _of_address(key, consent_id, address))}"


def unsubscription(url: str, key: DataKey, person_id: UUID, purpose: Purpose) -> str:
    """The address where a person is let go: a page by GET, at once by an RFC 8058 POST."""
    return f"{url.rstrip('/')}/portal/unsubscribe/{_written(key, person_id, _of_purpose(key, person_id, purpose))}"


def read(text: str) -> Token | None:
    """The parts of a token; None for what has not its form."""
    try:
        content = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    if len(content) != TOKEN_BYTES:
        return None
    return Token(UUID(bytes=content[:16]), UUID(bytes=content[16:32]), content[32:])


def _written(key: DataKey, subject_id: UUID, proof: bytes) -> str:
    return base64.urlsafe_b64encode(key.account_id.bytes + subject_id.bytes + proof).decode()


def _of_address(key: DataKey, consent_id: UUID, address: str) -> bytes:
    return _proof(key, f"{CONFIRM}.{address}", consent_id)


def _of_purpose(key: DataKey, person_id: UUID, purpose: Purpose) -> bytes:
    return _proof(key, f"{UNSUBSCRIBE}.{purpose}", person_id)


def _proof(key: DataKey, purpose: str, subject_id: UUID) -> bytes:
    return key.blind_index(purpose, str(subject_id))[:PROOF_BYTES]
