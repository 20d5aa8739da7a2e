"""The lease under which one worker at a time makes an archive (law 3).

A lease is granted and renewed under the account's row lock, and never for an account that is being purged. So once a
purge has marked the account, every live lease ends within LEASE, and no archive becomes visible after that.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, or_, select

from cloudpriv.audit import events
from cloudpriv.controller import accounts
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import KeyFault
from cloudpriv.platform.renewal import renewed
from cloudpriv.rights.tables import Export

log = structlog.get_logger(__name__)

LEASE: Final = timedelta(seconds=30)
RENEWAL_SECONDS: Final = 10.0  # twice missed is still in time
ATTEMPTS: Final = 5
OPEN: Final = ("pending", "running")


class LeaseLostError(Exception):
    """The lease ended and another worker took over, or the account is being erased: whoever held it stops."""


@dataclass
class Lease:
    """One attempt at an export; `written` bytes and `rows` of those `expected` tell those who wait how far it got."""

    plane: Plane
    clock: Callable[[], datetime]
    account_id: UUID
    export_id: UUID
    owner: UUID
    written: int = 0
    rows: int = 0
    expected: int = 0
    lost: Event = field(default_factory=Event)

    def confirm(self) -> None:
        """Renew the lease. Raises LeaseLostError when it is no longer this attempt's, BusyError."""
        now = self.clock()
        with self.plane.transaction(WORKER, now) as tx:
            export = self.locked(tx)
            export.lease_until = now + LEASE
            export.size, export.progress = self.written, self.progress

    @property
    def progress(self) -> int:
        """Percent of the rows that are written; all of them only once the archive is stored."""
        return min(99, 100 * self.rows // self.expected) if self.expected else 0

    def wrote(self, rows: int) -> None:
        """Count rows in."""
        self.rows += rows

    def locked(self, tx: Tx) -> Export:
        """The export's row, locked with its account. Raises LeaseLostError."""
        export = _locked(tx, self.account_id, Export.export_id == self.export_id, Export.lease_owner == self.owner)
        if export is None:
            raise LeaseLostError
        return export

    def check(self) -> None:
        """Raises LeaseLostError when the last renewal failed; costs nothing."""
        if self.lost.is_set():
            raise LeaseLostError

    def kept(self) -> AbstractContextManager[None]:
        """Renew beside the work until the block ends: a long query or a slow upload must not lose it."""
        return renewed(self._renew, RENEWAL_SECONDS, str(self.export_id))

    def _renew(self) -> bool:
        try:
            self.confirm()
        except LeaseLostError:
            self.lost.set()
        return not self.lost.is_set()


def claim(plane: Plane, export_id: UUID, clock: Callable[[], datetime]) -> Lease | None:
    """Take an export that is open and that nobody works on; None when there is none, or its account is being erased.

    An export whose workers died ATTEMPTS times is given up. Raises BusyError, and KeyFault, which is an attempt too.
    """
    try:
        return _claim(plane, export_id, clock)
    except KeyFault:
        _count_unreadable(plane, export_id, clock())
        raise


def _claim(plane: Plane, export_id: UUID, clock: Callable[[], datetime]) -> Lease | None:
    now = clock()
    with plane.transaction(WORKER, now) as tx:
        account_id = tx.session.scalar(select(Export.account_id).where(Export.export_id == export_id))
        if account_id is None:
            return None
        export = _locked(tx, account_id, Export.export_id == export_id, *workable(now))
        if export is None:
            return None
        if export.attempts >= ATTEMPTS:
            give_up(tx, export, "interrupted")
            return None
        export.status = "running"
        export.attempts += 1
        export.progress = 0
        export.lease_owner, export.lease_until = new_id(), now + LEASE
        return Lease(plane, clock, account_id, export_id, export.lease_owner)


def _count_unreadable(plane: Plane, export_id: UUID, now: datetime) -> None:
    """An account whose key does not open: nobody can lock it as others do, and staff is to hear of it at last."""
    with plane.transaction(WORKER, now) as tx:
        query = select(Export).where(Export.export_id == export_id, *workable(now)).with_for_update(skip_locked=True)
        export = tx.session.scalar(query)
        if export is None:
            return
        export.attempts, export.lease_until = export.attempts + 1, now + LEASE
        if export.attempts >= ATTEMPTS:
            give_up(tx, export, "internal")


def workable(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """What an export must be that a worker may take: open, not held, and not put off."""
    return Export.status.in_(OPEN), or_(Export.lease_until.is_(None), Export.lease_until <= now)


def give_up(tx: Tx, export: Export, failure: str) -> None:
    """Mark the export failed, audited; its request stays open for a person to look at."""
    export.status, export.failure = "failed", failure
    export.lease_owner = export.lease_until = None
    export.expires_at = tx.now  # what its last attempt may have stored is erased as archives are whose time is over
    events.record(tx, "export.fail", account_id=export.account_id, subject_id=export.export_id)
    log.error("export_failed", export=str(export.export_id), failure=failure)


def _locked(tx: Tx, account_id: UUID, *conditions: ColumnElement[bool]) -> Export | None:
    try:
        account = accounts.find_account(tx, account_id, lock=True)
    except NotFoundError:  # erased, or its keys are: a purge has begun
        return None
    if account.row.status == "purging":
        return None
    query = select(Export).where(Export.account_id == account_id, *conditions)
    return tx.session.scalars(query.with_for_update(skip_locked=True)).one_or_none()
