"""What an account's holders call their devices, also those that were removed: traffic still names them."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import select

from cloudpriv.audit import events
from cloudpriv.controller import accounts
from cloudpriv.controller.tables import DEVICE_IDENTITY, Device
from cloudpriv.platform.db import Tx


def name_devices(tx: Tx, account_id: UUID, device_ids: Collection[UUID]) -> dict[UUID, str]:
    """The name, else the common name, else the serial of each of these devices of the account; the look is audited.

    Raises NotFoundError, AccountRestrictedError.
    """
    if not device_ids:
        return {}
    account = accounts.find_usable(tx, account_id)
    query = select(Device).where(Device.account_id == account_id, Device.device_id.in_(device_ids))
    events.record(tx, "device.list", account_id=account_id)
    opened = {
        row.device_id: account.key.open(row.device_id, DEVICE_IDENTITY, row.identity) for row in tx.session.scalars(query)
    }
    return {device_id: called(identity) for device_id, identity in opened.items()}


def called(identity: dict[str, str | None]) -> str:
    """What a device is called."""
    return identity.get("name") or identity.get("common_name") or identity.get("serial") or ""
