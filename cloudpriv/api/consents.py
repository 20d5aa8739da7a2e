"""/v1/…/consents: whether a person consents to a purpose, which whoever sends mail for it has to ask."""

from typing import Any, Final
from uuid import UUID

from marshmallow import fields, validate

from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import Strict, UtcTime
from cloudpriv.platform.db import Tx
from cloudpriv.rights.consents import acts as consents
from cloudpriv.rights.consents.acts import ConsentState
from cloudpriv.rights.consents.records import PURPOSES

blueprint: Final = Blueprint(
    "people_consents",
    __name__,
    url_prefix="/v1/accounts/<uuid:account_id>/people/<uuid:person_id>/consents",
    description="What people consent to.",
)


class ConsentOut(Strict):
    """How a person's consent to a purpose stands."""

    purpose = fields.String(required=True, validate=validate.OneOf(PURPOSES))
    state = fields.String(required=True)
    since = UtcTime(required=True, allow_none=True)
    holds = fields.Boolean(required=True, metadata={"description": "Whether mail for the purpose may be sent."})
    headers = fields.Dict(
        required=True,
        keys=fields.String(),
        values=fields.String(),
        metadata={"description": "To be put into each such mail: one-click List-Unsubscribe (RFC 8058)."},
    )


class ConsentList(Strict):
    """Each purpose that rests on consent."""

    items = fields.List(fields.Nested(ConsentOut), required=True)


@blueprint.route("", methods=["GET"])
@endpoint("privacy:read")
@blueprint.response(200, ConsentList)
@blueprint.alt_response(409, description="The account is being erased: send nothing.")
@blueprint.alt_response(423, description="The data of the account or the person may not be used: send nothing.")
def list_consents(tx: Tx, account_id: UUID, person_id: UUID) -> Any:
    """List how a person's consents stand now, with the headers that mail needs which rests on them."""
    return shown(consents.state_of(tx, runtime().services.settings.issuer, account_id, person_id))


def shown(states: list[ConsentState]) -> dict[str, Any]:
    """The states of a person's consents."""
    members = ConsentOut().fields
    return {"items": [{name: getattr(state, name) for name in members} for state in states]}
