"""Passwords: set, checked, rehashed; a hint that gives nothing away."""

from dataclasses import replace
from hashlib import sha1
from pathlib import Path
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Engine, select, text

from cloudpriv.app import create_app
from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, credentials, tables
from cloudpriv.platform.passwords import Passwords
from tests import factories
from tests.backend import Backend
from tests.stack import TestDatabase

PASSWORD = "correct horse battery"


@pytest.fixture
def person(backend: Backend) -> str:
    """The path of Robin of acme-water, who has a password."""
    people = f"/v1/accounts/{backend.open_account('acme-water')}/people"
    path = backend.post(people, {"username": "robin"}).headers["Location"]
    assert backend.send("PUT", f"{path}/credentials", {"password": PASSWORD, "hint": "comic"}).status_code == 204
    return path


def verify(backend: Backend, **changed: object) -> tuple[int, dict[str, str]]:
    """Status and body of a check of Robin's password."""
    body = {"account_name": "acme-water", "username": "robin", "password": PASSWORD, **changed}
    answer = backend.post("/v1/credentials/verify", body)
    return answer.status_code, answer.get_json()


def stored_hash(services: Services) -> str:
    """The one hash that is stored."""
    with factories.transaction(services) as tx:
        row = tx.session.scalars(select(tables.Credential)).one()
        key = accounts.find_account(tx, row.account_id).key
        phc: str = key.open(row.person_id, tables.PASSWORD, row.password_hash)["phc"]
    return phc


def test_the_right_password_tells_whose_it_is(backend: Backend, person: str) -> None:
    status, body = verify(backend)
    assert (status, body["status"]) == (200, "active")
    assert person.endswith(body["person_id"])
    assert verify(backend, account_name=" ACME-Water", username="ROBIN", service="talk2m")[0] == 200


def test_whatever_is_wrong_the_answer_is_the_same(backend: Backend, other_backend: Backend, person: str) -> None:
    answers = [
        verify(backend, password="wrong"),
        verify(backend, username="nobody"),
        verify(backend, account_name="none"),
        verify(backend, service="intesis"),
        verify(other_backend),
    ]
    assert answers == [answers[0]] * 5
    assert answers[0][0] == 401


def test_a_check_is_audited_either_way(backend: Backend, person: str, owner_engine: Engine) -> None:
    verify(backend)
    verify(backend, password="wrong")
    with owner_engine.connect() as connection:
        query = text("SELECT action FROM audit_events WHERE action LIKE 'credentials.%' ORDER BY event_id")
        assert list(connection.scalars(query)) == ["credentials.change", "credentials.verify", "credentials.reject"]


def test_a_password_hashed_with_old_parameters_is_hashed_anew(
    services: Services, database: TestDatabase, backend: Backend, person: str
) -> None:
    settings = replace(services.settings, argon2_time_cost=2)
    stronger = Backend(create_app(replace(services, settings=settings)), database)
    before = stored_hash(services)
    assert verify(stronger)[0] == 200
    after = stored_hash(services)
    assert ("t=1," in before, "t=2," in after) == (True, True)
    assert verify(stronger)[0] == 200
    assert stored_hash(services) == after


@pytest.mark.parametrize(
    "hint",
    [
        PASSWORD,
        "it is correct horse battery",
        "Correct Horse",
        "yrettab esroh tcerroc",
        "c0rrect h0r5e b4ttery",
        "corect hors batery",
    ],
)
def test_a_hint_that_gives_the_password_away_is_refused(backend: Backend, person: str, hint: str) -> None:
    answer = backend.send("PUT", f"{person}/credentials", {"password": PASSWORD, "hint": hint})
    assert answer.status_code == 422
    assert answer.get_json()["errors"] == [{"pointer": "/hint", "detail": "contains or resembles the password"}]
    assert PASSWORD not in answer.text


@pytest.mark.parametrize("hint", ["my first dog", "comic strip", "the usual", None])
def test_a_harmless_hint_is_taken(backend: Backend, person: str, hint: str | None) -> None:
    assert backend.send("PUT", f"{person}/credentials", {"password": PASSWORD, "hint": hint}).status_code == 204


def test_no_answer_holds_a_password_a_hash_or_a_hint(backend: Backend, person: str) -> None:
    texts = [backend.get(person).text, backend.get(person.rpartition("/")[0]).text, str(verify(backend))]
    assert not [word for text in texts for word in (PASSWORD, "argon2", "comic", "hint") if word in text]


def test_checks_of_one_account_are_limited(services: Services, database: TestDatabase, person: str, app: Flask) -> None:
    settings = replace(services.settings, verify_rate_limit="3/day")
    limited = Backend(create_app(replace(services, settings=settings)), database)
    statuses = [verify(limited, password="wrong")[0] for _ in range(4)]
    assert statuses == [401, 401, 401, 429]
    assert verify(limited, account_name="other")[0] == 401


@pytest.mark.parametrize("password", ["short", "", None, "x" * 1025, 12345678])
def test_a_password_out_of_bounds_is_refused(backend: Backend, person: str, password: object) -> None:
    assert backend.send("PUT", f"{person}/credentials", {"password": password}).status_code == 422


@pytest.mark.parametrize("password", ["password123", "robin-robin", "Acme-Water!", "qwertzuiop"])
def test_a_password_that_is_easily_guessed_is_refused_at_its_member(backend: Backend, person: str, password: str) -> None:
    answer = backend.send("PUT", f"{person}/credentials", {"password": password, "hint": "zebra"})
    assert (answer.status_code, [each["pointer"] for each in answer.get_json()["errors"]]) == (422, ["/password"])
    assert password not in answer.text
    assert verify(backend)[0] == 200


def test_a_password_that_was_stored_before_the_rule_still_lets_in(services: Services, backend: Backend, person: str) -> None:
    account_id, person_id = (UUID(part) for part in person.split("/")[3::2])
    hashed = Passwords(time_cost=1, memory_kib=8, parallelism=1, concurrency=1).hash("password123")
    with factories.transaction(services) as tx:
        credentials.set_credentials(tx, account_id, person_id, hashed, None)
    assert verify(backend, password="password123")[0] == 200


def test_a_password_of_the_list_of_breached_ones_is_refused(
    services: Services, database: TestDatabase, person: str, tmp_path: Path
) -> None:
    listed = tmp_path / "hashes"
    listed.write_text(f"{sha1(PASSWORD.encode(), usedforsecurity=False).hexdigest().upper()}:12\n")
    checked = Backend(
        create_app(replace(services, settings=replace(services.settings, breached_passwords_file=str(listed)))), database
    )
    answer = checked.send("PUT", f"{person}/credentials", {"password": PASSWORD})
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, "/password")
    assert "breach" in answer.get_json()["errors"][0]["detail"]
    assert checked.send("PUT", f"{person}/credentials", {"password": f"{PASSWORD} staple"}).status_code == 204
    listed.unlink()
    assert checked.send("PUT", f"{person}/credentials", {"password": f"{PASSWORD} stable"}).status_code == 503
