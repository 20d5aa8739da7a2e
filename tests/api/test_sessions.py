"""Sessions: an account holder signs in with name, username and password; whatever is wrong, the answer is the same."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import OKPKey
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from cloudpriv.api.auth import LIFETIME, SESSION
from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.api.throttle import FREE
from cloudpriv.bootstrap import Services
from cloudpriv.controller import own_password, sessions
from cloudpriv.platform.db import Tx
from tests.backend import Backend
from tests.factories import transaction

T = TypeVar("T")

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


@pytest.fixture(autouse=True)
def _time_stands_still(app: Flask) -> None:
    """Have the app's time pass by `later` alone."""
    later(app)


def later(app: Flask, **parts: float) -> None:
    """Let the app's time pass."""
    run = app.extensions[EXTENSION]
    now = run.services.clock() + timedelta(**parts)
    app.extensions[EXTENSION] = replace(run, services=replace(run.services, clock=lambda: now))


def use(app: Flask, begun: dict[str, Any], method: str, path: str, body: Any = None) -> TestResponse:
    """A request with a session's token."""
    headers = {"Authorization": f"Bearer {begun['access_token']}"}
    return app.test_client().open(path, method=method, json=body, headers=headers)


def _in(services: Services, work: Callable[[Tx], T], now: datetime | None = None) -> T:
    with transaction(services, now=now or services.clock()) as tx:
        return work(tx)


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


def test_a_wrong_password_has_the_next_attempts_wait_longer_each_time(app: Flask, services: Services, account: str) -> None:
    def attempt(address: str, **changes: str) -> TestResponse:
        options: dict[str, Any] = {"environ_base": {"REMOTE_ADDR": address}}
        return app.test_client().post("/v1/session", json={**KIM, "password": "x", **changes}, **options)

    assert [attempt(f"192.0.2.{number}").status_code for number in range(4)] == [401, 401, 401, 429]
    refused = attempt("192.0.2.9", password=PASSWORD)
    assert (refused.status_code, refused.get_json()["type"]) == (429, "/problems/rate_limited")
    assert refused.headers["Retry-After"] == "1"
    later(app, seconds=1)
    attempt("192.0.2.9")
    assert attempt("192.0.2.9").headers["Retry-After"] == "2"
    names = [attempt("198.51.100.7", account_name=f"name-{number}").status_code for number in range(FREE["address"] + 1)]
    assert names == [401] * FREE["address"] + [429]


def test_the_portal_and_the_api_count_the_same_attempts(app: Flask, account: str) -> None:
    def in_the_portal(password: str) -> int:
        browser = app.test_client()
        token = re.findall('name="csrf_token" value="([^"]+)"', browser.get("/portal/sign-in").text)[0]
        form = {**KIM, "password": password, "csrf_token": unescape(token)}
        return browser.post("/portal/sign-in", data=form).status_code

    assert [sign_in(app, password="x").status_code for _ in range(2)] == [401, 401]
    assert in_the_portal("x") == 403
    assert (in_the_portal(PASSWORD), sign_in(app).status_code) == (429, 429)
    later(app, seconds=1)
    assert sign_in(app).status_code == 200
    assert [in_the_portal("x") for _ in range(4)] == [403, 403, 403, 429], "the right one began the count anew"


def test_the_password_given_again_waits_too_and_strangers_keep_nobody_from_it(app: Flask, account: str) -> None:
    begun = sign_in(app).get_json()
    for _ in range(FREE["account"] + 1):
        stranger = sign_in(app, password="x")
    assert stranger.status_code == 429

    def export(password: str) -> TestResponse:
        return use(app, begun, "POST", "/v1/me/exports", {"about": "person", "password": password})

    assert export(PASSWORD).status_code == 202
    assert [export("x").status_code for _ in range(4)] == [401, 401, 401, 429]
    waited = export(PASSWORD)
    assert (waited.status_code, waited.headers["Retry-After"]) == (429, "1")
    later(app, seconds=1)
    assert export(PASSWORD).status_code == 202


def test_many_sessions_are_no_more_attempts(app: Flask, account: str) -> None:
    begun = [sign_in(app).get_json() for _ in range(6)]
    wrong = {"about": "person", "password": "x"}
    found = [use(app, each, "POST", "/v1/me/exports", wrong).status_code for each in begun for _ in range(FREE["device"])]
    assert found == [401] * FREE["devices"] + [429] * (len(found) - FREE["devices"])


