"""/portal/devices: the list of an account's devices, for its owners."""

from typing import Final

from flask import Blueprint, Response

from cloudpriv.controller import devices
from cloudpriv.platform.db import Tx
from cloudpriv.portal import guard, lists, pages

blueprint: Final = Blueprint("own_devices", __name__, url_prefix="/portal/devices")


@blueprint.get("")
@guard.page(owner=True)
def show(tx: Tx) -> Response:
    """The devices that are not removed, in order of registration."""
    session, _, _ = guard.signed_in()
    rows = devices.list_devices(tx, session.account_id, after=lists.begin_id(), limit=lists.LIMIT)
    shown, following = lists.split(rows, lambda device: device.row.device_id.bytes)
    return pages.render("devices.html", devices=shown, following=following, start=lists.start())
