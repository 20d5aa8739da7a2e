"""/oauth2/token and its metadata: client credentials (RFC 6749, 4.4) by Authlib, keys (RFC 7517), metadata (RFC 8414)."""

import base64
from typing import Any, Final

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.integrations.flask_oauth2.requests import FlaskOAuth2Payload, FlaskOAuth2Request
from authlib.oauth2.rfc6749 import ClientCredentialsGrant, ClientMixin, InvalidRequestError, OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidScopeError
from authlib.oauth2.rfc6749.util import scope_to_list
from flask import Flask, Response, current_app, jsonify, request
from marshmallow import EXCLUDE, Schema, fields, validate

from cloudpriv.api.auth import LIFETIME
from cloudpriv.api.body import Blueprint, whole_body
from cloudpriv.api.endpoint import PUBLIC, endpoint, now, request_id
from cloudpriv.api.runtime import runtime
from cloudpriv.audit import events
from cloudpriv.controller import clients
from cloudpriv.controller.clients import Client
from cloudpriv.platform.actor import Actor

blueprint: Final = Blueprint("oauth", __name__, description="Access tokens for backends.")
GRANT: Final = "client_credentials"
METHODS: Final = ("client_secret_basic", "client_secret_post")
SERVER: Final = "cloudpriv_oauth"


class _Grant(ClientCredentialsGrant):  # type: ignore[misc]  # Authlib carries no types
    TOKEN_ENDPOINT_AUTH_METHODS: Final = list(METHODS)


class _Caller(ClientMixin):  # type: ignore[misc]  # Authlib carries no types
    """A client as Authlib asks about one."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def get_client_id(self) -> str:
        return str(self.client.client_id)

    def get_allowed_scope(self, scope: str) -> str:
        return " ".join(self.client.scopes if not scope else [s for s in scope_to_list(scope) if s in self.client.scopes])

    def check_client_secret(self, client_secret: str) -> bool:
        return clients.secret_matches(self.client, client_secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return endpoint == "token" and method in METHODS

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == GRANT


class _Nobody(ClientMixin):  # type: ignore[misc]  # Authlib carries no types
    """Stands for a client that there is not, so that the answer is that to a wrong secret."""

    def check_client_secret(self, _: str) -> bool:
        return False


class _Payload(FlaskOAuth2Payload):  # type: ignore[misc]  # Authlib carries no types
    """The form alone: secrets have no place in a URL (RFC 6749, 2.3.1)."""

    @property
    def data(self) -> Any:
        return request.form


class _Request(FlaskOAuth2Request):  # type: ignore[misc]  # Authlib carries no types
    """A request as Authlib reads one."""

    def __init__(self) -> None:
        # Authlib wants https, and sees http where a proxy in front of us ends TLS.
        uri = f"https://{request.host}{request.path}"
        OAuth2Request.__init__(self, request.method, uri, headers=_credentials())
        self._request = request
        self.payload = _Payload(request)


class _Server(AuthorizationServer):  # type: ignore[misc]  # Authlib carries no types
    def create_oauth2_request(self, _: Any) -> _Request:
        return _Request()


class TokenIn(Schema):
    """A request for a token; the client authenticates by HTTP Basic or in the form."""

    class Meta:
        """RFC 6749, 3.2: unrecognised parameters are ignored."""

        unknown = EXCLUDE

    grant_type = fields.String(required=True, validate=validate.Equal(GRANT))
    scope = fields.String()
    client_id = fields.String()
    client_secret = fields.String(load_only=True)


class TokenOut(Schema):
    """An access token (RFC 6749, 5.1)."""

    access_token = fields.String(required=True)
    token_type = fields.String(required=True, validate=validate.Equal("Bearer"))
    expires_in = fields.Integer(required=True)
    scope = fields.String(required=True)


class KeySetOut(Schema):
    """A JWK set (RFC 7517, 5)."""

    keys = fields.List(fields.Dict(), required=True)


class MetadataOut(Schema):
    """Metadata of an authorization server (RFC 8414, 2)."""

    issuer = fields.Url(required=True)
    token_endpoint = fields.Url(required=True)
    jwks_uri = fields.Url(required=True)
    scopes_supported = fields.List(fields.String(), required=True)
    response_types_supported = fields.List(fields.String(), required=True)
    grant_types_supported = fields.List(fields.String(), required=True)
    token_endpoint_auth_methods_supported = fields.List(fields.String(), required=True)
    token_endpoint_auth_signing_alg_values_supported = fields.List(fields.String(), required=True)


class OAuthErrorSchema(Schema):
    """A refusal (RFC 6749, 5.2)."""

    error = fields.String(required=True)
    error_description = fields.String()


def install(app: Flask) -> None:
    """Set the authorization server up."""
    server = _Server()
    server.init_app(app, query_client=_query_client, save_token=_save_token)
    server.register_grant(_Grant)
    server.register_token_generator(GRANT, _make_token)
    server.scopes_supported = sorted(clients.SCOPES)
    app.extensions[SERVER] = server


@blueprint.route("/oauth2/token", methods=["POST"])
@endpoint(PUBLIC)
@blueprint.doc(
    requestBody={
        "required": True,
        "content": {"application/x-www-form-urlencoded": {"schema": TokenIn}},
    }
)
@blueprint.response(200, TokenOut)
@blueprint.alt_response(400, schema=OAuthErrorSchema, description="invalid_request, unsupported_grant_type, invalid_scope")
@blueprint.alt_response(401, schema=OAuthErrorSchema, description="invalid_client")
@blueprint.alt_response(413, description="The form is too large.")
@blueprint.alt_response(503, description="The database is away.")
def issue_token() -> Response:
    """Exchange a client's id and secret for an access token."""
    whole_body()
    server = current_app.extensions[SERVER]
    twice = any(len(values) > 1 for _, values in request.form.lists())
    fault = InvalidRequestError("A parameter stands there more than once.")
    response: Response = server.handle_response(*fault()) if twice else server.create_token_response()
    return response


