"""What the converters of foreign events share: their error, and how numbers and times are read."""

from datetime import UTC, datetime

# The last second that datetime can hold.
_LAST_SECOND = 253_402_300_799


class MalformedEvent(ValueError):  # noqa: N818 (named for the event, as the callers read it)
    """An event that cannot be converted; its text is the reason and names fields, never their values."""


def number(value: object, field: str, *, bits: int = 64) -> int:
    """An unsigned integer of at most `bits` bits, as int or decimal digits; MalformedEvent otherwise."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << bits:
        raise MalformedEvent(f"{field} is not an unsigned number of {bits} bits")
    return value


def unix_time(value: object, field: str) -> datetime:
    """Seconds since 1970 as an aware UTC time; MalformedEvent when unreadable or beyond the year 9999."""
    seconds = number(value, field)
    if seconds > _LAST_SECOND:
        raise MalformedEvent(f"{field} is beyond the year 9999")
    return datetime.fromtimestamp(seconds, UTC)


def rfc3339(time: datetime) -> str:
    """An aware UTC time as RFC 3339 with Z."""
    return time.isoformat().replace("+00:00", "Z")
