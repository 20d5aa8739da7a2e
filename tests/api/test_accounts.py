"""Accounts over HTTP."""

import pytest
from sqlalchemy import Engine, text

from tests.backend import Backend


def test_an_account_is_opened_and_read_back(backend: Backend) -> None:
    body = {"account_name": "Acme", "customer": {"company_name": "Acme Ltd"}, "created_at": "2018-08-01T10:00:00+02:00"}
    opened = backend.post("/v1/accounts", body)
    assert opened.status_code == 201
    read = backend.get(opened.headers["Location"])
    assert read.get_json() == opened.get_json()
    assert read.get_json() | {"id": ""} == {
        "id": "",
        "service": "talk2m",
        "account_name": "Acme",
        "status": "active",
        "customer": {"company_name": "Acme Ltd", "company_id": None},
        "created_at": "2018-08-01T08:00:00Z",
        "last_traffic_at": None,
        "purge_due_on": "2025-08-02",
        "closes_at": None,
        "restriction_ends_at": None,
    }
    assert read.headers["ETag"] == '"1"'
    assert read.headers["Cache-Control"] == "no-store"


def test_a_taken_name_is_a_conflict_and_leaves_nothing(backend: Backend, owner_engine: Engine) -> None:
    backend.open_account("acme")
    again = backend.post("/v1/accounts", {"account_name": "ACME"})
    assert (again.status_code, again.get_json()["type"]) == (409, "/problems/conflict")
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM accounts")) == 1


def test_another_services_account_is_not_there(backend: Backend, other_backend: Backend) -> None:
    account = backend.open_account()
    for method, body in (("GET", None), ("PATCH", {"account_name": "mine"}), ("DELETE", None)):
        answer = other_backend.send(method, f"/v1/accounts/{account}", body, etag='"1"')
        assert answer.status_code == 404, method
    assert other_backend.get("/v1/accounts").get_json()["items"] == []
    assert other_backend.post("/v1/accounts/lookup", {"account_name": "acme-water"}).status_code == 404


def test_an_account_is_looked_up_by_its_name_in_the_body_and_not_in_a_url(backend: Backend) -> None:
    account = backend.open_account("Acme Water")
    found = backend.post("/v1/accounts/lookup", {"account_name": " acme WATER"})
    assert (found.status_code, found.get_json()["id"], found.headers["ETag"]) == (200, account, '"1"')
    assert backend.post("/v1/accounts/lookup", {"account_name": "none"}).status_code == 404
    assert backend.get("/v1/accounts?account_name=acme").status_code == 422


def test_a_change_needs_the_version_that_was_read(backend: Backend) -> None:
    path = f"/v1/accounts/{backend.open_account()}"
    assert backend.send("PATCH", path, {"account_name": "b"}).status_code == 428
    changed = backend.send("PATCH", path, {"customer": {"company_name": "New"}}, etag='"1"')
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
    assert changed.get_json()["customer"] == {"company_name": "New", "company_id": "SE556000-0001"}
    for stale in ('"1"', '"x"', 'W/"2"', '"99999999999999"'):
        assert backend.send("PATCH", path, {"account_name": "b"}, etag=stale).status_code == 412, stale
    for no_version in ("*", "2", "garbage", '"2'):
        assert backend.send("PATCH", path, {"account_name": "b"}, etag=no_version).status_code == 428, no_version


def test_pages_follow_each_other_without_gap_or_repetition(backend: Backend) -> None:
    opened = [backend.open_account(f"account-{number}") for number in range(7)]
    seen, path = [], "/v1/accounts?limit=3"
    while path:
        answer = backend.get(path)
        seen += [item["id"] for item in answer.get_json()["items"]]
        assert ("Link" in answer.headers) == (answer.get_json()["next_cursor"] is not None)
        path = answer.headers["Link"].split(">")[0].strip("<") if "Link" in answer.headers else ""
    assert seen == opened


@pytest.mark.parametrize("cursor", ["x", "AAAA", "%00", "a" * 600, "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo"])
def test_a_made_up_cursor_is_refused(backend: Backend, cursor: str) -> None:
    assert backend.get(f"/v1/accounts?cursor={cursor}").status_code == 422


def test_a_cursor_of_one_list_is_none_of_another(backend: Backend) -> None:
    first, second = backend.open_account("first"), backend.open_account("second")
    for serial in ("a", "b"):
        backend.post(f"/v1/accounts/{first}/devices", {"serial": serial})
    cursor = backend.get(f"/v1/accounts/{first}/devices?limit=1").get_json()["next_cursor"]
    assert backend.get(f"/v1/accounts/{second}/devices?cursor={cursor}").status_code == 422


def test_closing_an_account_starts_its_erasure_and_takes_no_changes(backend: Backend) -> None:
    path = f"/v1/accounts/{backend.open_account()}"
    closed = backend.send("DELETE", path, etag='"1"')
    assert closed.status_code == 202
    assert backend.get(closed.headers["Location"]).status_code == 200
    assert backend.get(path).get_json()["status"] == "closing"
    assert backend.send("PATCH", path, {"account_name": "b"}, etag='"2"').status_code == 409


def test_every_read_and_change_leaves_an_event(backend: Backend, owner_engine: Engine) -> None:
    account = backend.open_account()
    backend.get(f"/v1/accounts/{account}")
    backend.get("/v1/accounts")
    backend.send("PATCH", f"/v1/accounts/{account}", {"customer": {"company_name": "canary"}}, etag='"1"')
    with owner_engine.connect() as connection:
        rows = connection.execute(
            text("SELECT action, fields, actor_id FROM audit_events WHERE account_id IS NOT NULL ORDER BY 1")
        )
        found = [tuple(row) for row in rows]
    assert [row[0] for row in found] == ["account.change", "account.create", "account.read", "account.read"]
    assert found[0][1] == ["customer"]
    assert {row[2] for row in found} == {backend.client_id}
