"""/v1/session: an account holder signs in, for ten minutes, and out.

What is wrong with an attempt is not said, and attempts wait as they do in the portal, by the same counts.
"""

from typing import Any, Final

from marshmallow import fields, validate

from cloudpriv.api import throttle
from cloudpriv.api.auth import LIFETIME
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import PUBLIC, call, endpoint
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import Strict, any_text
from cloudpriv.controller import credentials, holders, sessions
from cloudpriv.controller.credentials import Verified
from cloudpriv.platform.actor import HOLDER, SERVICES, Actor, Service
from cloudpriv.platform.db import Tx

blueprint: Final = Blueprint("sessions", __name__, url_prefix="/v1/session", description="Sessions of account holders.")


class SignInIn(Strict):
    """What a person signs in with."""

    service = fields.String(required=True, validate=validate.OneOf(SERVICES))
    account_name = any_text("acme-water", required=True, longest=100)
    username = any_text("kim", required=True, longest=100)
    password = any_text("four words make one", required=True, longest=1024, load_only=True)


class SignedInOut(Strict):
    """A session's bearer token, for both planes' APIs."""

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
@blueprint.alt_response(429, description="Wrong attempts of the address or at the account make the next ones wait longer.")
@blueprint.alt_response(413, description="The body is too large.")
@blueprint.alt_response(415, description="The body is no JSON.")
@blueprint.alt_response(503, description="Too many password checks at once, or the database is away.")
def sign_in(body: dict[str, Any]) -> Any:
    """Sign an account holder in: a token of ten minutes, for `/v1/me` and, for owners, for tokens in the processor plane.

    The token is one of the person's sign-ins, that end with a new password, and with the person.
    """
    counts = throttle.counts_of_sign_in(body["service"], body["account_name"], body["username"])
    throttle.require(counts)
    this, run = call(), runtime()
    plane, stranger = run.services.controller, Actor("client", "unauthenticated", body["service"])
    found = credentials.verify(lambda: plane.transaction(stranger, this.now, request_id=this.id), run.passwords, **body)
    throttle.forgive(counts)
    credentials.check_usable(found)
    return {
        "access_token": _begun(body["service"], found),
        "token_type": "Bearer",
        "expires_in": int(LIFETIME.total_seconds()),
        "account_id": found.account_id,
        "person_id": found.person_id,
        "role": found.role,
    }


@blueprint.route("", methods=["DELETE"])
@endpoint(HOLDER)
@blueprint.response(204)
def sign_out(tx: Tx) -> None:
    """Sign out: the session's token is 401 from then on; the processor plane takes it until its ten minutes are over."""
    holders.sign_out(tx)


def _begun(service: Service, found: Verified) -> str:
    """The token of a new session of who just gave the password. Raises InvalidCredentialsError if it was changed since."""
    this, run = call(), runtime()
    kind: Final = "owner" if found.role == "owner" else "member"
    person = Actor(kind, str(found.person_id), service, frozenset({HOLDER}), found.account_id)
    this.act_as(person)
    with run.services.controller.transaction(person, this.now, request_id=this.id) as tx:
        credentials.require_unchanged(tx, found.account_id, found.person_id, found.changed_at)
        session = sessions.begin_token(tx, found.account_id, found.person_id, LIFETIME)
    return run.tokens.issue_session(
        service, found.account_id, found.person_id, found.role, this.now, session_id=session.session_id
    )
