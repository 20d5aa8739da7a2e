"""What operators watch of the processor plane: work that waits for a worker. Counts and seconds; nothing of a customer."""

from dataclasses import dataclass

from sqlalchemy import func, select

from cloudpriv.platform.db import Tx
from cloudpriv.processor.tables import LogTask


@dataclass(frozen=True)
class Figures:
    """Open tasks by kind, the seconds since the first of them was asked for, and how many of them failed before."""

    open: dict[str, int]
    oldest: float
    retried: int


def read(tx: Tx) -> Figures:
    """The figures now."""
    again = func.count().filter(LogTask.attempts > 1)
    query = select(LogTask.kind, func.count(), func.min(LogTask.created_at), again).group_by(LogTask.kind)
    rows = tx.session.execute(query).all()
    oldest = min((since for _, _, since, _ in rows), default=tx.now)
    counts = {kind: count for kind, count, _, _ in rows}
    return Figures(counts, (tx.now - oldest).total_seconds(), sum(failed for *_, failed in rows))
