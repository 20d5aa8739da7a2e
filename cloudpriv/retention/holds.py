"""Legal holds: what an authority has kept of an account, a person or a category, until it is released or its time is over.

A hold stops erasure of exactly its scope. Whatever was to be erased meanwhile goes on by itself when the hold ends.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select

from cloudpriv.platform.db import Tx
from cloudpriv.retention.tables import Hold


def active(tx: Tx, account_id: UUID) -> list[Hold]:
    """The account's holds that count now: neither released nor past their `until`, oldest first."""
    lasting = or_(Hold.until.is_(None), Hold.until > tx.now)
    query = select(Hold).where(Hold.account_id == account_id, Hold.released_at.is_(None), lasting)
    return list(tx.session.scalars(query.order_by(Hold.hold_id)))


def next_end(held: Iterable[Hold]) -> datetime | None:
    """When the first of these holds ends by itself; None when none does."""
    return min((hold.until for hold in held if hold.until is not None), default=None)


def keep_all(held: Sequence[Hold]) -> bool:
    """Whether one of these holds keeps the whole account."""
    return any(hold.scope == "account" for hold in held)
