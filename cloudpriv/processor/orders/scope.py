"""What an instruction or a rule is about: the whole account, a device, or a tag of one, as the customer names them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import FieldError, InvalidError
from cloudpriv.processor import devices
from cloudpriv.processor.accounts import OpenedLogAccount


@dataclass(frozen=True)
class Scope:
    """All of an account, one device, or one tag of one device."""

    device_id: UUID | None = None
    tag_id: int | None = None


ALL: Final = Scope()


@dataclass(frozen=True)
class Names:
    """How the customer calls an account's devices and tags."""

    devices: Mapping[UUID, str]
    tags: Mapping[int, str]

    def of(self, scope: Scope) -> dict[str, str | None]:
        """The names that a scope is made of."""
        return {
            "device": None if scope.device_id is None else self.devices[scope.device_id],
            "tag": None if scope.tag_id is None else self.tags[scope.tag_id],
        }


def find(tx: Tx, account: OpenedLogAccount, device: str | None, tag: str | None, pointer: str = "") -> Scope:
    """The scope that these names stand for. Raises InvalidError, pointing below `pointer`, for a name that is not there.

    A tag belongs to a device: without one it names nothing.
    """
    if device is None:
        if tag is not None:
            raise InvalidError(errors=(FieldError(f"{pointer}/device", "is needed with a tag: a tag is one of a device"),))
        return ALL
    device_id = devices.find_device(tx, account, device)
    if device_id is None:
        raise InvalidError(errors=(FieldError(f"{pointer}/device", "is no device of this account"),))
    if tag is None:
        return Scope(device_id)
    tag_id = devices.find_tags(tx, account, device_id, [tag]).get(tag)
    if tag_id is None:
        raise InvalidError(errors=(FieldError(f"{pointer}/tag", "is no tag of this device"),))
    return Scope(device_id, tag_id)


def names(tx: Tx, account: OpenedLogAccount) -> Names:
    """How all devices and tags of the account are called."""
    of_devices = {device.device_id: device.name for device in devices.list_devices(tx, account)}
    return Names(of_devices, {tag.tag_id: tag.name for tag in devices.list_tags(tx, account)})
