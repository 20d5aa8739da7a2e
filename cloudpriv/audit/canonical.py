"""Canonical JSON (RFC 8785) of the values that proofs hold: one sequence of bytes for one meaning, to hash and to sign."""

import json
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

LARGEST: Final = 2**53 - 1  # RFC 7493, 2.2: beyond it readers differ


def canonical(value: Any) -> bytes:
    """The bytes of texts, whole numbers, booleans, null, lists and objects of them; ids and times as texts.

    Raises ValueError for a number that readers take differently, TypeError for anything else: fractions, and names of
    members that are not ASCII (whose order is another in UTF-16).
    """
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()


def as_text(at: datetime) -> str:
    """An aware time as RFC 3339 with six digits of the second, in UTC."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return _exact(value)
    if isinstance(value, datetime):
        return as_text(value)
    if isinstance(value, UUID | date):
        return str(value)
    if isinstance(value, dict):
        return {_name(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    raise TypeError(f"{type(value).__name__} has no canonical form")


def _exact(number: int) -> int:
    if abs(number) > LARGEST:
        raise ValueError("a number is too large to be read alike by all")
    return int(number)


def _name(name: Any) -> str:
    if not (isinstance(name, str) and name.isascii()):
        raise TypeError("a member's name is not ASCII")
    return name
