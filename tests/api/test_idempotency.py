"""Idempotency-Key: one effect and one answer, however often it is asked."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import Engine, text

from cloudpriv.app import create_app
from cloudpriv.bootstrap import Services
from tests.backend import Backend
from tests.stack import TestDatabase, every_row

KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
BODY = {"account_name": "acme", "customer": {"company_name": "canary"}}


def count(engine: Engine, table: str) -> int:
    """How many rows a table has."""
    with engine.connect() as connection:
        found: int = connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0  # noqa: S608  a name of ours
    return found


def test_the_same_request_is_carried_out_once_and_answered_alike(backend: Backend, owner_engine: Engine) -> None:
    first, second = (backend.post("/v1/accounts", BODY, headers=KEY) for _ in range(2))
    assert (first.status_code, first.text) == (second.status_code, second.text)
    assert {name: first.headers[name] for name in ("ETag", "Location")} == {
        name: second.headers[name] for name in ("ETag", "Location")
    }
    assert count(owner_engine, "accounts") == 1


def test_an_answer_that_is_read_again_is_audited_again(backend: Backend) -> None:
    account = backend.post("/v1/accounts", BODY).get_json()["id"]
    for _ in range(3):
        assert backend.post("/v1/accounts/lookup", {"account_name": "acme"}, headers=KEY).get_json()["id"] == account
    trail = backend.get(f"/v1/audit/events?account_id={account}").get_json()["items"]
    assert [event["action"] for event in trail] == ["account.create", "account.read", "answer.repeat", "answer.repeat"]


def test_the_same_key_with_another_body_or_path_is_refused(backend: Backend) -> None:
    account = backend.post("/v1/accounts", BODY, headers=KEY).get_json()["id"]
    for path, body in (("/v1/accounts", {"account_name": "b"}), (f"/v1/accounts/{account}/devices", BODY)):
        answer = backend.post(path, body, headers=KEY)
        assert answer.status_code == 422
    assert (
        backend.post("/v1/accounts", {"account_name": "b"}, headers=KEY).get_json()["type"]
        == "/problems/idempotency_mismatch"
    )


def test_a_key_is_the_callers_own(backend: Backend, other_backend: Backend) -> None:
    ours = backend.post("/v1/accounts", BODY, headers=KEY).get_json()
    theirs = other_backend.post("/v1/accounts", BODY, headers=KEY).get_json()
    assert (ours["service"], theirs["service"]) == ("talk2m", "intesis")


def test_a_failed_request_keeps_no_answer(backend: Backend) -> None:
    assert backend.post("/v1/accounts", {}, headers=KEY).status_code == 422
    assert backend.post("/v1/accounts", BODY, headers=KEY).status_code == 201


def test_many_at_once_have_one_effect(app: Flask, backend: Backend, owner_engine: Engine) -> None:
    statuses: list[int] = []

    def post() -> None:
        headers = {"Authorization": f"Bearer {backend.token}", **KEY}
        statuses.append(app.test_client().post("/v1/accounts", json=BODY, headers=headers).status_code)

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {201, 409}
    assert 201 in statuses
    assert count(owner_engine, "accounts") == 1


def test_a_running_request_is_told_apart(services: Services, backend: Backend) -> None:
    from_elsewhere = services.controller.engine.connect()
    key_index = services.controller.keys.blind_index(
        "idempotency key", f"client:{backend.client_id}\0{KEY['Idempotency-Key'][1:-1]}"
    )
    lock = int.from_bytes(key_index[:8], "big", signed=True)
    with from_elsewhere, from_elsewhere.begin():
        from_elsewhere.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})
        answer = backend.post("/v1/accounts", BODY, headers=KEY)
    assert (answer.status_code, answer.get_json()["type"]) == (409, "/problems/idempotency_running")
    assert backend.post("/v1/accounts", BODY, headers=KEY).status_code == 201


def test_an_answer_is_kept_for_a_day(services: Services, database: TestDatabase, owner_engine: Engine) -> None:
    times = [datetime(2026, 6, 1, tzinfo=UTC)]
    app = create_app(replace(services, clock=lambda: times[-1]))
    first = Backend(app, database)
    first.post("/v1/accounts", BODY, headers=KEY)
    times.append(times[0] + timedelta(hours=24))
    http = app.test_client()
    token = http.post("/oauth2/token", data={"grant_type": "client_credentials"}, auth=(first.client_id, first.secret))
    first.token = token.get_json()["access_token"]
    assert first.post("/v1/accounts", {"account_name": "another"}, headers=KEY).status_code == 201
    assert count(owner_engine, "accounts") == 2


def test_a_kept_answer_is_sealed(backend: Backend, owner_engine: Engine) -> None:
    backend.post("/v1/accounts", BODY, headers=KEY)
    kept = every_row(owner_engine)["idempotency_keys"]
    assert len(kept) == 1
    assert b"canary".hex() not in kept[0]
    assert "canary" not in kept[0]


@pytest.mark.parametrize("key", ["bare", '""', '"a', 'a"', '"\\t\x7f"', '"' + "a" * 256 + '"', '"a"b"'])
def test_a_key_that_is_no_quoted_string_is_refused(backend: Backend, key: str) -> None:
    assert backend.post("/v1/accounts", BODY, headers={"Idempotency-Key": key}).status_code == 422
