"""Traffic over HTTP: batches in, verdicts out."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from tests.backend import Backend

JSON, NDJSON = "application/json", "application/x-ndjson"
EIGHT_MIB = 8 * 1024 * 1024


def record(session: str = "s1", **members: Any) -> dict[str, Any]:
    told = {"account": "acme-water", "device": "1234-0001-24", "source": "radius", "session": session}
    return {**told, "started_at": "2026-01-01T08:00:00+01:00", **members}


@pytest.fixture
def device_id(backend: Backend) -> str:
    """The device that records name, in an account that they name."""
    path = f"/v1/accounts/{backend.open_account()}/devices"
    answer = backend.post(path, {"serial": "1234-0001-24"})
    assert answer.status_code == 201
    found: str = answer.get_json()["id"]
    return found


def send(backend: Backend, body: bytes, content_type: str = JSON, **headers: str) -> TestResponse:
    given = {"Authorization": f"Bearer {backend.token}", "Content-Type": content_type, **headers}
    return backend.http.post("/v1/traffic", data=body, headers=given)


def rows(engine: Engine) -> int:
    with engine.connect() as connection:
        count: int = connection.execute(text("SELECT count(*) FROM traffic")).scalar_one()
        return count


@pytest.mark.usefixtures("device_id")
def test_an_array_and_lines_give_the_same_verdict(backend: Backend) -> None:
    records = [record("a"), record("b", bytes_to_device=-1), record("c", device="unknown"), record("a"), {"session": "d"}]
    array = send(backend, json.dumps(records).encode())
    assert array.status_code == 200
    verdict = array.get_json()
    assert {name: verdict[name] for name in ("accepted", "merged")} == {"accepted": 1, "merged": 1}
    assert [(each["index"], each["code"]) for each in verdict["rejected"]] == [
        (1, "negative_bytes"),
        (2, "unknown_device"),
        (4, "malformed"),
    ]
    lines = send(backend, "\n".join(map(json.dumps, records)).encode(), NDJSON)
    assert lines.get_json() == verdict | {"accepted": 0, "merged": 2}


@pytest.mark.usefixtures("device_id")
def test_a_batch_of_which_nothing_is_taken_is_still_read(backend: Backend, owner_engine: Engine) -> None:
    for body in (b"[]", b"[1]", b'[{"session":1}]', b"[[]]", b"[null]"):
        answer = send(backend, body)
        assert answer.status_code == 200, body
        assert (answer.get_json()["accepted"], answer.get_json()["merged"]) == (0, 0)
    assert rows(owner_engine) == 0


def test_a_body_that_cannot_be_read_is_a_problem(backend: Backend) -> None:
    for body in (b"", b"{}", b"[", b"[NaN]", b'["\xff"]', b"[" * 100_000, b"1", b"[1]]"):
        answer = send(backend, body)
        assert (answer.status_code, answer.content_type) == (422, "application/problem+json"), body[:9]
        assert answer.get_json()["type"] == "/problems/unreadable"


def test_another_content_type_is_refused(backend: Backend) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/json-seq", ""):
        assert send(backend, b"[]", content_type).status_code == 415, content_type


def test_a_body_over_eight_mebibytes_or_ten_thousand_records_is_too_large(backend: Backend) -> None:
    assert send(backend, b"[" + b" " * (EIGHT_MIB - 2) + b"]").status_code == 200
    for body in (b"[" + b" " * (EIGHT_MIB - 1) + b"]", b"[" + b"{}," * 10_000 + b"{}]"):
        assert send(backend, body).status_code == 413


@pytest.mark.usefixtures("device_id")
def test_ten_thousand_records_are_taken_at_once(backend: Backend, owner_engine: Engine) -> None:
    batch = [record(str(number), protocol="x" * 100) for number in range(10_000)]
    answer = send(backend, json.dumps(batch).encode())
    assert answer.get_json() == {"accepted": 10_000, "merged": 0, "rejected": []}
    assert rows(owner_engine) == 10_000


@pytest.mark.usefixtures("device_id")
def test_the_same_key_gives_the_same_verdict(backend: Backend, owner_engine: Engine) -> None:
    body = json.dumps([record()]).encode()
    key = {"Idempotency-Key": '"batch-1"'}
    first, again = send(backend, body, **key), send(backend, body, **key)
    assert first.get_json() == again.get_json() == {"accepted": 1, "merged": 0, "rejected": []}
    assert send(backend, b"[]", **key).status_code == 422


@pytest.mark.usefixtures("device_id")
def test_a_verdict_repeats_nothing_that_was_sent(backend: Backend) -> None:
    members = ("account", "device", "session", "started_at", "remote_address", "protocol", "username", "canary", "ended_at")
    values: list[Any] = ["canary", ["canary"], {"canary": 1}]
    batch = [record() | {member: value} for member in members for value in values]
    assert "canary" not in send(backend, json.dumps(batch).encode()).text


def test_another_services_account_takes_no_traffic(
    backend: Backend, other_backend: Backend, device_id: str, owner_engine: Engine
) -> None:
    account = backend.get("/v1/accounts").get_json()["items"][0]["id"]
    batch = [record(), record(account=account), record(account=account, device=device_id)]
    answer = send(other_backend, json.dumps(batch).encode())
    assert [each["code"] for each in answer.get_json()["rejected"]] == ["unknown_account"] * 3
    assert rows(owner_engine) == 0


@pytest.mark.usefixtures("device_id")
def test_traffic_moves_the_day_on_which_an_account_is_due(backend: Backend) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    send(backend, json.dumps([record(ended_at=(now - timedelta(days=1)).isoformat())]).encode())
    account = backend.get("/v1/accounts").get_json()["items"][0]
    assert account["last_traffic_at"] == (now - timedelta(days=1)).isoformat().replace("+00:00", "Z")


def test_the_scope_is_needed(app: Any, database: Any, backend: Backend) -> None:
    account = backend.open_account()
    nosy = Backend(app, database, "talk2m", "accounts:read")
    assert send(nosy, b"[]").status_code == 403
    for path in ("traffic", "traffic/summary"):
        assert nosy.get(f"/v1/accounts/{account}/{path}").status_code == 403
