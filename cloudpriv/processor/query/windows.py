"""Windows of time: how much of the chunks that wait is read at once, so that memory is bounded and hours stay whole."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from cloudpriv.processor.storage.chunks import ALL_TAGS, LAST, Selection
from cloudpriv.processor.tables import LogChunk

BULK: Final = 250_000  # points of a window; a window has one chunk more at most
BYTES: Final = 16 * 1024 * 1024  # of columns of a window, which may be as many again
GETS_AT_ONCE: Final = 4
# Windows begin and end with an hour of UTC, so that sums by the hour do not depend on how the points lie in chunks; only
# an hour of more than merging.MOST_BYTES is told in parts.
HOUR: Final = timedelta(hours=1)


def hour_of(time: datetime) -> datetime:
    """When its hour of UTC began."""
    return time.replace(minute=0, second=0, microsecond=0)


def end_of(waiting: Sequence[LogChunk], selection: Selection, since: datetime, enough: int) -> datetime:
    """Where a chunk begins and those that begin before have enough points; earlier, an hour at least, if many overlap."""
    points, size, until = 0.0, 0.0, LAST
    for chunk in waiting:
        begins = hour_of(chunk.since)
        if (points >= enough or size >= BYTES) and begins > since:
            until = begins
            break
        points += points_of(chunk, selection.tag_ids)
        size += bytes_of(chunk, selection.tag_ids)
    while (points > 2 * max(enough, BULK) or size > 2 * BYTES) and (narrowed := _halved(waiting, since, until)) < until:
        until = narrowed
        shares = [(_share(chunk, since, until), chunk) for chunk in waiting]
        points = sum(share * points_of(chunk, selection.tag_ids) for share, chunk in shares)
        size = sum(share * bytes_of(chunk, selection.tag_ids) for share, chunk in shares)
    return until


def groups(touched: Sequence[LogChunk], tag_ids: Sequence[int] | None, enough: int) -> Iterator[list[LogChunk]]:
    """Chunks to be in memory at once: those that have enough points, and about BYTES at most, or one."""
    some: list[LogChunk] = []
    points = size = 0
    for chunk in touched:
        own = bytes_of(chunk, tag_ids)
        if some and (size + own > BYTES or (len(some) >= GETS_AT_ONCE and points >= enough)):
            yield some
            some, points, size = [], 0, 0
        some.append(chunk)
        points, size = points + points_of(chunk, tag_ids), size + own
    if some:
        yield some


def points_of(chunk: LogChunk, tag_ids: Sequence[int] | None) -> int:
    """How many points of a chunk are read for these tags, at most."""
    wanted = None if tag_ids is None else {ALL_TAGS, *tag_ids}
    return sum(points for _, _, tag, points, _ in chunk.segments if wanted is None or tag in wanted)


def bytes_of(chunk: LogChunk, tag_ids: Sequence[int] | None) -> int:
    """How much memory the points of a chunk take that are read for these tags, at most."""
    wanted = None if tag_ids is None else {ALL_TAGS, *tag_ids}
    return sum(size for _, _, tag, _, size in chunk.segments if wanted is None or tag in wanted)


def _halved(waiting: Sequence[LogChunk], since: datetime, until: datetime) -> datetime:
    ends = min(until, max(chunk.until for chunk in waiting))
    return max(hour_of(since + (ends - since) / 2), hour_of(since) + HOUR)


def _share(chunk: LogChunk, since: datetime, until: datetime) -> float:
    """The part of a chunk's points that lie in a window, if they lie evenly."""
    shared = min(chunk.until, until) - max(chunk.since, since)
    whole = chunk.until - chunk.since
    share = shared / whole if whole else 1.0
    return max(0.0, share)
