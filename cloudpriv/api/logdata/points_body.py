"""The body of `POST /v1/logdata/points`: decoded whole when all is well, point by point to name what is not.

msgspec decodes a batch in two milliseconds but takes the last of two members of one name without a word. A member that was
overwritten shows as quotation marks that the points have no use for.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec
import pyarrow as pa

from cloudpriv.api.bulk_body import read_one, take_apart
from cloudpriv.platform.errors import TooLargeError
from cloudpriv.platform.rejections import Rejection
from cloudpriv.processor.storage import columns
from cloudpriv.processor.storage.points import MAX_POINTS, Batch, Point, Sent, as_batch, in_time, read_times

MAX_BYTES: Final = 8 * 1024 * 1024
# Commas that a body may hold: more than its points have use for, and few enough to take apart in memory.
MAX_COMMAS: Final = 20 * MAX_POINTS


class _Enveloped(msgspec.Struct, forbid_unknown_fields=True):
    points: list[Sent]


class _EnvelopedParts(msgspec.Struct, forbid_unknown_fields=True):
    points: list[msgspec.Raw]


MEMBERS: Final = frozenset(Point.__struct_encode_fields__)
LINES: Final = msgspec.json.Decoder(Sent)
ARRAY: Final = msgspec.json.Decoder(list[Sent])
ONE: Final = msgspec.json.Decoder(Point)
ENVELOPE: Final = msgspec.json.Decoder(_Enveloped)
PARTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
ENVELOPED_PARTS: Final = msgspec.json.Decoder(_EnvelopedParts)
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
Points = list[Sent]


def read_json(body: bytes, now: datetime) -> Batch:
    """The points of a JSON array, or of the member `points` of an object.

    Raises UnreadableError for what is neither, TooLargeError over 10,000 points.
    """
    enveloped = body.lstrip()[:1] == b"{"
    return _read(body, now, _enveloped if enveloped else ARRAY.decode, lambda: _parts(body, enveloped=enveloped))


def read_lines(body: bytes, now: datetime) -> Batch:
    """The points of NDJSON, one a line; empty lines are none and not counted. Raises TooLargeError over 10,000 lines."""
    count = body.count(b"\n")
    if count > MAX_POINTS:
        raise TooLargeError(f"The body has more than {MAX_POINTS} lines.")
    lines = count + (not body.endswith(b"\n"))
    return _read(body, now, lambda body: _lines(body, lines), lambda: [line for line in body.split(b"\n") if line.strip()])


def _read(body: bytes, now: datetime, whole: Callable[[bytes], Points], parts: Callable[[], list[bytes]]) -> Batch:
    if len(body) > MAX_BYTES:
        raise TooLargeError(f"The body is larger than {MAX_BYTES} bytes.")
    try:
        points = whole(body)
        _check_count(points)
        batch = as_batch(points, read_times(points), range(len(points)), [])
    except UNREADABLE:
        return in_time(_one_by_one(parts()), now)
    enveloped = whole is _enveloped
    return in_time(batch if _is_complete(body, batch, points, enveloped) else _one_by_one(parts()), now)


def _lines(body: bytes, lines: int) -> Points:
    found = LINES.decode_lines(body)
    # It passes over empty lines, but would take two points in one, or half of one in each of two.
    return found if len(found) == lines else [LINES.decode(line) for line in body.split(b"\n") if line.strip()]


def _enveloped(body: bytes) -> Points:
    return ENVELOPE.decode(body).points


def _check_count(points: Sequence[object]) -> None:
    if len(points) > MAX_POINTS:
        raise TooLargeError(f"The body has more than {MAX_POINTS} points.")


def _is_complete(body: bytes, batch: Batch, points: Points, enveloped: bool) -> bool:
    """Whether no member was overwritten and no text can hold NUL. False also where it takes a closer look to tell."""
    found = body.count(b'"') - 2 * enveloped
    if b"\\" in body:  # \u00 begins NUL, and a quotation mark that would be counted wrong
        return b"\\u00" not in body and found == msgspec.json.encode(points).count(b'"')
    needed = 10 * len(points)  # those of three names, of the tag and of the time
    for name, quotes in (("s", 2), ("quality", 4), ("unit", 4)):
        if name in batch.values.column_names:
            needed += quotes * (len(points) - batch.values[name].null_count)
    return found == needed


def _parts(body: bytes, *, enveloped: bool) -> list[bytes]:
    return take_apart(
        body,
        (lambda whole: ENVELOPED_PARTS.decode(whole).points) if enveloped else PARTS.decode,
        commas=MAX_COMMAS,
        too_many=f"The body has more parts than {MAX_POINTS} points can have.",
        other="The body is neither a JSON array nor an object with the member points alone.",
    )


def _one_by_one(pieces: Sequence[bytes]) -> Batch:
    _check_count(pieces)
    points: list[Point] = []
    indexes: list[int] = []
    rejected: list[Rejection] = []
    for index, piece in enumerate(pieces):
        found = read_one(piece, ONE, MEMBERS, "points")
        if isinstance(found, Point):
            points.append(found)
            indexes.append(index)
        else:
            rejected.append(Rejection(index, "malformed", found))
    times = pa.array([point.time for point in points], columns.TIME)
    return as_batch(points, times, indexes, rejected)
