"""A worker's grip on a purge: a lease in the purge's row, renewed by every transaction, taken over when it runs out."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import or_, select, update

from cloudpriv.controller.tables import Account
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.errors import BusyError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.renewal import renewed
from cloudpriv.retention.tables import WORKABLE, Purge

# With the schedule's round of 5 s, a stopped worker is followed within 30 s. A transaction may wait as long for a lock: the
# purge's own row, locked meanwhile, keeps others off even when the lease runs out.
LEASE: Final = timedelta(seconds=20)
PAUSE: Final = timedelta(seconds=5)  # before what met a server away is tried again
RENEWAL_SECONDS: Final = 5.0  # thrice missed is still in time


class NotOursError(Exception):
    """The purge has ended, or another worker holds it."""


@dataclass(frozen=True)
class Unit:
    """One transaction of a purge, whose row is locked until the end."""

    tx: Tx
    purge: Purge


@dataclass(frozen=True)
class Grip:
    """One worker's grip on one purge, for as long as it works on it."""

    plane: Plane
    purge_id: UUID
    clock: Callable[[], datetime]
    owner: UUID = field(default_factory=new_id)

    @contextmanager
    def unit(self, step: str | None = None) -> Iterator[Unit]:
        """A transaction on the purge, which takes or renews the lease and sets the step.

        Raises NotOursError when the purge has ended or is another's, so that what two workers do never adds up.
        """
        with self.plane.transaction(WORKER, self.clock()) as tx:
            unit = self._taken(tx, step, skip_locked=False)
            with tx.session.no_autoflush:  # the purge's row is written once, at the end
                yield unit

    @contextmanager
    def unit_with_account(self) -> Iterator[tuple[Unit, Account]]:
        """The same with the account's row, which ingest and everybody who changes the account have to lock too."""
        with self.plane.transaction(WORKER, self.clock()) as tx:
            # The account's row before the purge's: in the order of whoever closes an account.
            query = select(Account).join(Purge, Purge.account_id == Account.account_id)
            account = tx.session.scalar(query.where(Purge.purge_id == self.purge_id).with_for_update(of=Account))
            if account is None:
                raise NotOursError
            unit = self._taken(tx, None, skip_locked=True)
            with tx.session.no_autoflush:
                yield unit, account

    def _taken(self, tx: Tx, step: str | None, *, skip_locked: bool) -> Unit:
        """The purge's row, locked, with our lease in it.

        Whoever begins leaves a locked one alone: another works on it. Whoever is at work waits, since a lock is then only a
        look at it, such as that of a hold being released.
        """
        free = or_(Purge.lease_owner.is_(None), Purge.lease_owner == self.owner, Purge.lease_until <= tx.now)
        query = select(Purge).where(Purge.purge_id == self.purge_id, Purge.status.in_(WORKABLE), free)
        purge = tx.session.scalar(query.with_for_update(skip_locked=skip_locked))
        if purge is None:
            raise NotOursError
        if purge.lease_owner != self.owner:
            purge.status, purge.lease_owner, purge.attempts = "running", self.owner, purge.attempts + 1
        purge.lease_until = tx.now + LEASE
        purge.step = step or purge.step
        return Unit(tx, purge)

    def kept(self, seconds: float = RENEWAL_SECONDS) -> AbstractContextManager[None]:
        """Renew the lease beside the block: however long the object store takes, nobody takes the purge over meanwhile."""
        return renewed(self._renew, seconds, str(self.purge_id))

    def give_up(self) -> None:
        """Let the next worker try in a moment, since a server is away; if that is the database, the lease just runs out."""
        with suppress(BusyError), self.plane.transaction(WORKER, self.clock()) as tx:
            ours = update(Purge).where(Purge.purge_id == self.purge_id, Purge.lease_owner == self.owner)
            tx.session.execute(ours.values(lease_owner=None, lease_until=tx.now + PAUSE))

    def _renew(self) -> bool:
        now = self.clock()
        with self.plane.transaction(WORKER, now) as tx:
            ours = update(Purge).where(Purge.purge_id == self.purge_id, Purge.lease_owner == self.owner)
            return tx.session.scalar(ours.values(lease_until=now + LEASE).returning(Purge.purge_id)) is not None


def release(purge: Purge, until: datetime | None) -> None:
    """Give the lease back; `until` says when a worker is to be woken for the rest."""
    purge.lease_owner, purge.lease_until = None, until
