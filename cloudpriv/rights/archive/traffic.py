"""Traffic per month and device: a member of an archive, and the totals that its readable page draws.

One query that PostgreSQL sums up, read as it comes: device by device, so that no more than the largest are kept in mind.
"""

import heapq
from collections import defaultdict
from collections.abc import Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from typing import cast as typed

from sqlalchemy import ColumnElement, Select, Table, func, literal_column

from cloudpriv.controller.tables import TrafficSession
from cloudpriv.platform import bulk
from cloudpriv.platform.db import Tx
from cloudpriv.rights.archive.scope import Scope

NAME: Final = "traffic_by_month.csv"
LARGEST: Final = 20  # devices that the page shows
DEVICE: Final = TrafficSession.__table__.columns["device_id"]
COLUMNS: Final = ("month", "device_id", "sessions", "bytes_from_device", "bytes_to_device")


class Volume(NamedTuple):
    """Sessions and bytes either way."""

    sessions: int = 0
    bytes_from_device: int = 0
    bytes_to_device: int = 0

    @property
    def bytes(self) -> int:
        """Both ways."""
        return self.bytes_from_device + self.bytes_to_device

    def plus(self, other: "Volume") -> "Volume":
        """The sum of both."""
        return Volume(*(mine + its for mine, its in zip(self, other, strict=True)))


@dataclass
class Totals:
    """Volumes by month (`2026-05`), and of the devices with most bytes by their id; filled while the member is written."""

    months: defaultdict[str, Volume] = field(default_factory=lambda: defaultdict(Volume))
    devices: int = 0
    _largest: list[tuple[int, str, Volume]] = field(default_factory=list)

    def add(self, month: str, volume: Volume) -> None:
        """Count a device's month in."""
        self.months[month] = self.months[month].plus(volume)

    def end(self, device_id: str, volume: Volume) -> None:
        """Count a device in that has been read whole."""
        self.devices += 1
        keep = heapq.heappush if len(self._largest) < LARGEST else heapq.heappushpop
        keep(self._largest, (volume.bytes, device_id, volume))

    @property
    def largest(self) -> list[tuple[str, Volume]]:
        """The devices with most bytes, most first."""
        return [(device_id, volume) for _, device_id, volume in sorted(self._largest, reverse=True)]


def blocks(tx: Tx, scope: Scope, totals: Totals, queries: ExitStack) -> Generator[bytes, None, int]:
    """The member in blocks, by device and month; returns how many rows. `totals` is filled when it has been read whole."""
    device, volume, rows = "", Volume(), 0
    for block in queries.enter_context(closing(bulk.csv_blocks(tx.session, _query(scope)))):
        for month, device_id, *numbers in _cells(block):
            rows += 1
            if device_id != device:
                _end(totals, device, volume)
                device, volume = device_id, Volume()
            this = Volume(*map(int, numbers))
            totals.add(month, this)
            volume = volume.plus(this)
        yield block
    _end(totals, device, volume)
    return rows


def _end(totals: Totals, device: str, volume: Volume) -> None:
    if device:
        totals.end(device, volume)


def _cells(block: bytes) -> Generator[list[str], None, None]:
    for line in block.decode("ascii").splitlines():
        cells = line.split(",")
        if cells[0] != COLUMNS[0]:
            yield cells


def _query(scope: Scope) -> Select[Any]:
    """No cell holds a comma or a quote: months, ids and numbers."""
    month = func.date_trunc(literal_column("'month'"), func.timezone("UTC", TrafficSession.started_at))
    numbers = (func.count(), func.sum(TrafficSession.bytes_from_device), func.sum(TrafficSession.bytes_to_device))
    columns: tuple[ColumnElement[Any], ...] = (func.to_char(month, "YYYY-MM"), DEVICE, *numbers)
    named = (column.label(name) for name, column in zip(COLUMNS, columns, strict=True))
    found = scope.select(typed(Table, TrafficSession.__table__), *named)
    return found.group_by(month, DEVICE).order_by(DEVICE, month)
