"""A worker's hold on a purge: a lease in the purge's row, renewed by every transaction, taken over when it runs out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from cloudpriv.controller.tables import Account
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.ids import new_id
from cloudpriv.retention.tables import OPEN, Purge

LEASE: Final = timedelta(seconds=30)  # over the 20 s that a transaction waits for a lock


class NotOursError(Exception):
    """The purge has ended, or another worker holds it."""


@dataclass(frozen=True)
class Unit:
    """One transaction of a purge; its row and the account's row are locked until the end."""

    tx: Tx
    purge: Purge
    account: Account


@dataclass(frozen=True)
class Hold:
    """One worker's hold on one purge, for as long as it works on it."""

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
            unit = self._locked(tx)
            purge = unit.purge
            if purge.lease_owner != self.owner:
                purge.status, purge.lease_owner, purge.attempts = "running", self.owner, purge.attempts + 1
            purge.lease_until = tx.now + LEASE
            purge.step = step or purge.step
            yield unit

    def _locked(self, tx: Tx) -> Unit:
        seen = tx.session.get(Purge, self.purge_id)
        if seen is None or not self._may_take(seen, tx.now):
            raise NotOursError
        # The account's row before the purge's: in the order of whoever closes an account.
        account = tx.session.get(Account, seen.account_id, with_for_update=True)
        purge = tx.session.get(Purge, self.purge_id, with_for_update={"skip_locked": True}, populate_existing=True)
        if account is None or purge is None or not self._may_take(purge, tx.now):
            raise NotOursError
        return Unit(tx, purge, account)

    def _may_take(self, purge: Purge, now: datetime) -> bool:
        free = purge.lease_owner in (None, self.owner) or purge.lease_until is None or purge.lease_until <= now
        return free and purge.status in OPEN


def release(purge: Purge, until: datetime | None) -> None:
    """Give the lease back; `until` says when a worker is to be woken for the rest."""
    purge.lease_owner, purge.lease_until = None, until
