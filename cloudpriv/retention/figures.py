"""Figures of the purge for those who watch over it: what waits, since when, and what had to be begun again.

Read from the database whenever they are asked for, so they are the same whoever answers. Their cost follows what is due,
open, or ended within a day.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import func, select

from cloudpriv.platform.db import Tx
from cloudpriv.policy.register import Policy
from cloudpriv.retention import due
from cloudpriv.retention.tables import OPEN, Purge

DAY: Final = timedelta(days=1)
ENDS: Final = ("done", "cancelled")


@dataclass(frozen=True)
class Figures:
    """`due` counts accounts that may be erased, the other purges; times are seconds, 0 where nothing waits.

    `retried` are open purges whose worker failed or stopped. `ended` counts by status those that ended within a day.
    """

    due: int
    oldest_due: float
    open: dict[str, int]
    oldest_open: float
    retried: int
    ended: dict[str, int]


def read(tx: Tx, policy: Policy) -> Figures:
    """The figures now."""
    number, since = due.backlog(tx, policy)
    by_status = select(Purge.status, func.count(), func.min(Purge.planned_at), func.count().filter(Purge.attempts > 1))
    rows = tx.session.execute(by_status.where(Purge.status.in_(OPEN)).group_by(Purge.status)).all()
    oldest = min((planned_at for _, _, planned_at, _ in rows), default=tx.now)
    return Figures(
        due=number,
        oldest_due=0.0 if since is None else (tx.now - since).total_seconds(),
        open=dict.fromkeys(OPEN, 0) | {status: count for status, count, _, _ in rows},
        oldest_open=(tx.now - oldest).total_seconds(),
        retried=sum(retried for _, _, _, retried in rows),
        ended=dict.fromkeys(ENDS, 0) | _ended(tx),
    )


def _ended(tx: Tx) -> dict[str, int]:
    within = Purge.status.in_(ENDS), Purge.finished_at > tx.now - DAY
    query = select(Purge.status, func.count()).where(*within).group_by(Purge.status)
    return {status: count for status, count in tx.session.execute(query)}  # noqa: C416  rows are no pairs to the type checker
