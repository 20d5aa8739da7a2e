"""The first points of several chunks, by time and place, in bounded memory whatever the chunks hold.

Texts that repeat compress to nothing: a few KB of objects may be hundreds of MB of columns.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from cloudpriv.processor.storage import columns

MOST_BYTES: Final = 64 * 1024 * 1024  # of columns of a table; one point more where that alone is larger

Position = tuple[datetime, int]
"""Time and place of a point."""


@dataclass
class FirstPoints:
    """The first points of what was added, up to `most` and MOST_BYTES; where some had no room, `ceiling` is the last kept.

    Tables are added by the earliest time that they may hold.
    """

    most: int | None = None
    ceiling: Position | None = None
    _parts: list[pa.Table] = field(default_factory=list)

    def add(self, tables: list[pa.Table]) -> None:
        """Take more points in, and let those go that there is no room for."""
        self._parts += tables
        if self.most is not None or sum(part.nbytes for part in self._parts) > MOST_BYTES:
            self._parts = [self._fitting()]

    def end_before(self, time: datetime) -> bool:
        """Whether no point of this time or later is among the first."""
        return self.ceiling is not None and self.ceiling[0] < time

    def table(self) -> pa.Table:
        """The points, by time and place."""
        return self._fitting()

    def _fitting(self) -> pa.Table:
        points = _in_order(columns.together(self._parts) if len(self._parts) != 1 else self._parts[0])
        if self.ceiling is not None:  # what lies beyond had no room, so what comes after that has none either
            points = points.filter(pc.invert(after(points, self.ceiling)))
        fits = _how_many_fit(points, self.most)
        if fits < len(points):
            points = points.take(pa.array(range(fits), pa.int64()))  # a slice would keep all of them in memory
            self.ceiling = position_of(points, fits - 1)
        return points


def position_of(points: pa.Table, row: int) -> Position:
    """Where a page stands that ends with this row."""
    return points["time"][row].as_py(), points["seq"][row].as_py()


def after(points: pa.Table, position: Position) -> pa.ChunkedArray:
    """Which points come after a position, as truth values."""
    time = pa.scalar(position[0], columns.TIME)
    same = pc.and_(pc.equal(points["time"], time), pc.greater(points["seq"], position[1]))
    return pc.or_(pc.greater(points["time"], time), same)


def _how_many_fit(points: pa.Table, most: int | None) -> int:
    fits = len(points) if most is None else min(len(points), most)
    if points.nbytes > MOST_BYTES:
        ends = pc.cumulative_sum(pc.cast(columns.bytes_of_each(points), pa.int64()))
        fits = min(fits, max(1, pc.sum(pc.less_equal(ends, MOST_BYTES)).as_py()))
    return fits


def _in_order(points: pa.Table) -> pa.Table:
    times = points["time"]
    if len(times) < 2 or pc.all(pc.less(times.slice(0, len(times) - 1), times.slice(1))).as_py():
        return points  # as nearly always: sorting would cost more than reading did
    return columns.in_order(points, "time", "seq")
