"""Devices: the list of connected hardware devices of an account."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from cloudpriv.audit import events
from cloudpriv.controller import accounts
from cloudpriv.controller.tables import DEVICE_IDENTITY, Device
from cloudpriv.platform.db import Tx, violated_constraint
from cloudpriv.platform.errors import ConflictError, NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import DataKey
from cloudpriv.platform.text import normalised

EMPTY: Final[dict[str, Any]] = {"serial": "", "common_name": None, "name": None, "model": None}
TAKEN: Final = {
    "uq_devices_serial": "A device of this serial exists in the account.",
    "uq_devices_common_name": "A device of this common name exists in the account.",
}


@dataclass(frozen=True)
class KnownDevice:
    """A device's row and the opened identity document, all members present."""

    row: Device
    identity: dict[str, Any]


def add_device(tx: Tx, account_id: UUID, kind: str | None, identity: Mapping[str, Any]) -> KnownDevice:
    """Register a device. Raises ConflictError when serial or common name is taken in the account."""
    account = accounts.lock_account(tx, account_id)
    device_id = new_id()
    document = {**EMPTY, **identity}
    row = Device(account_id=account_id, device_id=device_id, kind=kind, registered_at=tx.now, version=1)
    _write_identity(account.key, row, document)
    tx.session.add(row)
    _flush(tx)
    events.record(tx, "device.create", account_id=account_id, subject_id=device_id)
    return KnownDevice(row, document)


def read_device(tx: Tx, account_id: UUID, device_id: UUID) -> KnownDevice:
    """The device, audited. Raises NotFoundError, also for a removed one, and AccountRestrictedError."""
    account = accounts.find_usable(tx, account_id)
    device = _known(account.key, _row(tx, account_id, device_id))
    events.record(tx, "device.read", account_id=account_id, subject_id=device_id)
    return device


def list_devices(tx: Tx, account_id: UUID, *, after: UUID | None, limit: int) -> list[KnownDevice]:
    """Devices of the account that are not removed, in order of registration, and one more than `limit` if there is one.

    Raises NotFoundError, AccountRestrictedError.
    """
    account = accounts.find_usable(tx, account_id)
    query = select(Device).where(Device.account_id == account_id, Device.removed_at.is_(None))
    if after is not None:
        query = query.where(Device.device_id > after)
    found = [_known(account.key, row) for row in tx.session.scalars(query.order_by(Device.device_id).limit(limit + 1))]
    events.record(tx, "device.list", account_id=account_id)
    return found


def change_device(tx: Tx, account_id: UUID, device_id: UUID, version: int, changes: Mapping[str, Any]) -> KnownDevice:
    """Set members of a device. Raises StaleError, ConflictError."""
    account = accounts.lock_account(tx, account_id)
    row = _row(tx, account_id, device_id)
    accounts.check_version(row.version, version)
    document = {
        **_known(account.key, row).identity,
        **{name: changes[name] for name in changes if name != "kind"},
    }
    row.kind = changes.get("kind", row.kind)
    row.version += 1
    _write_identity(account.key, row, document)
    _flush(tx)
    events.record(tx, "device.change", account_id=account_id, subject_id=device_id, fields=sorted(changes))
    return KnownDevice(row, document)


def remove_device(tx: Tx, account_id: UUID, device_id: UUID, version: int) -> None:
    """Take a device off the list; its row stays for the traffic that names it. Raises StaleError."""
    accounts.lock_account(tx, account_id)
    row = _row(tx, account_id, device_id)
    accounts.check_version(row.version, version)
    row.removed_at = tx.now
    row.version += 1
    events.record(tx, "device.remove", account_id=account_id, subject_id=device_id)


def serial_index(key: DataKey, serial: str) -> bytes:
    """Blind index of a serial, unique in the account."""
    return key.blind_index("serial", normalised(serial))


def common_name_index(key: DataKey, common_name: str) -> bytes:
    """Blind index of a common name, unique in the account."""
    return key.blind_index("common_name", normalised(common_name))


def _write_identity(key: DataKey, row: Device, document: dict[str, Any]) -> None:
    name = document["common_name"]
    row.serial_index = serial_index(key, document["serial"])
    row.common_name_index = None if name is None else common_name_index(key, name)
    row.identity = key.seal(row.device_id, DEVICE_IDENTITY, document)


def _row(tx: Tx, account_id: UUID, device_id: UUID) -> Device:
    row = tx.session.get(Device, (account_id, device_id))
    if row is None or row.removed_at is not None:
        raise NotFoundError
    return row


def _known(key: DataKey, row: Device) -> KnownDevice:
    return KnownDevice(row, {**EMPTY, **key.open(row.device_id, DEVICE_IDENTITY, row.identity)})


def _flush(tx: Tx) -> None:
    try:
        tx.session.flush()
    except IntegrityError as fault:
        taken = TAKEN.get(violated_constraint(fault) or "")
        if taken is None:
            raise
        raise ConflictError(taken) from None
