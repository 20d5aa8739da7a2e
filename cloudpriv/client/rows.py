"""What a data row of an input file becomes, and how the text of its cells becomes JSON values.

Converters raise ValueError with a reason that never repeats the text: it may be personal data.
"""

import math
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, TypeAlias

MALFORMED = "malformed"

_NUMBER = re.compile(r"-?\d+(\.\d*)?([eE][-+]?\d+)?", re.ASCII)
# Spreadsheets and data frames write whole numbers of a column with gaps as "12.0". Forty digits are more
# than a counter has, and still few enough for int().
_WHOLE = re.compile(r"(-?\d{1,40})(?:\.0*)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Rejection(NamedTuple):
    """A row that is not sent, or that the server did not take; `detail` holds no value of the row."""

    code: str
    detail: str


Record: TypeAlias = dict[str, object]
Row: TypeAlias = Record | Rejection


def malformed(detail: str) -> Rejection:
    """The verdict on a row that cannot be made into a record."""
    return Rejection(MALFORMED, detail)


def whole(text: str) -> int:
    """A whole number of any sign: its bounds are the server's to judge."""
    match = _WHOLE.fullmatch(text)
    if not match:
        raise ValueError("is not a whole number")
    return int(match[1])


def seconds(text: str) -> float:
    """A duration in seconds. As a float it is exact to the microsecond for a century."""
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    if math.isinf(number):
        raise ValueError("is not a number of seconds")
    return number


def unix_time(text: str) -> str:
    """Seconds since 1970 with any fraction -> RFC 3339 in UTC, cut to microseconds.

    Taken digit by digit: a float would round, and the same row read twice must be the same session.
    """
    count, _, fraction = text.partition(".")
    digits = count + fraction
    if not (count and digits.isascii() and digits.isdigit()):
        raise ValueError("is not a Unix time in seconds")
    return f"{_to_the_second(count)}.{fraction[:6]:0<6}Z"


@lru_cache(maxsize=4096)
def _to_the_second(count: str) -> str:
    try:
        return (_EPOCH + timedelta(seconds=int(count))).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError) as fault:
        raise ValueError("is a Unix time after the year 9999") from fault
