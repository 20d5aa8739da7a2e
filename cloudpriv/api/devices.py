"""/v1/accounts/{account_id}/devices: the list of connected hardware devices."""

from typing import Any, Final
from uuid import UUID

from flask import url_for
from marshmallow import fields

from cloudpriv.api.answers import CREATED, LISTED, VERSIONED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint, etag, expected_version
from cloudpriv.api.schemas import PageArgs, Strict, UtcTime, after_id, page, page_of, short_text
from cloudpriv.controller import devices
from cloudpriv.controller.devices import KnownDevice
from cloudpriv.platform.db import Tx

blueprint: Final = Blueprint(
    "devices",
    __name__,
    url_prefix="/v1/accounts/<uuid:account_id>/devices",
    description="Connected hardware devices.",
)


class DeviceFields(Strict):
    """What may be missing of a device."""

    common_name = short_text("cosy-0001", nullable=True, longest=100)
    name = short_text("Pump 1", nullable=True)
    model = short_text("Cosy 131", nullable=True, longest=100)
    kind = short_text("gateway", nullable=True, longest=40)


class DeviceIn(DeviceFields):
    """A new device."""

    serial = short_text("1234-0001-24", required=True, longest=100)


class DevicePatch(DeviceFields):
    """Members to change."""

    serial = short_text("1234-0001-24", longest=100)


class DeviceOut(DeviceFields):
    """A device."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    serial = fields.String(required=True)
    registered_at = UtcTime(required=True)
    last_seen_at = UtcTime(required=True, allow_none=True)


@blueprint.route("", methods=["POST"])
@endpoint("devices:write")
@blueprint.arguments(DeviceIn)
@blueprint.response(201, DeviceOut, headers=CREATED)
def add_device(tx: Tx, body: dict[str, Any], account_id: UUID) -> Any:
    """Register a device."""
    kind = body.pop("kind", None)
    device = devices.add_device(tx, account_id, kind, body)
    location = url_for("devices.read_device", account_id=account_id, device_id=device.row.device_id)
    return shown(device), 201, {**etag(device.row.version), "Location": location}


@blueprint.route("", methods=["GET"])
@endpoint("devices:read")
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(DeviceOut, "Device"), headers=LISTED)
def list_devices(tx: Tx, query: dict[str, Any], account_id: UUID) -> Any:
    """List the devices of an account, without removed ones."""
    rows = devices.list_devices(tx, account_id, after=after_id(query), limit=query["limit"])
    return page(rows, query, shown, lambda device: device.row.device_id.bytes)


@blueprint.route("/<uuid:device_id>", methods=["GET"])
@endpoint("devices:read")
@blueprint.response(200, DeviceOut, headers=VERSIONED)
def read_device(tx: Tx, account_id: UUID, device_id: UUID) -> Any:
    """Read a device."""
    device = devices.read_device(tx, account_id, device_id)
    return shown(device), 200, etag(device.row.version)


@blueprint.route("/<uuid:device_id>", methods=["PATCH"])
@endpoint("devices:write")
@blueprint.arguments(DevicePatch)
@blueprint.response(200, DeviceOut, headers=VERSIONED)
def change_device(tx: Tx, body: dict[str, Any], account_id: UUID, device_id: UUID) -> Any:
    """Change members of a device; needs If-Match."""
    device = devices.change_device(tx, account_id, device_id, expected_version(), body)
    return shown(device), 200, etag(device.row.version)


@blueprint.route("/<uuid:device_id>", methods=["DELETE"])
@endpoint("devices:write")
@blueprint.response(204)
def remove_device(tx: Tx, account_id: UUID, device_id: UUID) -> None:
    """Take a device off the list; needs If-Match. Its traffic stays until the account is erased."""
    devices.remove_device(tx, account_id, device_id, expected_version())


def shown(device: KnownDevice) -> dict[str, Any]:
    """A device as the API shows it."""
    row = device.row
    return {
        "id": row.device_id,
        "account_id": row.account_id,
        "kind": row.kind,
        "registered_at": row.registered_at,
        "last_seen_at": row.last_seen_at,
        **device.identity,
    }
