"""The one place that reads the clock. Everything else takes ``now``."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The time of the host, aware, in UTC, to the microsecond."""
    return datetime.now(UTC)
