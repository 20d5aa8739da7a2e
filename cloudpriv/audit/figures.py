"""Figures of the log for those who watch over it: a standstill shows in what waits, and since when."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select

from cloudpriv.audit import merkle
from cloudpriv.audit.checkpoints import published_size
from cloudpriv.audit.log import newest_log
from cloudpriv.audit.tables import LogTile, PendingEntry
from cloudpriv.platform.db import Tx

MOST: Final = 100_000  # counted: the figure costs the same however long the log stands still


@dataclass(frozen=True)
class Figures:
    """`pending` counts entries in no published checkpoint, up to MOST; `oldest` is the age of the first in seconds."""

    pending: int
    oldest: float


def read(tx: Tx) -> Figures:
    """The figures now. An entry's id tells its age (UUIDv7)."""
    waiting = select(PendingEntry.entry_id).order_by(PendingEntry.entry_id)
    count = tx.session.scalar(select(func.count()).select_from(waiting.limit(MOST).subquery())) or 0
    unpublished, first = _unpublished(tx)
    oldest = [each for each in (tx.session.scalar(waiting.limit(1)), first) if each is not None]
    return Figures(min(count + unpublished, MOST), max((_age(each, tx.now) for each in oldest), default=0.0))


def _unpublished(tx: Tx) -> tuple[int, UUID | None]:
    """How many leaves no published checkpoint covers, and what the first of them stands for."""
    log = newest_log(tx)
    if log is None or log.size <= (published := published_size(tx, log)):
        return 0, None
    number, at = divmod(published, merkle.WIDTH)
    place = LogTile.log == log.log, LogTile.level == 0, LogTile.number == number
    return log.size - published, tx.session.scalar(select(LogTile.entries[at + 1]).where(*place))


def _age(entry: UUID, now: datetime) -> float:
    milliseconds = entry.int >> 80  # RFC 9562, 5.7
    return max(0.0, now.timestamp() - milliseconds / 1000)
