"""/v1/logdata/deletions: the customer has points deleted."""

from typing import Any, Final
from uuid import UUID

from flask import url_for
from marshmallow import fields, validate

from cloudpriv.api.answers import STARTED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint
from cloudpriv.api.logdata.access import account_of
from cloudpriv.api.schemas import Strict, UtcTime, any_text
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import FieldError, InvalidError
from cloudpriv.processor import accounts, events
from cloudpriv.processor.order_tables import LogDeletion
from cloudpriv.processor.orders import deletions, scope
from cloudpriv.processor.orders.scope import Names, Scope

blueprint: Final = Blueprint(
    "log_deletions", __name__, url_prefix="/v1/logdata/deletions", description="The customer has log data deleted."
)
TRIGGERS: Final = ("customer", "datamailbox", "retention", "instruction", "opendsr")


class DeletionIn(Strict):
    """Which points: those that meet all that is given, one condition at least; or `all` alone. A tag is one of a device."""

    device = any_text("pump-1", load_default=None)
    tag = any_text("temperature", load_default=None)
    since = UtcTime(load_default=None, data_key="from")
    before = UtcTime(load_default=None, metadata={"description": "Exclusive."})
    everything = fields.Boolean(load_default=None, data_key="all", truthy={True}, falsy=set(), validate=validate.Equal(True))


class DeletionOut(Strict):
    """A deletion: its points are in no answer from the order on, and in no object once it is done."""

    id = fields.UUID(required=True)
    status = fields.String(required=True, validate=validate.OneOf(["pending", "done"]))
    trigger = fields.String(required=True, validate=validate.OneOf(TRIGGERS))
    device = fields.String(required=True, allow_none=True)
    tag = fields.String(required=True, allow_none=True)
    tags = fields.List(
        fields.String(), required=True, allow_none=True, metadata={"description": "Several of the device, by retention."}
    )
    since = UtcTime(required=True, allow_none=True, data_key="from")
    before = UtcTime(required=True, allow_none=True)
    points = fields.Integer(required=True, metadata={"description": "Points that are erased from all objects, so far."})
    requested_at = UtcTime(required=True)
    done_at = UtcTime(required=True, allow_none=True)


@blueprint.route("", methods=["POST"])
@endpoint("logdata:delete")
@blueprint.arguments(DeletionIn)
@blueprint.response(202, DeletionOut, headers=STARTED)
def order_deletion(tx: Tx, body: dict[str, Any]) -> Any:
    """Delete points that are there now: with this answer no other tells them any more, and a worker erases them.

    Archives of exports that were made before stay as they are until their time is over.
    """
    _check(body)
    account = accounts.find_account(tx, account_of(tx))
    about = scope.find(tx, account, body["device"], body["tag"])
    row = deletions.order(
        tx,
        account,
        device_id=about.device_id,
        tag_id=about.tag_id,
        since=body["since"],
        before=body["before"],
        trigger="customer",
    )
    location = url_for("log_deletions.read_deletion", deletion_id=row.deletion_id)
    return _shown(row, scope.names(tx, account)), 202, {"Location": location}


@blueprint.route("/<uuid:deletion_id>", methods=["GET"])
@endpoint("logdata:read")
@blueprint.response(200, DeletionOut)
def read_deletion(tx: Tx, deletion_id: UUID) -> Any:
    """Read how far a deletion is."""
    account = accounts.find_account(tx, account_of(tx))
    row = deletions.find(tx, account.row.account_id, deletion_id)
    events.record(tx, "deletion.read", account_id=account.row.account_id, subject_id=deletion_id)
    return _shown(row, scope.names(tx, account))


def _check(body: dict[str, Any]) -> None:
    conditions = any(body[name] is not None for name in ("device", "since", "before"))
    if conditions == bool(body["everything"]):
        detail = "stands alone" if conditions else "must be true where no device, from or before is given"
        raise InvalidError(errors=(FieldError("/all", detail),))
    if body["since"] is not None and body["before"] is not None and body["since"] >= body["before"]:
        raise InvalidError(errors=(FieldError("/before", "is later than from"),))


def _shown(row: LogDeletion, names: Names) -> dict[str, Any]:
    return {
        "id": row.deletion_id,
        "status": row.status,
        "trigger": row.trigger,
        **names.of(Scope(row.device_id, row.tag_id)),
        "tags": None if row.tags is None else [names.tags[tag] for tag in row.tags],
        "since": row.since,
        "before": row.before,
        "points": row.points,
        "requested_at": row.requested_at,
        "done_at": row.done_at,
    }
