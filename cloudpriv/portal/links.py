"""Links to archives: for five minutes, in the session that asked for them, and for nobody else.

A link holds no data but the export's id. It opens nothing without the session's cookie.
"""

import base64
import binascii
import hmac
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from cloudpriv.api.endpoint import call

LASTS: Final = timedelta(minutes=5)
ID_BYTES: Final = 16
TIME_BYTES: Final = 8
HASH_BYTES: Final = 32


class Link(NamedTuple):
    """What a link leads to, and until when."""

    export_id: UUID
    expires_at: datetime


def make(session_id: UUID, export_id: UUID) -> str:
    """A token that leads to an export's archive from now on, for LASTS."""
    told = export_id.bytes + int((call().now + LASTS).timestamp()).to_bytes(TIME_BYTES, "big")
    return base64.urlsafe_b64encode(told + _signed(session_id, told)).decode().rstrip("=")


def read(session_id: UUID, token: str) -> Link | None:
    """What `make` wrote into a token for this session; None for what it did not make. It may be over."""
    try:
        content = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    told, signature = content[:-HASH_BYTES], content[-HASH_BYTES:]
    if len(told) != ID_BYTES + TIME_BYTES or not hmac.compare_digest(signature, _signed(session_id, told)):
        return None
    return Link(UUID(bytes=told[:ID_BYTES]), datetime.fromtimestamp(int.from_bytes(told[ID_BYTES:], "big"), UTC))


def _signed(session_id: UUID, told: bytes) -> bytes:
    return call().run.services.plane.keys.blind_index("portal download", f"{session_id}\0{told.hex()}")
