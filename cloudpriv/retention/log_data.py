"""Log data in an erasure: closed before the recheck, ordered to go once the account's key is gone, and awaited at the end.

The controller plane reaches it by a role that may do nothing else, in the processor plane's database; without such a plane
there is none. What a restore of that database brings back is ordered to go again, by the ledger.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select

from cloudpriv.controller import log_data
from cloudpriv.controller.tables import Account
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.processor.upkeep import erasure
from cloudpriv.retention.erase import hash_of
from cloudpriv.retention.tables import LedgerEntry

PAGE: Final = 1000


@contextmanager
def closed(eraser: Plane | None, now: datetime) -> Iterator[Tx | None]:
    """A transaction of the processor plane, in which to close and order; None where there is no such plane."""
    if eraser is None:
        yield None
        return
    with eraser.transaction(WORKER, now) as tx:
        yield tx


def close(tx: Tx, across: Tx, account: Account, cutoff: datetime | None) -> None:
    """Let nobody append until `across` ends, or open the account, and move its clock to its last point.

    A point at or after the cutoff closes nothing. The caller has locked the account's row. Raises BusyError.
    """
    last_point_at = erasure.prepare(across, account.account_id, cutoff)
    if last_point_at is not None and cutoff is not None and last_point_at >= cutoff:
        log_data.move_clock(tx, account, last_point_at)


def erased(eraser: Plane | None, account_id: UUID, now: datetime) -> dict[str, int] | None:
    """What of log data was erased, once nothing is left; None while something is, which then is ordered to go (again)."""
    if eraser is None:
        return {}
    with eraser.statement(WORKER, now) as tx:
        counts = erasure.state(tx, account_id)
    if counts is None:
        with eraser.transaction(WORKER, now) as tx:
            erasure.order(tx, account_id)
            counts = erasure.state(tx, account_id)
    return counts


def is_older(plane: Plane, eraser: Plane, clock: Callable[[], datetime]) -> bool:
    """Whether log data's database knows nothing of the latest erasure in the ledger: a backup may have taken its place.

    Two look-ups of one row, however many accounts there are.
    """
    with plane.transaction(WORKER, clock(), read_only=True) as tx:
        latest = tx.session.scalar(select(LedgerEntry.account_hash).order_by(LedgerEntry.erased_at.desc()).limit(1))
    if latest is None:
        return False
    with eraser.transaction(WORKER, clock()) as tx:
        return not erasure.is_ordered(tx, latest)


def order_returned(plane: Plane, eraser: Plane, clock: Callable[[], datetime]) -> list[UUID]:
    """Have the log data of accounts erased that the ledger says are gone: a backup brought it back. Which accounts."""
    returned: list[UUID] = []
    for page in _pages(eraser, clock):
        with plane.transaction(WORKER, clock()) as tx:
            gone = _erased_among(tx, page)
        for account_id in gone:
            with eraser.transaction(WORKER, clock()) as tx:
                erasure.order(tx, account_id)
        returned += gone
    return returned


def unknown(plane: Plane, eraser: Plane, clock: Callable[[], datetime]) -> list[UUID]:
    """Accounts with log data of which neither an account nor the ledger tells.

    So it is after a restore of the controller plane's database to before they were made. Nothing erases them by itself, as
    nobody promised their owners that.
    """
    found: list[UUID] = []
    for page in _pages(eraser, clock):
        with plane.transaction(WORKER, clock(), read_only=True) as tx:
            erased = set(_erased_among(tx, page))
            there = set(tx.session.scalars(select(Account.account_id).where(Account.account_id.in_(page))))
        found += [account_id for account_id in page if account_id not in erased | there]
    return found


def _pages(eraser: Plane, clock: Callable[[], datetime]) -> Iterator[list[UUID]]:
    """All accounts with log data whose erasure is not ordered, some at a time."""
    page: list[UUID] = []
    while not page or len(page) == PAGE:
        with eraser.transaction(WORKER, clock()) as tx:
            page = erasure.account_ids(tx, page[-1] if page else None, PAGE)
        yield page
        if not page:
            return


def _erased_among(tx: Tx, account_ids: list[UUID]) -> list[UUID]:
    """Those of the accounts that are in the ledger and not there any more."""
    hashes = {hash_of(account_id): account_id for account_id in account_ids}
    known = select(LedgerEntry.account_hash).where(LedgerEntry.account_hash.in_(hashes))
    erased = [hashes[account_hash] for account_hash in tx.session.scalars(known)]
    there = set(tx.session.scalars(select(Account.account_id).where(Account.account_id.in_(erased))))
    return [account_id for account_id in erased if account_id not in there]
