"""What an account's holders call their devices and people, also devices that were removed: traffic still names them."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import select

from cloudpriv.audit import events
from cloudpriv.controller import accounts
from cloudpriv.controller.people import open_identity
from cloudpriv.controller.tables import DEVICE_IDENTITY, Device, Person
from cloudpriv.platform.db import Tx


def name_devices(tx: Tx, account_id: UUID, device_ids: Collection[UUID]) -> dict[UUID, str]:
    """The name, else the common name, else the serial of each of these devices of the account; the look is audited.

    Raises NotFoundError, AccountRestrictedError.
    """
    if not device_ids:
        return {}
    key = accounts.find_usable(tx, account_id).key
    query = select(Device).where(Device.account_id == account_id, Device.device_id.in_(device_ids))
    events.record(tx, "device.list", account_id=account_id)
    rows = tx.session.scalars(query)
    return {row.device_id: called(key.open(row.device_id, DEVICE_IDENTITY, row.identity)) for row in rows}


def name_people(tx: Tx, account_id: UUID, person_ids: Collection[UUID]) -> dict[UUID, str]:
    """The username of each of these people of the account who are not erased; each look is audited.

    Raises NotFoundError, AccountRestrictedError.
    """
    if not person_ids:
        return {}
    key = accounts.find_usable(tx, account_id).key
    query = select(Person).where(
        Person.account_id == account_id, Person.person_id.in_(person_ids), Person.erasure_requested_at.is_(None)
    )
    found = {row.person_id: open_identity(key, row)["username"] for row in tx.session.scalars(query)}
    for person_id in found:
        events.record(tx, "person.read", account_id=account_id, subject_id=person_id)
    return found


def called(identity: dict[str, Any]) -> str:
    """What a device is called."""
    return identity.get("name") or identity.get("common_name") or identity.get("serial") or ""
