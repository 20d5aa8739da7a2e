"""Account holders at the API: what they see, rectify and ask for with a session, and what the password is needed for."""

from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform.clock import utc_now
from tests.backend import Backend
from tests.exports import begin_purge, run

PASSWORD = "four words make one"


class Person:
    """Somebody with a session."""

    def __init__(self, app: Flask, backend: Backend, account: str, username: str, role: str) -> None:
        people = f"/v1/accounts/{account}/people"
        self.id = backend.post(people, {"username": username, "role": role, "email": f"{username}@example.com"}).get_json()[
            "id"
        ]
        backend.send("PUT", f"{people}/{self.id}/credentials", {"password": PASSWORD})
        self.http = app.test_client()
        names = {"service": "talk2m", "account_name": "acme-water", "username": username, "password": PASSWORD}
        self.token = self.http.post("/v1/session", json=names).get_json()["access_token"]

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """One request below /v1/me."""
        given = {"Authorization": f"Bearer {self.token}", **headers}
        return self.http.open(f"/v1/me{path}", method=method, json=body, headers=given)

    def items(self, path: str) -> list[dict[str, Any]]:
        """A list."""
        answer = self.send("GET", path)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.get_json()["items"]
        return found


@pytest.fixture
def account(backend: Backend) -> str:
    """An account."""
    return backend.open_account()


@pytest.fixture
def kim(app: Flask, backend: Backend, account: str) -> Person:
    """Its owner."""
    return Person(app, backend, account, "kim", "owner")


@pytest.fixture
def alex(app: Flask, backend: Backend, account: str, kim: Person) -> Person:
    """A member of it."""
    return Person(app, backend, account, "alex", "member")


def test_an_owner_sees_the_account_and_a_member_what_is_about_them(
    backend: Backend, account: str, kim: Person, alex: Person
) -> None:
    backend.post(f"/v1/accounts/{account}/devices", {"serial": "1"})
    record = {"account": account, "device": "1", "source": "x", "started_at": "2026-01-31T12:00:00Z", "duration_s": 9}
    traffic = [record | {"session": name, "username": name} for name in ("kim", "alex")]
    assert backend.post("/v1/traffic", traffic).get_json()["accepted"] == 2
    assert [person.send("GET", "").get_json()["username"] for person in (kim, alex)] == ["kim", "alex"]
    assert [person.send("GET", "/account").get_json()["id"] for person in (kim, alex)] == [account, account]
    assert [len(person.items("/traffic")) for person in (kim, alex)] == [2, 1]
    assert (len(kim.items("/devices")), alex.send("GET", "/devices").status_code) == (1, 403)
    assert {event["subject_id"] for event in alex.items("/access-log")} == {alex.id}
    assert "account.create" in {event["action"] for event in kim.items("/access-log")}
    assert [each["holds"] for each in alex.items("/consents")] == [False, False]


def test_own_data_is_rectified_and_the_address_only_with_the_password(kim: Person) -> None:
    tag = kim.send("GET", "").headers["ETag"]
    changed = kim.send("PATCH", "", {"name": "Kim"}, **{"If-Match": tag})
    assert (changed.status_code, changed.get_json()["name"]) == (200, "Kim")
    latest = {"If-Match": changed.headers["ETag"]}
    address = {"email": "new@example.com"}
    assert kim.send("PATCH", "", address, **latest).get_json()["errors"][0]["pointer"] == "/password"
    assert kim.send("PATCH", "", address | {"password": "wrong"}, **latest).status_code == 401
    assert kim.send("PATCH", "", {"role": "owner"}, **latest).status_code == 422
    assert kim.send("PATCH", "", address | {"password": PASSWORD}, **latest).get_json()["email"] == address["email"]
    assert kim.send("PATCH", "", {"name": "x"}).status_code == 428


