"""/v1/credentials: whether a password is right, and the hint to it by mail."""

from typing import Any, Final

from flask import Response
from marshmallow import fields, validate

from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import current_actor, endpoint, transaction
from cloudpriv.api.limits import limit_verification
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import Strict, any_text
from cloudpriv.controller import credentials, hints
from cloudpriv.platform.actor import SERVICES
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import InvalidCredentialsError

blueprint: Final = Blueprint(
    "credentials", __name__, url_prefix="/v1/credentials", description="Checking passwords, and hints to them."
)


class HintIn(Strict):
    """Who wants a hint."""

    service = fields.String(load_default=None, validate=validate.OneOf(SERVICES))
    account_name = any_text("acme-water", required=True, longest=100)
    username = any_text("kim", required=True, longest=100)


class VerifyIn(HintIn):
    """What a person signed in with."""

    password = any_text("four words make one", required=True, longest=1024, load_only=True)


class VerifyOut(Strict):
    """Whose password was right."""

    account_id = fields.UUID(required=True)
    person_id = fields.UUID(required=True)
    status = fields.String(required=True)


@blueprint.route("/verify", methods=["POST"])
@endpoint("credentials:verify", unit=False)
@blueprint.arguments(VerifyIn)
@blueprint.response(200, VerifyOut)
@blueprint.alt_response(423, description="The password is right, and the data of the account or the person is restricted.")
def verify(body: dict[str, Any]) -> Any:
    """Check a password: 200 with whose it is, 401 without saying what was wrong, 423 of a right one that is restricted."""
    service = current_actor().service
    if service is None or body["service"] not in (None, service):
        raise InvalidCredentialsError
    limit_verification(body["account_name"])
    found = credentials.verify(transaction, runtime().passwords, **{**body, "service": service})
    credentials.check_usable(found)
    return found


@blueprint.route("/hint", methods=["POST"])
@endpoint("credentials:verify")
@blueprint.arguments(HintIn)
@blueprint.response(202)
def send_hint(tx: Tx, body: dict[str, Any]) -> Response:
    """Have a person's hint mailed to the registered address: 202, whether or not there is a person, hint or address."""
    limit_verification(body["account_name"])
    service = tx.actor.service if body["service"] in (None, tx.actor.service) else None
    hints.ask_for_hint(tx, service, body["account_name"], body["username"])
    return Response(status=202)
