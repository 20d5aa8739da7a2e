"""Legal holds over HTTP, and people whose erasure has to wait for one."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from tests.backend import Backend
from tests.purges import run
from tests.stack import TestDatabase

HOLD = {"scope": "account", "authority": "Example District Court", "reference": "T 1234-26"}
PASSWORD = "correct horse battery"


def place(backend: Backend, account: str, **members: Any) -> str:
    """The path of a new hold."""
    answer = backend.post(f"/v1/accounts/{account}/holds", {**HOLD, **members})
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def test_a_hold_is_placed_read_listed_and_released(backend: Backend) -> None:
    account = backend.open_account()
    members = {"scope": "category", "category": "traffic_metadata", "until": "2099-01-01T00:00:00Z"}
    path = place(backend, account, **members)
    read = backend.get(path)
    assert {name: read.get_json()[name] for name in (*HOLD, *members)} == {**HOLD, **members}
    assert read.get_json()["placed_by"] == f"client:{backend.client_id}"
    assert (read.headers["ETag"], read.get_json()["released_at"]) == ('"1"', None)
    assert backend.send("DELETE", path).status_code == 428
    assert backend.send("DELETE", path, etag='"2"').status_code == 412
    assert backend.send("DELETE", path, etag='"1"').status_code == 204
    [listed] = backend.get(f"/v1/accounts/{account}/holds").get_json()["items"]
    assert listed["released_by"] == f"client:{backend.client_id}"
    assert listed == backend.get(path).get_json()


def test_a_hold_that_was_released_is_not_released_again(backend: Backend) -> None:
    path = place(backend, backend.open_account())
    assert backend.send("DELETE", path, etag='"1"').status_code == 204
    released_at = backend.get(path).get_json()["released_at"]
    assert backend.send("DELETE", path, etag='"1"').status_code == 412
    assert backend.send("DELETE", path, etag='"2"').status_code == 204
    assert backend.get(path).get_json()["released_at"] == released_at


def test_holds_are_listed_in_pages(backend: Backend) -> None:
    account = backend.open_account()
    placed = [place(backend, account, reference=f"T {number}").rpartition("/")[2] for number in range(3)]
    first = backend.get(f"/v1/accounts/{account}/holds?limit=2").get_json()
    rest = backend.get(f"/v1/accounts/{account}/holds?cursor={first['next_cursor']}").get_json()
    assert [hold["id"] for hold in first["items"] + rest["items"]] == placed
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"scope": "world"}, "/scope"),
        ({"authority": ""}, "/authority"),
        ({"reference": " padded"}, "/reference"),
        ({"until": "2099-01-01T00:00:00"}, "/until"),
        ({"until": "2020-01-01T00:00:00Z"}, "/until"),
        ({"category": "operation", "scope": "category"}, "/category"),
        ({"category": "credentials"}, "/category"),
        ({"scope": "person", "person_id": "00000000-0000-7000-8000-000000000000"}, "/person_id"),
        ({"released_at": None}, "/released_at"),
    ],
)
def test_a_bad_member_is_named(backend: Backend, members: dict[str, Any], pointer: str) -> None:
    account = backend.open_account()
    answer = backend.post(f"/v1/accounts/{account}/holds", {**HOLD, **members})
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["pointer"] == pointer


def test_a_person_of_another_account_is_refused_like_nobody(backend: Backend, other_backend: Backend) -> None:
    ours, theirs = backend.open_account(), other_backend.open_account()
    person = other_backend.post(f"/v1/accounts/{theirs}/people", {"username": "kim"}).get_json()["id"]
    nobody = {**HOLD, "scope": "person", "person_id": "00000000-0000-7000-8000-000000000000"}
    answers = [
        backend.post(f"/v1/accounts/{ours}/holds", {**nobody, "person_id": each}) for each in (person, nobody["person_id"])
    ]
    assert answers[0].status_code == answers[1].status_code == 422
    assert answers[0].get_json() == answers[1].get_json()


def test_holds_need_scopes_of_their_own(app: Flask, database: TestDatabase, backend: Backend) -> None:
    account = backend.open_account()
    path = place(backend, account)
    reader = Backend(app, database, "talk2m", "holds:read", "accounts:write", "retention:write")
    assert reader.get(path).status_code == 200
    assert reader.post(f"/v1/accounts/{account}/holds", HOLD).status_code == 403
    assert reader.send("DELETE", path, etag='"1"').status_code == 403
    writer = Backend(app, database, "talk2m", "holds:write")
    assert writer.get(path).status_code == 403
    assert writer.send("DELETE", path, etag='"1"').status_code == 204


def test_a_hold_asked_for_twice_with_one_key_is_placed_once(backend: Backend) -> None:
    account = backend.open_account()
    answers = [backend.post(f"/v1/accounts/{account}/holds", HOLD, headers={"Idempotency-Key": '"once"'}) for _ in range(2)]
    assert answers[0].get_json() == answers[1].get_json()
    assert len(backend.get(f"/v1/accounts/{account}/holds").get_json()["items"]) == 1


def test_a_held_account_is_read_and_used_as_before(backend: Backend) -> None:
    account = backend.open_account()
    device = backend.post(f"/v1/accounts/{account}/devices", {"serial": "1"}).get_json()["id"]
    before = backend.get(f"/v1/accounts/{account}")
    place(backend, account)
    after = backend.get(f"/v1/accounts/{account}")
    assert (after.get_json(), after.headers["ETag"]) == (before.get_json(), before.headers["ETag"])
    record = {"account": account, "device": device, "source": "radius", "session": "1", "started_at": "2026-01-01T00:00:00Z"}
    assert backend.post("/v1/traffic", [record]).get_json()["accepted"] == 1


@pytest.fixture
def purged(backend: Backend, worker_services: Services) -> tuple[str, str]:
    """An account that was purged around a hold on identities, and the hold's path."""
    account = backend.open_account()
    backend.post(f"/v1/accounts/{account}/people", {"username": "kim"})
    path = place(backend, account, scope="category", category="identification")
    purge = backend.send("DELETE", f"/v1/accounts/{account}", etag='"1"').get_json()["purge_id"]
    run(worker_services, purge, worker_services.clock())
    return account, path