def test_a_copy_is_asked_for_and_fetched_with_the_password(kim: Person, alex: Person, worker_services: Services) -> None:
    assert kim.send("POST", "/exports", {}).get_json()["errors"][0]["pointer"] == "/password"
    wrong = kim.send("POST", "/exports", {"password": "wrong"})
    assert (wrong.status_code, wrong.get_json()["type"]) == (401, "/problems/invalid_credentials")
    assert kim.items("/requests") == []
    started = kim.send("POST", "/exports", {"password": PASSWORD})
    assert (started.status_code, started.get_json()["progress"]) == (202, 0)
    path = started.headers["Location"].removeprefix("/v1/me")
    assert kim.send("POST", f"{path}/archive", {"password": PASSWORD}).status_code == 409
    run(worker_services, UUID(started.get_json()["id"]), utc_now())
    assert kim.send("GET", path).get_json()["progress"] == 100
    assert kim.send("POST", f"{path}/archive", {"password": "wrong"}).status_code == 401
    archive = kim.send("POST", f"{path}/archive", {"password": PASSWORD})
    assert (archive.status_code, archive.data[:2]) == (200, b"PK")
    assert alex.send("GET", path).status_code == 404
    assert alex.send("POST", f"{path}/archive", {"password": PASSWORD}).status_code == 404
    (request,) = kim.items("/requests")
    assert (request["scope"], request["channel"], request["identity"]["method"]) == ("account", "portal", "password")


def test_a_member_asks_about_themselves_alone(alex: Person, kim: Person) -> None:
    body = {"type": "restriction", "about": "person", "password": PASSWORD}
    assert alex.send("POST", "/requests", body | {"about": "account"}).status_code == 404
    made = alex.send("POST", "/requests", body)
    assert (made.status_code, made.get_json()["person_id"], made.get_json()["outcome"]) == (201, alex.id, "restricted")
    assert alex.send("GET", "").get_json()["restricted_at"] is not None
    assert len(kim.items("/requests")) == len(alex.items("/requests")) == 1


def test_a_member_sees_nothing_of_the_company_behind_the_account(kim: Person, alex: Person) -> None:
    assert kim.send("GET", "/account").get_json()["customer"]["company_name"] == "Acme Water Ltd"
    assert alex.send("GET", "/account").get_json()["customer"] == {"company_name": None, "company_id": None}


def test_an_owner_closes_the_account_and_has_it_stay(kim: Person) -> None:
    again = {"Idempotency-Key": '"once"'}
    body = {"type": "erasure", "about": "account", "password": PASSWORD}
    first, second = (kim.send("POST", "/requests", body, **again) for _ in range(2))
    assert (first.status_code, first.get_json()) == (201, second.get_json())
    assert kim.send("GET", "/account").get_json()["status"] == "closing"
    withdrawn = kim.send("POST", f"/requests/{first.get_json()['id']}/withdraw")
    assert withdrawn.get_json()["status"] == "withdrawn"
    assert kim.send("GET", "/account").get_json()["status"] == "active"


def test_a_session_ends_with_its_person_and_with_the_account(
    backend: Backend, account: str, kim: Person, alex: Person, owner_engine: Engine
) -> None:
    assert backend.send("DELETE", f"/v1/accounts/{account}/people/{alex.id}", etag='"1"').status_code == 204
    assert alex.send("GET", "").status_code == 401
    assert kim.send("GET", "").status_code == 200
    begin_purge(owner_engine, UUID(account))
    assert kim.send("GET", "").status_code == 401


def test_who_is_an_owner_no_more_is_a_member_at_once(kim: Person, owner_engine: Engine) -> None:
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE people SET role = 'member'"))
    assert kim.send("GET", "/devices").status_code == 403


def test_a_backend_has_no_account_holders_rights_and_they_none_of_a_backend(
    backend: Backend, kim: Person, account: str
) -> None:
    assert backend.get("/v1/me").status_code == 403
    backend.token = kim.token
    assert backend.get(f"/v1/accounts/{account}").status_code == 403
