"""/v1/accounts/{account_id}/holds: legal holds of an account, one of its people, or one category of its data."""

from typing import Any, Final
from uuid import UUID

from flask import url_for
from marshmallow import fields, validate

from cloudpriv.api.answers import CREATED, LISTED, VERSIONED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint, etag, expected_version
from cloudpriv.api.schemas import PageArgs, Strict, UtcTime, after_id, example, page, page_of, short_text
from cloudpriv.platform.db import Tx
from cloudpriv.retention import holds
from cloudpriv.retention.tables import Hold

blueprint: Final = Blueprint(
    "holds",
    __name__,
    url_prefix="/v1/accounts/<uuid:account_id>/holds",
    description="Legal holds: what an authority has kept.",
)
UNTIL: Final = {"description": "When it ends by itself; without, it lasts until it is released."}


class HoldIn(Strict):
    """A new hold."""

    scope = fields.String(required=True, validate=validate.OneOf(holds.SCOPES), metadata=example("category"))
    person_id = fields.UUID(load_default=None, allow_none=True, metadata={"description": "For the scope `person`."})
    category = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.OneOf(holds.CATEGORIES),
        metadata={"description": "For the scope `category`.", **example("traffic_metadata")},
    )
    authority = short_text("Example District Court", required=True)
    reference = short_text("T 1234-26", required=True)
    until = UtcTime(load_default=None, allow_none=True, metadata=UNTIL)


class HoldOut(Strict):
    """A hold."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    scope = fields.String(required=True, validate=validate.OneOf(holds.SCOPES))
    person_id = fields.UUID(required=True, allow_none=True)
    category = fields.String(required=True, allow_none=True, validate=validate.OneOf(holds.CATEGORIES))
    authority = fields.String(required=True)
    reference = fields.String(required=True)
    placed_by = fields.String(required=True)
    placed_at = UtcTime(required=True)
    until = UtcTime(required=True, allow_none=True, metadata=UNTIL)
    released_by = fields.String(required=True, allow_none=True)
    released_at = UtcTime(required=True, allow_none=True)


@blueprint.route("", methods=["POST"])
@endpoint("holds:write")
@blueprint.arguments(HoldIn)
@blueprint.response(201, HoldOut, headers=CREATED)
def place_hold(tx: Tx, body: dict[str, Any], account_id: UUID) -> Any:
    """Place a hold: from now on nothing of its scope is erased."""
    hold = holds.place(tx, account_id, body.pop("scope"), **body)
    location = url_for("holds.read_hold", account_id=account_id, hold_id=hold.hold_id)
    return _shown(hold), 201, {**etag(holds.version_of(hold)), "Location": location}


@blueprint.route("", methods=["GET"])
@endpoint("holds:read")
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(HoldOut, "Hold"), headers=LISTED)
def list_holds(tx: Tx, query: dict[str, Any], account_id: UUID) -> Any:
    """List the holds of an account, ended ones too."""
    rows = holds.list_holds(tx, account_id, after=after_id(query), limit=query["limit"])
    return page(rows, query, _shown, lambda hold: hold.hold_id.bytes)


@blueprint.route("/<uuid:hold_id>", methods=["GET"])
@endpoint("holds:read")
@blueprint.response(200, HoldOut, headers=VERSIONED)
def read_hold(tx: Tx, account_id: UUID, hold_id: UUID) -> Any:
    """Read a hold."""
    hold = holds.read_hold(tx, account_id, hold_id)
    return _shown(hold), 200, etag(holds.version_of(hold))


@blueprint.route("/<uuid:hold_id>", methods=["DELETE"])
@endpoint("holds:write")
@blueprint.response(204)
def release_hold(tx: Tx, account_id: UUID, hold_id: UUID) -> None:
    """Release a hold; needs If-Match. What was to be erased meanwhile is erased."""
    holds.release(tx, account_id, hold_id, expected_version())


def _shown(hold: Hold) -> dict[str, Any]:
    return {
        "id": hold.hold_id,
        "account_id": hold.account_id,
        "scope": hold.scope,
        "person_id": hold.person_id,
        "category": hold.category,
        "authority": hold.authority,
        "reference": hold.reference,
        "placed_by": hold.placed_by,
        "placed_at": hold.placed_at,
        "until": hold.until,
        "released_by": hold.released_by,
        "released_at": hold.released_at,
    }