def test_signing_out_ends_the_session_at_once(app: Flask, account: str, owner_engine: Engine) -> None:
    first, second = sign_in(app).get_json(), sign_in(app).get_json()
    assert use(app, first, "DELETE", "/v1/session").status_code == 204
    assert use(app, first, "GET", "/v1/me").status_code == 401
    assert use(app, first, "DELETE", "/v1/session").status_code == 401
    assert use(app, second, "GET", "/v1/me").status_code == 200
    with owner_engine.connect() as connection:
        ended = "SELECT actor_kind, actor_id, subject_id FROM audit_events WHERE action = 'session.end'"
        assert [tuple(map(str, row)) for row in connection.execute(text(ended))] == [
            ("owner", first["person_id"], first["person_id"])
        ]


def test_a_session_ends_with_everything_that_ends_those_of_the_portal(
    app: Flask, backend: Backend, services: Services, account: str
) -> None:
    ways: list[Callable[[UUID, UUID], object]] = [
        lambda account_id, person_id: backend.send(
            "PUT", f"/v1/accounts/{account_id}/people/{person_id}/credentials", {"password": PASSWORD}
        ),
        lambda account_id, person_id: _in(services, lambda tx: sessions.end_all(tx, account_id, person_id)),
        lambda account_id, person_id: _in(
            services, lambda tx: own_password.set_own_password(tx, account_id, person_id, "not a hash")
        ),
    ]
    for end in ways:
        begun = sign_in(app).get_json()
        assert use(app, begun, "GET", "/v1/me").status_code == 200
        end(UUID(begun["account_id"]), UUID(begun["person_id"]))
        assert use(app, begun, "GET", "/v1/me").status_code == 401


def test_a_session_is_one_of_the_persons_sign_ins_for_as_long_as_its_token(
    app: Flask, services: Services, account: str
) -> None:
    begun = sign_in(app).get_json()
    whose = UUID(begun["account_id"]), UUID(begun["person_id"])
    now = app.extensions[EXTENSION].services.clock()
    [shown] = _in(services, lambda tx: sessions.list_sessions(tx, *whose), now)
    assert (shown.browser, shown.expires_at - shown.created_at, shown.last_seen_at) == ("API", LIFETIME, shown.created_at)
    later(app, minutes=2)
    assert use(app, begun, "GET", "/v1/me").status_code == 200
    now = app.extensions[EXTENSION].services.clock()
    [shown] = _in(services, lambda tx: sessions.list_sessions(tx, *whose), now)
    assert shown.last_seen_at == now
    _in(services, lambda tx: sessions.end_one(tx, *whose, shown.session_id), now)
    assert use(app, begun, "GET", "/v1/me").status_code == 401


def test_a_token_of_another_session_of_the_account_opens_nothing_of_an_ended_one(app: Flask, account: str) -> None:
    kim, alex = sign_in(app).get_json(), sign_in(app, username="alex").get_json()
    use(app, kim, "DELETE", "/v1/session")
    run = app.extensions[EXTENSION]
    of_alex = jwt.decode(alex["access_token"], run.tokens._key, algorithms=["Ed25519"]).claims["sid"]
    ids = UUID(kim["account_id"]), UUID(kim["person_id"])
    mixed = run.tokens.issue_session("talk2m", *ids, "owner", run.services.clock(), session_id=UUID(of_alex))
    assert use(app, {"access_token": mixed}, "GET", "/v1/me").status_code == 401


def test_no_session_begins_by_a_password_that_was_changed_while_it_was_checked(
    app: Flask, services: Services, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = sign_in(app).get_json()
    whose = UUID(begun["account_id"]), UUID(begun["person_id"])
    passwords = app.extensions[EXTENSION].passwords
    matches = type(passwords).matches

    def changed_meanwhile(self: Any, *given: Any) -> bool:
        _in(services, lambda tx: own_password.set_own_password(tx, *whose, "not a hash"))
        return bool(matches(self, *given))

    monkeypatch.setattr(type(passwords), "matches", changed_meanwhile)
    answer = sign_in(app)
    assert (answer.status_code, answer.get_json()["type"]) == (401, "/problems/invalid_credentials")
    assert _in(services, lambda tx: sessions.list_sessions(tx, *whose)) == []


def test_a_token_without_a_session_is_none(app: Flask, account: str) -> None:
    run = app.extensions[EXTENSION]
    begun, now = sign_in(app).get_json(), run.services.clock()
    claims = {"sub": begun["person_id"], "account_id": begun["account_id"], "role": "owner", "service": "talk2m"}
    assert use(app, {"access_token": run.tokens._sign(SESSION, claims, now)}, "GET", "/v1/me").status_code == 401


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
