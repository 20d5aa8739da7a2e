"""Access tokens: given to clients, checked everywhere, of ten minutes."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from cloudpriv.app import create_app
from cloudpriv.bootstrap import Services
from cloudpriv.controller import clients
from cloudpriv.platform.actor import OPERATOR
from tests.backend import Backend, register
from tests.stack import TestDatabase

GRANT = {"grant_type": "client_credentials"}


def test_a_token_is_given_by_basic_or_form_and_never_cached(app: Flask, database: TestDatabase) -> None:
    client_id, secret = register(database)
    http = app.test_client()
    basic = http.post("/oauth2/token", data=GRANT, auth=(client_id, secret))
    form = http.post("/oauth2/token", data={**GRANT, "client_id": client_id, "client_secret": secret})
    for answer in (basic, form):
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
        assert answer.get_json()["token_type"] == "Bearer"
        assert answer.get_json()["expires_in"] == 600
    assert set(basic.get_json()["scope"].split()) == clients.SCOPES


@pytest.mark.parametrize(
    ("data", "error", "status"),
    [
        ({}, "unsupported_grant_type", 400),
        ({"grant_type": "password"}, "unsupported_grant_type", 400),
        ({**GRANT, "scope": "nothing:such"}, "invalid_scope", 400),
    ],
)
def test_a_bad_request_for_a_token_says_why(
    app: Flask, database: TestDatabase, data: dict[str, str], error: str, status: int
) -> None:
    answer = app.test_client().post("/oauth2/token", data=data, auth=register(database))
    assert (answer.status_code, answer.get_json()["error"]) == (status, error)


def test_a_wrong_secret_and_an_unknown_client_are_told_the_same(app: Flask, database: TestDatabase) -> None:
    client_id, _ = register(database)
    for auth in ((client_id, "wrong"), ("no-such-client", "wrong"), ("01a00000-0000-7000-8000-000000000000", "x")):
        answer = app.test_client().post("/oauth2/token", data=GRANT, auth=auth)
        assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_client"), auth
        assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize("client_id", [None, "no-such-client", "\0", "01a00000-0000-7000-8000-000000000000"])
def test_a_form_with_a_wrong_secret_tells_no_more(app: Flask, database: TestDatabase, client_id: str | None) -> None:
    form = {**GRANT, "client_id": client_id or register(database)[0], "client_secret": "wrong"}
    answer = app.test_client().post("/oauth2/token", data=form)
    assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_client")
    assert "not exist" not in answer.text


@pytest.mark.parametrize("authorization", ["Basic !!!", "Basic //79Ov8=", "Basic YWJj", "Basic é", "Basic", "Basic "])
def test_credentials_that_cannot_be_read_are_none(app: Flask, authorization: str) -> None:
    headers = {"Authorization": authorization}
    answer = app.test_client().post("/oauth2/token", data=GRANT, headers=headers)
    assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_client")


def test_a_token_is_given_behind_a_proxy_that_ends_tls(app: Flask, database: TestDatabase) -> None:
    auth = register(database)
    answer = app.test_client().post("/oauth2/token", data=GRANT, auth=auth, base_url="http://api.example.com")
    assert answer.status_code == 200


def test_secrets_are_not_read_from_the_url(app: Flask, database: TestDatabase) -> None:
    client_id, secret = register(database)
    query = {**GRANT, "client_id": client_id, "client_secret": secret}
    assert app.test_client().post("/oauth2/token", query_string=query).status_code == 400
    assert app.test_client().post("/oauth2/token", query_string=query, data=GRANT).status_code == 401


def test_a_parameter_of_a_token_request_stands_there_once(app: Flask, database: TestDatabase) -> None:
    form = {"grant_type": ["client_credentials"], "scope": ["accounts:read", "accounts:write"]}
    answer = app.test_client().post("/oauth2/token", data=form, auth=register(database))
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_request")


def test_a_token_holds_no_more_than_was_asked_for(app: Flask, database: TestDatabase) -> None:
    auth = register(database)
    http = app.test_client()
    answer = http.post("/oauth2/token", data={**GRANT, "scope": "accounts:read"}, auth=auth).get_json()
    assert answer["scope"] == "accounts:read"
    headers = {"Authorization": f"Bearer {answer['access_token']}"}
    assert http.get("/v1/accounts", headers=headers).status_code == 200
    assert http.post("/v1/accounts", json={"account_name": "a"}, headers=headers).status_code == 403


def test_a_token_ends_after_ten_minutes(services: Services, database: TestDatabase) -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    times = [now]
    app = create_app(replace(services, clock=lambda: times[-1]))
    backend = Backend(app, database)
    times.append(now + timedelta(minutes=9, seconds=59))
    assert backend.get("/v1/accounts").status_code == 200
    times.append(now + timedelta(minutes=10))
    assert backend.get("/v1/accounts").status_code == 401


@pytest.mark.parametrize(("behind", "status"), [(1, 200), (30, 200), (31, 401)])
def test_a_token_is_good_at_a_server_whose_clock_is_a_little_behind(
    services: Services, database: TestDatabase, behind: int, status: int
) -> None:
    times = [datetime(2026, 6, 1, tzinfo=UTC)]
    backend = Backend(create_app(replace(services, clock=lambda: times[-1])), database)
    times.append(times[0] - timedelta(seconds=behind))
    assert backend.get("/v1/accounts").status_code == status


def test_a_token_checks_out_with_the_published_key_only(app: Flask, backend: Backend) -> None:
    published = KeySet.import_key_set(backend.http.get("/.well-known/jwks.json").get_json())
    decoded = jwt.decode(backend.token, published, algorithms=["Ed25519"])
    assert (decoded.header["typ"], decoded.claims["service"]) == ("at+jwt", "talk2m")
    assert "d" not in backend.http.get("/.well-known/jwks.json").get_json()["keys"][0]
    forged = jwt.encode({**decoded.header}, decoded.claims, OKPKey.generate_key("Ed25519"), algorithms=["Ed25519"])
    backend.token = forged
    assert backend.get("/v1/accounts").status_code == 401


@pytest.mark.parametrize(("member", "value"), [("aud", "x"), ("iss", "x"), ("service", "other"), ("exp", 1)])
def test_a_token_for_something_else_is_refused(services: Services, backend: Backend, member: str, value: object) -> None:
    key = OKPKey.import_key(Path(services.settings.signing_key_file or "").read_bytes())
    claims = jwt.decode(backend.token, key, algorithms=["Ed25519"]).claims
    backend.token = jwt.encode({"alg": "Ed25519", "typ": "at+jwt"}, {**claims, member: value}, key, algorithms=["Ed25519"])
    assert backend.get("/v1/accounts").status_code == 401


def test_a_revoked_client_gets_no_token(app: Flask, database: TestDatabase) -> None:
    client_id, secret = register(database)
    services = database.services("migration")
    with services.controller.transaction(OPERATOR, services.clock()) as tx:
        clients.revoke_client(tx, client_id)
    services.controller.engine.dispose()
    answer = app.test_client().post("/oauth2/token", data=GRANT, auth=(client_id, secret))
    assert answer.status_code == 401


def test_the_metadata_names_the_endpoints(app: Flask) -> None:
    found = json.loads(app.test_client().get("/.well-known/oauth-authorization-server").text)
    assert found["token_endpoint"] == found["issuer"] + "/oauth2/token"
    assert found["grant_types_supported"] == ["client_credentials"]


def test_a_scope_that_the_client_was_not_given_is_refused_and_one_of_two_granted(app: Flask, database: TestDatabase) -> None:
    auth = register(database, "talk2m", "accounts:read")
    http = app.test_client()
    refused = http.post("/oauth2/token", data={**GRANT, "scope": "traffic:write"}, auth=auth)
    assert (refused.status_code, refused.get_json()["error"]) == (400, "invalid_scope")
    part = http.post("/oauth2/token", data={**GRANT, "scope": "traffic:write accounts:read"}, auth=auth)
    assert part.get_json()["scope"] == "accounts:read"
