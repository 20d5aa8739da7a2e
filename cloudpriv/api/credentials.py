"""/v1/credentials: whether a password is right."""

from typing import Any, Final

from marshmallow import fields, validate

from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import current_actor, endpoint, runtime, transaction
from cloudpriv.api.limits import limit_verification
from cloudpriv.api.schemas import Strict
from cloudpriv.controller import credentials
from cloudpriv.platform.actor import SERVICES
from cloudpriv.platform.errors import InvalidCredentialsError

blueprint: Final = Blueprint("credentials", __name__, url_prefix="/v1/credentials", description="Checking passwords.")


class VerifyIn(Strict):
    """What a person signed in with."""

    service = fields.String(load_default=None, validate=validate.OneOf(SERVICES))
    account_name = fields.String(required=True, validate=validate.Length(min=1, max=100))
    username = fields.String(required=True, validate=validate.Length(min=1, max=100))
    password = fields.String(required=True, validate=validate.Length(min=1, max=1024), load_only=True)


class VerifyOut(Strict):
    """Whose password was right."""

    account_id = fields.UUID(required=True)
    person_id = fields.UUID(required=True)
    status = fields.String(required=True)


@blueprint.route("/verify", methods=["POST"])
@endpoint("credentials:verify", unit=False)
@blueprint.arguments(VerifyIn)
@blueprint.response(200, VerifyOut)
def verify(body: dict[str, Any]) -> Any:
    """Check a password: 200 with whose it is, 401 without saying what was wrong."""
    service = current_actor().service
    if service is None or body["service"] not in (None, service):
        raise InvalidCredentialsError
    limit_verification(body["account_name"])
    return credentials.verify(transaction, runtime().passwords, **{**body, "service": service})
