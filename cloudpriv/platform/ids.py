"""Identifiers: UUIDv7 (RFC 9562), so that rows of one time lie together and ids sort by creation."""

from uuid import UUID

from uuid_utils import compat


def new_id() -> UUID:
    """A fresh UUIDv7."""
    return compat.uuid7()
