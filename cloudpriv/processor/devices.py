"""Devices and their tags, as the customer names them: sealed, and found by a keyed hash of the exact name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import DataKey
from cloudpriv.processor import accounts, events
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.tables import DEVICE, TAG, LogDevice, LogTag

MOST_TAGS: Final = 10_000  # of a device: a program that makes up names must not fill the database


@dataclass(frozen=True)
class Device:
    """A device with its name opened; `number` is its id for the DataMailbox API."""

    device_id: UUID
    number: int
    name: str
    created_at: datetime
    last_point_at: datetime | None


@dataclass(frozen=True)
class Tag:
    """A tag with its name opened. `kind` (float, int, bool or text) and `unit` are those of its first point."""

    tag_id: int
    device_id: UUID
    name: str
    kind: str
    unit: str | None
    created_at: datetime


@dataclass(frozen=True)
class NewTag:
    """What is known of a tag when its first point comes."""

    kind: str
    unit: str | None = None


def ensure_device(tx: Tx, account: OpenedLogAccount, name: str) -> UUID:
    """The device of this name, made when there is none. Waits for others that make one. Raises BusyError, NotFoundError."""
    known = find_device(tx, account, name)
    if known is not None:
        return known
    account = accounts.lock_account(tx, account.row.account_id)
    known = find_device(tx, account, name)
    return known if known is not None else _make_device(tx, account, name)


def ensure_tags(tx: Tx, account: OpenedLogAccount, device_id: UUID, tags: Mapping[str, NewTag]) -> dict[str, int]:
    """The ids of a device's tags by name; those that are new are made, which waits for others that make some.

    What is known of a tag stays as it was made. Beyond MOST_TAGS of a device none is made: those names are left out.
    Raises BusyError, NotFoundError.
    """
    known = find_tags(tx, account, device_id, tags)
    if len(known) < len(tags):
        account = accounts.lock_account(tx, account.row.account_id)
        known = find_tags(tx, account, device_id, tags)
        new = {name: tag for name, tag in tags.items() if name not in known}
        room = MOST_TAGS - _count_tags(tx, account, device_id)
        known |= _make_tags(tx, account, device_id, dict(islice(new.items(), max(0, room))))
    return known


def find_device(tx: Tx, account: OpenedLogAccount, name: str) -> UUID | None:
    """The device of exactly this name."""
    query = select(LogDevice.device_id).where(
        LogDevice.account_id == account.row.account_id, LogDevice.name_index == device_index(account.key, name)
    )
    return tx.session.scalar(query)


def find_tags(tx: Tx, account: OpenedLogAccount, device_id: UUID, names: Iterable[str]) -> dict[str, int]:
    """The ids of those of the names that are tags of the device."""
    by_index = {tag_index(account.key, device_id, name): name for name in names}
    query = select(LogTag.name_index, LogTag.tag_id).where(
        LogTag.account_id == account.row.account_id, LogTag.device_id == device_id, LogTag.name_index.in_(by_index)
    )
    return {by_index[index]: tag_id for index, tag_id in tx.connection.execute(query)}


def get_device(tx: Tx, account: OpenedLogAccount, device_id: UUID) -> Device:
    """A device of the account. Raises NotFoundError."""
    row = tx.session.get(LogDevice, (account.row.account_id, device_id))
    if row is None:
        raise NotFoundError
    return _device(account.key, row)


def list_devices(tx: Tx, account: OpenedLogAccount) -> list[Device]:
    """All devices of the account, oldest first."""
    query = select(LogDevice).where(LogDevice.account_id == account.row.account_id).order_by(LogDevice.number)
    return [_device(account.key, row) for row in tx.session.scalars(query)]


def list_tags(
    tx: Tx, account: OpenedLogAccount, device_id: UUID | None = None, *, after: int = 0, limit: int | None = None
) -> list[Tag]:
    """The tags of the account or of one device whose ids come after one, up to `limit`, oldest first."""
    query = select(LogTag).where(LogTag.account_id == account.row.account_id, LogTag.tag_id > after)
    query = query.order_by(LogTag.tag_id).limit(limit)
    if device_id is not None:
        query = query.where(LogTag.device_id == device_id)
    return [_tag(account.key, row) for row in tx.session.scalars(query)]


def get_tags(tx: Tx, account: OpenedLogAccount, tag_ids: Iterable[int]) -> list[Tag]:
    """The tags of these ids, oldest first."""
    ours = LogTag.account_id == account.row.account_id, LogTag.tag_id.in_(list(tag_ids))
    return [_tag(account.key, row) for row in tx.session.scalars(select(LogTag).where(*ours).order_by(LogTag.tag_id))]


def device_index(key: DataKey, name: str) -> bytes:
    """How a device is found by its name."""
    return key.blind_index(DEVICE, name)


def tag_index(key: DataKey, device_id: UUID, name: str) -> bytes:
    """How a device's tag is found by its name."""
    return key.blind_index(TAG, f"{device_id}\0{name}")


def _make_device(tx: Tx, account: OpenedLogAccount, name: str) -> UUID:
    device_id = new_id()
    row = LogDevice(
        account_id=account.row.account_id,
        device_id=device_id,
        number=_next_numbers(account, 1),
        identity=account.key.seal(device_id, DEVICE, {"name": name}),
        name_index=device_index(account.key, name),
        created_at=tx.now,
    )
    tx.session.add(row)
    tx.session.flush()
    events.record(tx, "device.create", account_id=account.row.account_id, subject_id=device_id)
    return device_id


def _count_tags(tx: Tx, account: OpenedLogAccount, device_id: UUID) -> int:
    ours = LogTag.account_id == account.row.account_id, LogTag.device_id == device_id
    return tx.session.execute(select(func.count()).where(*ours)).scalar_one()


def _make_tags(tx: Tx, account: OpenedLogAccount, device_id: UUID, new: Mapping[str, NewTag]) -> dict[str, int]:
    if not new:
        return {}
    first = _next_numbers(account, len(new))
    made = {name: first + place for place, name in enumerate(new)}
    rows: list[dict[str, Any]] = [
        {
            "account_id": account.row.account_id,
            "tag_id": made[name],
            "device_id": device_id,
            "identity": account.key.seal(device_id, TAG, {"name": name, "kind": tag.kind, "unit": tag.unit}),
            "name_index": tag_index(account.key, device_id, name),
            "created_at": tx.now,
        }
        for name, tag in new.items()
    ]
    tx.session.flush()
    tx.connection.execute(insert(LogTag), rows)
    events.record(tx, "tags.create", account_id=account.row.account_id, subject_id=device_id)
    return made


def _next_numbers(account: OpenedLogAccount, count: int) -> int:
    """The first of `count` numbers that nothing else of the account has; its row is locked."""
    first = account.row.next_number
    account.row.next_number = first + count
    return first


def _device(key: DataKey, row: LogDevice) -> Device:
    name = key.open(row.device_id, DEVICE, row.identity)["name"]
    return Device(row.device_id, row.number, name, row.created_at, row.last_point_at)


def _tag(key: DataKey, row: LogTag) -> Tag:
    of = key.open(row.device_id, TAG, row.identity)
    return Tag(row.tag_id, row.device_id, of["name"], of["kind"], of["unit"], row.created_at)
