"""/v1/…/restriction: the processing of an account or of a person's data restricted, and free again (GDPR Article 18)."""

from typing import Any, Final, get_args
from uuid import UUID

from marshmallow import fields, validate

from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint
from cloudpriv.api.schemas import Strict, UtcTime, example
from cloudpriv.platform.db import Tx
from cloudpriv.rights import restriction
from cloudpriv.rights.restriction import Standing

blueprint: Final = Blueprint(
    "restriction", __name__, url_prefix="/v1/accounts/<uuid:account_id>", description="Restriction of processing."
)
OF_PERSON: Final = "/people/<uuid:person_id>/restriction"


class EndArgs(Strict):
    """Query of an end."""

    ground = fields.String(
        required=True,
        validate=validate.OneOf(restriction.GROUNDS),
        metadata={"description": "Why, as whoever obtained it is told.", **example("accuracy_verified")},
    )
    told = fields.Boolean(
        load_default=False,
        metadata={"description": "An end that was announced has come, and those whom no mail reached were told otherwise."},
    )


class RestrictionOut(Strict):
    """How something is restricted."""

    restricted_for = fields.List(
        fields.String(validate=validate.OneOf(get_args(restriction.Cause))),
        required=True,
        metadata={"description": "By staff, by a granted request, or while an objection is looked into; empty when free."},
    )
    restriction_ends_at = UtcTime(
        required=True, allow_none=True, metadata={"description": "When it is lifted, once that was announced."}
    )
    ground = fields.String(required=True, allow_none=True, validate=validate.OneOf(restriction.GROUNDS))


@blueprint.route("/restriction", methods=["GET"])
@endpoint("privacy:read")
@blueprint.response(200, RestrictionOut)
def read_account_restriction(tx: Tx, account_id: UUID) -> Any:
    """Read what an account is restricted for, and when that ends."""
    return _shown(restriction.read(tx, account_id, None))


@blueprint.route("/restriction", methods=["POST"])
@endpoint("privacy:write")
@blueprint.response(204)
def restrict_account(tx: Tx, account_id: UUID) -> None:
    """Restrict the processing of an account: whatever uses it is refused with 423; recipients of its data are told."""
    restriction.restrict_account(tx, account_id)


@blueprint.route("/restriction", methods=["DELETE"])
@endpoint("privacy:write")
@blueprint.arguments(EndArgs, location="query")
@blueprint.response(200, RestrictionOut)
def lift_account(tx: Tx, query: dict[str, Any], account_id: UUID) -> Any:
    """End the restriction of an account: staff's own cause first, at once if others are left; then all the rest together.

    What is left ends after seven days: every owner is told by mail when and why (GDPR Article 18(3)). Where mail did not
    reach one, it goes on until `told=true` notes that they know.
    """
    return _shown(restriction.lift_account(tx, account_id, **query))


@blueprint.route(OF_PERSON, methods=["GET"])
@endpoint("privacy:read")
@blueprint.response(200, RestrictionOut)
def read_person_restriction(tx: Tx, account_id: UUID, person_id: UUID) -> Any:
    """Read what a person's data is restricted for, and when that ends."""
    return _shown(restriction.read(tx, account_id, person_id))


@blueprint.route(OF_PERSON, methods=["POST"])
@endpoint("privacy:write")
@blueprint.response(204)
def restrict_person(tx: Tx, account_id: UUID, person_id: UUID) -> None:
    """Restrict the processing of a person's data, while the account goes on; recipients of the data are told."""
    restriction.restrict_person(tx, account_id, person_id)


@blueprint.route(OF_PERSON, methods=["DELETE"])
@endpoint("privacy:write")
@blueprint.arguments(EndArgs, location="query")
@blueprint.response(200, RestrictionOut)
def lift_person(tx: Tx, query: dict[str, Any], account_id: UUID, person_id: UUID) -> Any:
    """End the restriction of a person's data, as that of an account; the person is told."""
    return _shown(restriction.lift_person(tx, account_id, person_id, **query))


def _shown(standing: Standing) -> dict[str, Any]:
    return {
        "restricted_for": list(standing.causes),
        "restriction_ends_at": standing.ends_at,
        "ground": standing.ground,
    }
