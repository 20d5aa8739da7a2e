"""/v1/session: an account holder signs in, for the ten minutes that the processor plane takes what they say."""

from typing import Any, Final

from marshmallow import fields, validate

from cloudpriv.api.auth import LIFETIME
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import PUBLIC, call, endpoint
from cloudpriv.api.limits import limit_sign_in
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import Strict, any_text
from cloudpriv.audit import events
from cloudpriv.controller import credentials
from cloudpriv.platform.actor import SERVICES, Actor

blueprint: Final = Blueprint("sessions", __name__, url_prefix="/v1/session", description="Sessions of account holders.")


class SignInIn(Strict):
    """What a person signs in with."""

    service = fields.String(required=True, validate=validate.OneOf(SERVICES))
    account_name = any_text("acme-water", required=True, longest=100)
    username = any_text("kim", required=True, longest=100)
    password = any_text("four words make one", required=True, longest=1024, load_only=True)


class SignedInOut(Strict):
    """A session: a bearer token for the processor plane's API."""

    access_token = fields.String(required=True)
    token_type = fields.String(required=True, validate=validate.Equal("Bearer"))
    expires_in = fields.Integer(required=True)
    account_id = fields.UUID(required=True)
    person_id = fields.UUID(required=True)
    role = fields.String(required=True, validate=validate.OneOf(["owner", "member"]))


@blueprint.route("", methods=["POST"])
@endpoint(PUBLIC)
@blueprint.arguments(SignInIn)
@blueprint.response(200, SignedInOut)
@blueprint.alt_response(401, description="Account name, username or password is wrong; it is not said which.")
@blueprint.alt_response(413, description="The body is too large.")
@blueprint.alt_response(415, description="The body is no JSON.")
@blueprint.alt_response(503, description="Too many password checks at once, or the database is away.")
def sign_in(body: dict[str, Any]) -> Any:
    """Sign an account holder in: a token of ten minutes with which owners make tokens and oversee in the processor plane."""
    limit_sign_in(body["service"], body["account_name"])
    this, run = call(), runtime()
    plane, stranger = run.services.controller, Actor("client", "unauthenticated", body["service"])
    found = credentials.verify(lambda: plane.transaction(stranger, this.now, request_id=this.id), run.passwords, **body)
    credentials.check_usable(found)
    person = Actor("owner" if found.role == "owner" else "member", str(found.person_id), body["service"])
    this.act_as(person)
    with plane.transaction(person, this.now, request_id=this.id) as tx:
        events.record(tx, "session.create", account_id=found.account_id, subject_id=found.person_id)
    token = run.tokens.issue_session(body["service"], found.account_id, found.person_id, found.role, this.now)
    return {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": int(LIFETIME.total_seconds()),
        "account_id": found.account_id,
        "person_id": found.person_id,
        "role": found.role,
    }