@blueprint.route("/.well-known/jwks.json", methods=["GET"])
@endpoint(PUBLIC)
@blueprint.response(200, KeySetOut)
def key_set() -> dict[str, Any]:
    """The public key that access tokens are checked with."""
    return runtime().tokens.key_set()


@blueprint.route("/.well-known/oauth-authorization-server", methods=["GET"])
@endpoint(PUBLIC)
@blueprint.response(200, MetadataOut)
def metadata() -> Response:
    """Where tokens come from and what they can carry."""
    issuer = runtime().services.settings.issuer
    return jsonify(
        issuer=issuer,
        token_endpoint=f"{issuer}/oauth2/token",
        jwks_uri=f"{issuer}/.well-known/jwks.json",
        scopes_supported=sorted(clients.SCOPES),
        response_types_supported=[],
        grant_types_supported=[GRANT],
        token_endpoint_auth_methods_supported=list(METHODS),
        token_endpoint_auth_signing_alg_values_supported=[],
    )


def _credentials() -> dict[str, str]:
    """The Authorization header, unless it is none of Basic: Authlib falls over what is not UTF-8 in Base64."""
    scheme, _, encoded = request.headers.get("Authorization", "").strip().partition(" ")
    try:
        base64.b64decode(encoded).decode()
    except ValueError:
        return {}
    return {"Authorization": f"{scheme} {encoded}"} if encoded else {}


def _query_client(client_id: str) -> _Caller | _Nobody:
    stranger = Actor("client", "unauthenticated")
    with runtime().services.controller.transaction(stranger, now(), request_id=request_id()) as tx:
        found = clients.find_client(tx, client_id)
    return _Nobody() if found is None else _Caller(found)


def _make_token(grant_type: str, client: _Caller, scope: str = "", **_: Any) -> dict[str, Any]:
    del grant_type
    granted = client.get_allowed_scope(scope)
    if not granted:
        raise InvalidScopeError
    token = runtime().tokens.issue(client.client.client_id, client.client.service, granted, now())
    return {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": int(LIFETIME.total_seconds()),
        "scope": granted,
    }


def _save_token(_token: dict[str, Any], asked: Any) -> None:
    """Tokens are not kept; that one was given is."""
    client: Client = asked.client.client
    actor = Actor("client", str(client.client_id))
    with runtime().services.controller.transaction(actor, now(), request_id=request_id()) as tx:
        events.record(tx, "client.token", subject_id=client.client_id)
