"""Duties of the schedule: who does which slot, so that any number of schedules do each once.

A duty has slots at regular times. Its row says which was done last, and who does the present one: whoever claims it first,
by a lease that is renewed while the work lasts and taken over when its holder is gone. Only the latest slot counts, so one
that was missed is made up for, and many that were missed are made up for once.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Final
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from cloudpriv.platform.db import Tx
from cloudpriv.retention.tables import Duty

LEASE: Final = timedelta(minutes=5)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Slots:
    """The times of a duty: every so often, counted from midnight UTC and put off by `offset`."""

    every: timedelta
    offset: timedelta = timedelta(0)

    def latest(self, now: datetime) -> datetime:
        """The last slot that has come by `now`."""
        return now - (now - EPOCH - self.offset) % self.every


DAILY: Final = Slots(timedelta(days=1), timedelta(hours=2))  # at 02:00, when backends and people ask least
OFTEN: Final = Slots(timedelta(minutes=10))


class Standing(Enum):
    """How a claim ended: the slot is ours to do, was done, or is another's for now."""

    OURS = auto()
    DONE = auto()
    HELD = auto()


def claim(tx: Tx, name: str, slots: Slots, owner: UUID) -> Standing:
    """Take the latest slot of a duty, with a lease, or say why not; asked again by its owner, it is still theirs.

    When the clock was put back, slots that come by again are not done again; and when that was by more than the time between
    two slots, the duty goes on with the next one, instead of waiting until the clock has caught up.
    """
    slot = slots.latest(tx.now)
    row = _locked(tx, name)
    if row is None:
        return Standing.HELD  # another looks at it at this moment
    if row.done_slot is not None and row.done_slot > tx.now + slots.every:
        row.done_slot = slot
    if row.done_slot is not None and row.done_slot >= slot:
        return Standing.DONE
    if row.lease_owner not in (None, owner) and _stands(row.lease_until, tx.now):
        return Standing.HELD
    row.lease_owner, row.lease_until = owner, tx.now + LEASE
    return Standing.OURS


def renew(tx: Tx, name: str, owner: UUID) -> bool:
    """Have the lease of a duty last longer; whether it was still the owner's."""
    mine = update(Duty).where(Duty.name == name, Duty.lease_owner == owner)
    return tx.session.scalar(mine.values(lease_until=tx.now + LEASE).returning(Duty.name)) is not None


def finish(tx: Tx, name: str, slot: datetime, owner: UUID) -> bool:
    """Mark the slot done, and give the lease back; False when another took the duty over."""
    mine = update(Duty).where(Duty.name == name, Duty.lease_owner == owner)
    done = mine.values(done_slot=slot, done_at=tx.now, lease_owner=None, lease_until=None)
    return tx.session.scalar(done.returning(Duty.name)) is not None


def release(tx: Tx, name: str, owner: UUID) -> None:
    """Give the lease back undone, for anybody to try again."""
    mine = update(Duty).where(Duty.name == name, Duty.lease_owner == owner)
    tx.session.execute(mine.values(lease_owner=None, lease_until=None))


def note(tx: Tx, name: str) -> None:
    """Remember that a duty without slots, which every schedule does for its own host, was done now."""
    row = insert(Duty).values(name=name, done_slot=tx.now, done_at=tx.now)
    again = row.on_conflict_do_update(index_elements=[Duty.name], set_={"done_slot": tx.now, "done_at": tx.now})
    tx.session.execute(again)


def last_done(tx: Tx) -> dict[str, datetime]:
    """When each duty was last done, by its name."""
    rows = tx.session.execute(select(Duty.name, Duty.done_at))
    return {name: done_at for name, done_at in rows if done_at is not None}


def _locked(tx: Tx, name: str) -> Duty | None:
    """The duty's row, locked; None while another has it locked."""
    query = select(Duty).where(Duty.name == name).with_for_update(skip_locked=True)
    row = tx.session.scalar(query)
    if row is None:
        tx.session.execute(insert(Duty).values(name=name).on_conflict_do_nothing())
        row = tx.session.scalar(query)
    return row


def _stands(lease_until: datetime | None, now: datetime) -> bool:
    """Whether a lease still runs. One that ends later than any could was taken before the clock was put back."""
    return lease_until is not None and now < lease_until <= now + 2 * LEASE