def test_of_an_account_purged_around_a_hold_only_its_holds_can_be_reached(backend: Backend, purged: tuple[str, str]) -> None:
    account, path = purged
    assert backend.get(path).status_code == 200
    for reached in ("", "/people", "/devices", "/traffic", "/requests"):
        assert backend.get(f"/v1/accounts/{account}{reached}").status_code == 404, reached
    assert backend.get("/v1/accounts").get_json()["items"] == []
    assert backend.post("/v1/accounts/lookup", {"account_name": "acme-water"}).status_code == 404
    record = {"account": account, "device": "1", "source": "radius", "session": "1", "started_at": "2026-01-01T00:00:00Z"}
    assert backend.post("/v1/traffic", [record]).get_json()["accepted"] == 0
    assert backend.open_account() != account  # the name is free again


def test_a_second_hold_on_what_is_left_is_placed_once(backend: Backend, purged: tuple[str, str]) -> None:
    account, _ = purged
    key = {"Idempotency-Key": '"once"'}
    assert backend.post(f"/v1/accounts/{account}/holds", HOLD, headers=key).status_code == 201
    assert backend.post(f"/v1/accounts/{account}/holds", HOLD, headers=key).status_code == 404
    assert len(backend.get(f"/v1/accounts/{account}/holds").get_json()["items"]) == 2


def test_nothing_is_held_of_an_account_whose_erasure_goes_on(backend: Backend, purged: tuple[str, str]) -> None:
    account, path = purged
    assert backend.send("DELETE", path, etag='"1"').status_code == 204
    answer = backend.post(f"/v1/accounts/{account}/holds", HOLD)
    assert (answer.status_code, answer.get_json()["type"]) == (409, "/problems/account_closing")


@pytest.fixture
def erased(backend: Backend) -> str:
    """The path of a person who was erased under a hold."""
    account = backend.open_account()
    path = backend.post(f"/v1/accounts/{account}/people", {"username": "robin", "email": "robin@example.com"}).headers[
        "Location"
    ]
    backend.send("PUT", f"{path}/credentials", {"password": PASSWORD, "hint": "as in the song"})
    place(backend, account, scope="person", person_id=path.rpartition("/")[2])
    answer = backend.send("DELETE", path, etag='"1"')
    assert (answer.status_code, answer.data) == (202, b"")
    return path


def test_a_person_erased_under_a_hold_is_gone_for_everybody(backend: Backend, erased: str, owner_engine: Engine) -> None:
    people = erased.rpartition("/")[0]
    assert backend.get(erased).status_code == 404
    assert backend.get(people).get_json()["items"] == []
    assert backend.send("PATCH", erased, {"name": "x"}, etag='"2"').status_code == 404
    assert backend.send("DELETE", erased, etag='"2"').status_code == 404
    assert backend.send("PUT", f"{erased}/credentials", {"password": PASSWORD}).status_code == 404
    named = {"account_name": "acme-water", "username": "robin"}
    assert backend.post("/v1/credentials/verify", {**named, "password": PASSWORD}).status_code == 401
    assert backend.post("/v1/credentials/hint", named).status_code == 202
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM outbox WHERE person_id IS NOT NULL")) == 0
        assert connection.scalar(text("SELECT count(*) FROM people")) == 1
        assert connection.scalar(text("SELECT count(*) FROM audit_events WHERE action = 'person.erasure_held'")) == 1


def test_the_username_of_a_person_erased_under_a_hold_is_free(backend: Backend, erased: str) -> None:
    added = backend.post(erased.rpartition("/")[0], {"username": "robin"})
    assert added.status_code == 201
    assert backend.get(added.headers["Location"]).get_json()["email"] is None


def test_traffic_does_not_name_a_person_erased_under_a_hold(backend: Backend, erased: str, owner_engine: Engine) -> None:
    account = erased.split("/")[3]
    backend.post(f"/v1/accounts/{account}/devices", {"serial": "1"})
    record = {"account": account, "device": "1", "source": "radius", "session": "1", "started_at": "2026-01-01T00:00:00Z"}
    assert backend.post("/v1/traffic", [{**record, "username": "robin"}]).get_json()["accepted"] == 1
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT person_id FROM traffic")) is None
