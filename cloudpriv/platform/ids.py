"""Identifiers: UUIDv7 (RFC 9562), so that rows of one time lie together and ids sort by creation."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from uuid_utils import compat

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def new_id() -> UUID:
    """A fresh UUIDv7."""
    return compat.uuid7()


def created_at(found: UUID) -> datetime:
    """When an id of `new_id` was made, by the clock of its maker."""
    return EPOCH + timedelta(milliseconds=found.int >> 80)
