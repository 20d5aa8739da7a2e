"""Devices and tags by the names that the customer gave them: from a query to ids, and from ids back to names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import FieldError, InvalidError
from cloudpriv.processor import devices
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.query.formats import Names
from cloudpriv.processor.storage.chunks import Selection


def names_of(tx: Tx, account: OpenedLogAccount, device_ids: Sequence[UUID] | None = None) -> Names:
    """The names of device and tag of all tags of the account, or of some devices, in the order in which they were made."""
    if device_ids is None:
        called = {device.device_id: device.name for device in devices.list_devices(tx, account)}
        tags = devices.list_tags(tx, account)
    else:
        called = {device_id: devices.get_device(tx, account, device_id).name for device_id in device_ids}
        tags = [tag for device_id in device_ids for tag in devices.list_tags(tx, account, device_id)]
    return {tag.tag_id: (called[tag.device_id], tag.name) for tag in tags}


def names_of_tags(tx: Tx, account: OpenedLogAccount, tag_ids: Iterable[int]) -> Names:
    """The names of device and tag of some tags; no others are opened."""
    tags = devices.get_tags(tx, account, tag_ids)
    called = {each: devices.get_device(tx, account, each).name for each in {tag.device_id for tag in tags}}
    return {tag.tag_id: (called[tag.device_id], tag.name) for tag in tags}


@dataclass(frozen=True)
class Wanted:
    """What a customer asks for: these devices, and of them the tags of these names (None: all), since <= time < until.

    `in_body` says that it stands in a body, as `devices` and `tags`, and not in a query, as `device` and `tag`.
    """

    devices: Sequence[str] | None = None
    tags: Sequence[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    in_body: bool = False

    def fault(self, member: str, detail: str) -> InvalidError:
        """What is wrong with `device` or `tag`."""
        found = FieldError(f"/{member}s", detail) if self.in_body else FieldError(member, detail, "query")
        return InvalidError(errors=(found,))


def select(tx: Tx, account: OpenedLogAccount, wanted: Wanted) -> Selection:
    """The points that are asked for.

    Raises InvalidError for a device that the account has not, or a tag that none of the devices has.
    """
    device_ids = None if wanted.devices is None else [_device(tx, account, wanted, name) for name in wanted.devices]
    tag_ids = None if wanted.tags is None else _tags(tx, account, wanted, device_ids)
    return Selection(device_ids, tag_ids, wanted.since, wanted.until)


def _tags(tx: Tx, account: OpenedLogAccount, wanted: Wanted, device_ids: Sequence[UUID] | None) -> list[int]:
    if device_ids is None:
        device_ids = [device.device_id for device in devices.list_devices(tx, account)]
    tags = set(wanted.tags or ())
    found = [devices.find_tags(tx, account, device_id, tags) for device_id in device_ids]
    if not tags <= {name for ids in found for name in ids}:
        raise wanted.fault("tag", "is no tag of these devices")
    return [tag_id for ids in found for tag_id in ids.values()]


def _device(tx: Tx, account: OpenedLogAccount, wanted: Wanted, name: str) -> UUID:
    device_id = devices.find_device(tx, account, name)
    if device_id is None:
        raise wanted.fault("device", "is no device of this account")
    return device_id
