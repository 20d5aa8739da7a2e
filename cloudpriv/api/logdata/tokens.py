"""/v1/logdata/tokens: tokens of an account, made and revoked by its owner."""

from typing import Any, Final
from uuid import UUID

from flask import Response
from marshmallow import ValidationError, fields, validate, validates_schema

from cloudpriv.api.answers import LISTED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint
from cloudpriv.api.logdata.access import account_of
from cloudpriv.api.schemas import PageArgs, Strict, UtcTime, after_id, page, page_of, short_text
from cloudpriv.platform.db import Tx
from cloudpriv.processor import accounts, devices, tokens
from cloudpriv.processor.tokens import KINDS, KnownToken

blueprint: Final = Blueprint(
    "log_tokens", __name__, url_prefix="/v1/logdata/tokens", description="Customers' tokens for their log data."
)


class LogTokenIn(Strict):
    """A token to be made; `device` names the device that a token of kind `device` appends for, known before or not."""

    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    name = short_text("pump station 3", required=True, longest=100)
    device = short_text("pump-3", load_default=None, longest=200)

    @validates_schema(skip_on_field_errors=True)
    def _device_where_one_writes(self, document: dict[str, Any], **_: Any) -> None:
        if (document["kind"] == "device") != (document["device"] is not None):
            raise ValidationError("Needed by a token of kind device, and by no other.", "device")


class LogTokenOut(Strict):
    """A token, without what it consists of. `last_used_at` may be a minute behind."""

    id = fields.UUID(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    name = fields.String(required=True)
    device_id = fields.UUID(required=True, allow_none=True)
    device = fields.String(required=True, allow_none=True)
    created_at = UtcTime(required=True)
    last_used_at = UtcTime(required=True, allow_none=True)
    revoked_at = UtcTime(required=True, allow_none=True)


class MadeTokenOut(LogTokenOut):
    """A token with its text, which is shown this once."""

    token = fields.String(required=True)


@blueprint.route("", methods=["POST"])
@endpoint("logdata:tokens")
@blueprint.arguments(LogTokenIn)
@blueprint.response(201, MadeTokenOut)
@blueprint.alt_response(410, description="The account's log data was erased.")
def make_token(tx: Tx, body: dict[str, Any]) -> Any:
    """Make a token; its text is in this answer and nowhere else."""
    device_id = None
    if body["device"] is not None:
        account = accounts.open_account(tx, account_of(tx))
        device_id = devices.ensure_device(tx, account, body["device"])
    known, text = tokens.make_token(tx, body["kind"], body["name"], device_id)
    return {**_shown(known), "token": text}


@blueprint.route("", methods=["GET"])
@endpoint("logdata:tokens")
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(LogTokenOut, "LogToken"), headers=LISTED)
def list_tokens(tx: Tx, query: dict[str, Any]) -> Any:
    """List the account's tokens in order of making, revoked ones too."""
    rows = tokens.list_tokens(tx, after=after_id(query), limit=query["limit"])
    return page(rows, query, _shown, lambda known: known.row.token_id.bytes)


@blueprint.route("/<uuid:token_id>", methods=["DELETE"])
@endpoint("logdata:tokens")
@blueprint.response(204)
def revoke_token(tx: Tx, token_id: UUID) -> Response:
    """Revoke a token: from the next request on it opens nothing."""
    tokens.revoke_token(tx, token_id)
    return Response(status=204)


def _shown(known: KnownToken) -> dict[str, Any]:
    row = known.row
    return {
        "id": row.token_id,
        "kind": row.kind,
        "name": known.name,
        "device_id": row.device_id,
        "device": known.device,
        "created_at": row.created_at,
        "last_used_at": row.last_used_at,
        "revoked_at": row.revoked_at,
    }
