"""What the converters of foreign events share: their error, and how numbers and times are read."""

from datetime import UTC, datetime

# The last second that datetime can hold.
_LAST_SECOND = 253_402_300_799


class MalformedEvent(ValueError):  # noqa: N818 (named for the event, as the callers read it)
    """An event that cannot be converted; its text is the reason and names fields, never their values."""


def number(text: str, field: str, *, bits: int = 64) -> int:
    """The unsigned integer of at most `bits` bits that stands there in digits; MalformedEvent otherwise."""
    # 2^64 has 20 digits; int() of a text without bound would be slow.
    digits = text.isascii() and text.isdigit() and len(text) <= 20
    if not digits or int(text) >= 1 << bits:
        raise MalformedEvent(f"{field} is not an unsigned number of {bits} bits")
    return int(text)


def is_unicode(text: str) -> bool:
    """Whether the text can be sent at all: what was no UTF-8 or a lone surrogate cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def unix_time(text: str, field: str) -> datetime:
    """Seconds since 1970 as an aware UTC time; MalformedEvent when unreadable or beyond the year 9999."""
    seconds = number(text, field)
    if seconds > _LAST_SECOND:
        raise MalformedEvent(f"{field} is beyond the year 9999")
    return datetime.fromtimestamp(seconds, UTC)


def rfc3339(time: datetime) -> str:
    """An aware UTC time as RFC 3339 with Z."""
    return time.isoformat().replace("+00:00", "Z")
