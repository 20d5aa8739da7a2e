"""What opens a session of the portal: ids and 256 random bits in a cookie, of which only the hash is stored."""

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Final, NamedTuple
from uuid import UUID

SECRET_BYTES: Final = 32
COOKIE_BYTES: Final = 16 + 16 + SECRET_BYTES


class Cookie(NamedTuple):
    """The parts of a session's cookie."""

    account_id: UUID
    session_id: UUID
    secret: bytes

    @property
    def secret_hash(self) -> bytes:
        """What is stored of it."""
        return hashlib.sha256(self.secret).digest()

    def opens(self, secret_hash: bytes) -> bool:
        """Whether it is the cookie that this hash was stored of."""
        return hmac.compare_digest(secret_hash, self.secret_hash)

    def written(self) -> str:
        """The cookie's value."""
        content = self.account_id.bytes + self.session_id.bytes + self.secret
        return base64.urlsafe_b64encode(content).decode().rstrip("=")


def make(account_id: UUID, session_id: UUID) -> Cookie:
    """A new cookie of a session, with a secret of its own."""
    return Cookie(account_id, session_id, secrets.token_bytes(SECRET_BYTES))


def read(value: str) -> Cookie | None:
    """The parts of a cookie's value; None for what is none of ours."""
    try:
        content = base64.urlsafe_b64decode(value.encode("ascii") + b"=" * (-len(value) % 4))
    except (binascii.Error, UnicodeEncodeError):
        return None
    if len(content) != COOKIE_BYTES:
        return None
    return Cookie(UUID(bytes=content[:16]), UUID(bytes=content[16:32]), content[32:])
