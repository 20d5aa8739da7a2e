"""Sessions: an account holder signs in with name, username and password; whatever is wrong, the answer is the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import OKPKey
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from cloudpriv.app import create_app
from cloudpriv.bootstrap import Services
from tests.backend import Backend

PASSWORD = "four words make one"
KIM = {"service": "talk2m", "account_name": "acme-water", "username": "kim", "password": PASSWORD}


@pytest.fixture
def account(backend: Backend) -> str:
    """An account with the owner kim and the member alex, who have the same password."""
    account = backend.open_account()
    for username, role in (("kim", "owner"), ("alex", "member")):
        person = backend.post(f"/v1/accounts/{account}/people", {"username": username, "role": role}).get_json()["id"]
        credentials = f"/v1/accounts/{account}/people/{person}/credentials"
        assert backend.send("PUT", credentials, {"password": PASSWORD}).status_code == 204
    return account


def sign_in(app: Flask, **changes: Any) -> TestResponse:
    """An attempt of kim, or as changed."""
    return app.test_client().post("/v1/session", json={**KIM, **changes})


def test_an_owner_and_a_member_get_a_session_of_ten_minutes_that_says_which(
    app: Flask, services: Services, account: str
) -> None:
    key = OKPKey.import_key(Path(services.settings.signing_key_file or "").read_bytes())
    for username, role in (("kim", "owner"), ("alex", "member")):
        answer = sign_in(app, username=username)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
        begun = answer.get_json()
        decoded = jwt.decode(begun["access_token"], key, algorithms=["Ed25519"])
        claims = decoded.claims
        assert (decoded.header["typ"], claims["exp"] - claims["iat"], begun["expires_in"]) == ("session+jwt", 600, 600)
        assert (claims["sub"], claims["account_id"]) == (begun["person_id"], begun["account_id"]) == (claims["sub"], account)
        assert (begun["role"], claims["role"], begun["token_type"]) == (role, role, "Bearer")


@pytest.mark.parametrize(
    "wrong", [{"password": "wrong"}, {"username": "nobody"}, {"account_name": "nothing"}, {"service": "intesis"}]
)
def test_whatever_is_wrong_the_answer_is_the_same(app: Flask, account: str, wrong: dict[str, str]) -> None:
    refused, other = sign_in(app, **wrong), sign_in(app, password="quite another")
    assert (refused.status_code, refused.data) == (401, other.data)
    assert refused.get_json()["type"] == "/problems/invalid_credentials"
    assert refused.headers["WWW-Authenticate"] == other.headers["WWW-Authenticate"]


def test_a_session_is_no_access_token(app: Flask, backend: Backend, account: str) -> None:
    backend.token = sign_in(app).get_json()["access_token"]
    answer = backend.get(f"/v1/accounts/{account}")
    assert (answer.status_code, answer.get_json()["type"]) == (403, "/problems/insufficient_scope")


def test_every_attempt_is_audited(app: Flask, account: str, owner_engine: Engine) -> None:
    begun = sign_in(app).get_json()
    sign_in(app, password="wrong")
    with owner_engine.connect() as connection:
        query = text(
            "SELECT action, actor_kind, actor_id FROM audit_events WHERE action IN "
            "('credentials.verify', 'credentials.reject', 'session.create') ORDER BY event_id"
        )
        assert [tuple(row) for row in connection.execute(query)] == [
            ("credentials.verify", "client", "unauthenticated"),
            ("session.create", "owner", begun["person_id"]),
            ("credentials.reject", "client", "unauthenticated"),
        ]


def test_attempts_are_limited_by_account_from_wherever_and_by_address_to_whatever(
    app: Flask, services: Services, account: str
) -> None:
    limited = create_app(replace(services, settings=replace(services.settings, verify_rate_limit="3/minute")))

    def attempt(address: str, **changes: str) -> int:
        options = {"environ_base": {"REMOTE_ADDR": address}}
        return limited.test_client().post("/v1/session", json={**KIM, "password": "x", **changes}, **options).status_code

    assert [attempt(f"192.0.2.{number}") for number in range(4)] == [401, 401, 401, 429]
    names = [attempt("198.51.100.7", account_name=f"name-{number}") for number in range(4)]
    assert names == [401, 401, 401, 429]


def test_too_many_checks_at_once_are_asked_to_come_again(app: Flask, services: Services, account: str) -> None:
    passwords = app.extensions["cloudpriv"].passwords
    held = [passwords._slots.acquire(timeout=1) for _ in range(services.settings.hash_concurrency)]
    try:
        answer = sign_in(app)
    finally:
        for _ in held:
            passwords._slots.release()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


@pytest.mark.parametrize("changes", [{"service": "other"}, {"password": ""}, {"username": None}, {"more": 1}])
def test_what_is_no_attempt_is_refused_by_its_place(app: Flask, account: str, changes: dict[str, Any]) -> None:
    answer = sign_in(app, **changes)
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, f"/{next(iter(changes))}")
