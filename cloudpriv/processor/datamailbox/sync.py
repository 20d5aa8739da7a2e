"""Transactions of the DataMailbox API: how far a reader came, so that it is sent every point once.

A position is a place in the account's order of arrival (`seq`), never a time: what comes late, with old timestamps, has a
place after all that was sent. A transaction keeps one position for all devices, and one of its own for each device that a
filter singled out; what a filter left out goes on from where it was.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, exists, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased

from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import InvalidError
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor import devices, events
from cloudpriv.processor.datamailbox import mailbox
from cloudpriv.processor.datamailbox.arrivals import newer_points
from cloudpriv.processor.datamailbox.mailbox import Asked, Read
from cloudpriv.processor.orders import deletions
from cloudpriv.processor.tables import LogTransaction

USE_NOTED: Final = timedelta(hours=1)  # a poller may use one transaction each second; a write for each would tell no more


@dataclass(frozen=True)
class Positions:
    """How far all devices were read (`rest`), and those further than that, by their number."""

    rest: int = 0
    further: Mapping[int, int] = field(default_factory=dict)

    def of(self, number: int) -> int:
        """How far the device of this number was read."""
        return self.further.get(number, self.rest)

    def moved(self, numbers: Collection[int] | None, to: int) -> "Positions":
        """After everything up to `to` of these devices, or of all (None), was read as well; nothing moves back."""
        if numbers is None:
            rest = max(self.rest, to)
            return Positions(rest, {number: place for number, place in self.further.items() if place > rest})
        read = {number: to for number in numbers if to > self.of(number)}
        return Positions(self.rest, {**self.further, **read})


START: Final = Positions()


@dataclass(frozen=True)
class Synced:
    """Points that were new, whether there are more, and the transaction that ends with them, if one was asked for.

    Where nothing was new that is the one before.
    """

    devices: Sequence[Read]
    more: bool
    transaction_id: int | None


def find_transaction(tx: Tx, account_id: UUID, transaction_id: int) -> Positions:
    """Where a transaction ended; that it was used keeps it. Raises InvalidError for one that there is not (any more)."""
    row = tx.session.get(LogTransaction, (account_id, transaction_id))
    if row is None:
        raise InvalidError("There is no such transaction (any more): begin anew without lastTransactionId.")
    found = Positions(row.rest, {int(number): place for number, place in row.positions.items()})
    if tx.now - row.created_at > USE_NOTED:
        tx.session.execute(delete(LogTransaction).where(_is(account_id, transaction_id)))
        tx.session.execute(_row(tx, account_id, transaction_id, found).on_conflict_do_nothing())
    return found


def open_transaction(tx: Tx, account_id: UUID, positions: Positions) -> int:
    """A new transaction that ends at these positions: a number greater than any before it in this account."""
    newest = select(func.coalesce(func.max(LogTransaction.transaction_id), 0)).where(LogTransaction.account_id == account_id)
    # By the time, so that a number that was forgotten is not given again; below 2**53, so that JavaScript reads it exactly.
    candidate = max(int(tx.now.timestamp() * 1_000_000), tx.session.scalars(newest).one() + 1)
    while True:
        row = _row(tx, account_id, candidate, positions).on_conflict_do_nothing()
        if tx.session.scalar(row.returning(LogTransaction.transaction_id)) is not None:
            return candidate
        candidate += 1


def sync(
    tx: Tx,
    objects: ObjectStore,
    *,
    last: int | None,
    numbers: Sequence[int] | None,
    create: bool,
    most: int = mailbox.MOST,
) -> Synced:
    """Points that came after the transaction `last` (None: all), of the devices of these numbers or of all.

    In order of arrival, up to `most`. Raises InvalidError for a transaction and NotFoundError for a device that
    there is not, BusyError.
    """
    account = mailbox.account_of(tx)
    account_id, head = account.row.account_id, account.row.head_seq
    start = START if last is None else find_transaction(tx, account_id, last)
    known = devices.list_devices(tx, account)
    chosen = known if numbers is None else mailbox.by_number(known, numbers)
    events.record(tx, mailbox.READ, account_id=account_id, subject_id=chosen[0].device_id if len(chosen) == 1 else None)
    after = {device.device_id: start.of(device.number) for device in chosen}
    found = newer_points(tx, account, objects, after, head=head, most=most)
    tags = devices.list_tags(tx, account) if len(found.points) else []
    complete = not found.more and not any(after.values())
    read = mailbox.by_device(tx, account, objects, found.points, of=chosen, tags=tags, complete=complete)
    idle = last is not None and not len(found.points) and not found.more
    end = start if idle else start.moved(numbers, found.up_to)
    opened = None if not create else last if idle else open_transaction(tx, account_id, end)
    return Synced(read, found.more, opened)


def delete_points(tx: Tx, asked: Asked, transaction_id: int | None) -> None:
    """Order that points are deleted, of all that came by now or that were sent up to a transaction.

    Raises InvalidError for a transaction that there is not, NotFoundError for a device or tag that there is not.
    """
    account = mailbox.account_of(tx)
    known = devices.list_devices(tx, account)
    device_id, tag = mailbox.find_subject(tx, account, known, asked)
    order = partial(deletions.order, tx, account, tag_id=None if tag is None else tag.tag_id, since=asked.since,
                    before=asked.until, trigger="datamailbox")  # fmt: skip
    if transaction_id is None:
        order(device_id=device_id)
        return
    sent = find_transaction(tx, account.row.account_id, transaction_id)
    if device_id is None and sent.rest:
        order(device_id=None, up_to_seq=sent.rest)
    for device in known:
        if device.device_id == device_id or (device_id is None and device.number in sent.further):
            order(device_id=device.device_id, up_to_seq=sent.of(device.number))


def forget_transactions(tx: Tx, number: int | None) -> None:
    """Forget all transactions of the account: whoever names one is told to begin anew. Raises NotFoundError for the device.

    A transaction is one of all devices, whichever is named.
    """
    account = mailbox.account_of(tx)
    if number is not None:
        mailbox.by_number(devices.list_devices(tx, account), [number])
    tx.session.execute(delete(LogTransaction).where(LogTransaction.account_id == account.row.account_id))
    events.record(tx, "transactions.forget", account_id=account.row.account_id)


def forget_old(tx: Tx, cutoff: datetime, limit: int) -> int:
    """Erase up to `limit` transactions that nobody used since, but for the newest of each account; how many there were.

    That one was used is known by the hour.
    """
    later = aliased(LogTransaction)
    has_later = exists().where(
        later.account_id == LogTransaction.account_id, later.transaction_id > LogTransaction.transaction_id
    )
    old = select(LogTransaction.account_id, LogTransaction.transaction_id).where(
        LogTransaction.created_at < cutoff, has_later
    )
    key = tuple_(LogTransaction.account_id, LogTransaction.transaction_id)
    found = old.order_by(LogTransaction.created_at).limit(limit)
    erased = delete(LogTransaction).where(key.in_(found)).returning(LogTransaction.transaction_id)
    return len(tx.session.scalars(erased).all())


def _is(account_id: UUID, transaction_id: int) -> Any:
    return (LogTransaction.account_id == account_id) & (LogTransaction.transaction_id == transaction_id)


def _row(tx: Tx, account_id: UUID, transaction_id: int, positions: Positions) -> Any:
    return insert(LogTransaction).values(
        account_id=account_id,
        transaction_id=transaction_id,
        rest=positions.rest,
        positions={str(number): place for number, place in positions.further.items()},
        created_at=tx.now,
    )
