"""Accounts of the processor plane: opened when their owner first uses it, each with a data key of its own."""

import hashlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import func, select

from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import BusyError, GoneError, NotFoundError
from cloudpriv.platform.keys import DataKey, WrappedKey
from cloudpriv.processor import events
from cloudpriv.processor.tables import LogAccount, LogErased, LogKey

# What opens log data and what erases it: one at a time for an account, though there be no row of it yet.
LOCK_SPACE: Final = 7_235_002


@dataclass(frozen=True)
class OpenedLogAccount:
    """An account's row with its data key of this plane: what everything about its log data starts from."""

    row: LogAccount
    key: DataKey


def hash_of(account_id: UUID) -> bytes:
    """SHA-256 of the account's id: how it is known that its log data was erased."""
    return hashlib.sha256(account_id.bytes).digest()


def turn_of(account_id: UUID) -> int:
    """What number of LOCK_SPACE is locked by who opens or erases the account's log data."""
    return int.from_bytes(hash_of(account_id)[:4], "big", signed=True)


def take_turns(tx: Tx, account_id: UUID) -> None:
    """Wait until nobody else opens or erases the account's log data, and keep others off until the transaction ends."""
    tx.session.execute(select(func.pg_advisory_xact_lock(LOCK_SPACE, turn_of(account_id))))


def open_account(tx: Tx, account_id: UUID) -> OpenedLogAccount:
    """The account, made with a data key when it has none yet. Raises GoneError for one that is or was erased."""
    take_turns(tx, account_id)
    if tx.session.get(LogErased, hash_of(account_id)) is not None:
        raise GoneError
    if tx.session.get(LogAccount, account_id) is None:
        wrapped = tx.keys.new_data_key(account_id)
        tx.session.add(LogAccount(account_id=account_id, opened_at=tx.now, head_seq=0, next_number=1))
        tx.session.flush()
        tx.session.add(LogKey(account_id=account_id, kek_id=wrapped.kek_id, wrapped=wrapped.wrapped))
        tx.session.flush()
        events.record(tx, "account.open", account_id=account_id)
    return find_account(tx, account_id)


def find_account(tx: Tx, account_id: UUID) -> OpenedLogAccount:
    """The account, to read its log data. Raises NotFoundError for one that has none, or that is being erased."""
    query = select(LogAccount, LogKey).join(LogKey, LogKey.account_id == LogAccount.account_id)
    found = tx.session.execute(
        query.where(LogAccount.account_id == account_id, LogAccount.erasing_at.is_(None))
    ).one_or_none()
    if found is None:
        raise NotFoundError
    return _opened(tx, *found)


def lock_account(tx: Tx, account_id: UUID) -> OpenedLogAccount:
    """The account, locked to add or order something. Raises NotFoundError, BusyError while it may go.

    Until when that is was set by the database's clock, and is compared with it.
    """
    query = select(LogAccount, func.clock_timestamp()).where(LogAccount.account_id == account_id)
    locked = query.with_for_update(key_share=True, of=LogAccount).execution_options(populate_existing=True)
    row, looked_at = tx.session.execute(locked).one_or_none() or (None, None)
    if row is None or row.erasing_at is not None:
        raise NotFoundError
    if row.closing_until is not None and row.closing_until > looked_at:
        raise BusyError("It is being found out whether the account is to be erased; try again in a few minutes.")
    key = tx.session.get(LogKey, account_id)
    if key is None:
        raise NotFoundError
    return _opened(tx, row, key)


def _opened(tx: Tx, row: LogAccount, key: LogKey) -> OpenedLogAccount:
    return OpenedLogAccount(row, tx.keys.data_key(row.account_id, WrappedKey(key.kek_id, key.wrapped)))
