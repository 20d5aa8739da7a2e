"""People of an account over HTTP."""

import pytest
from sqlalchemy import Engine, text

from tests.backend import Backend

PERSON = {
    "username": "robin",
    "role": "owner",
    "name": "Robin Example",
    "address": "1 Reservoir Lane\nExampleton",
    "phones": ["+44 1632 960101", "+44 1632 960102"],
    "email": "robin@example.com",
    "company_name": "Acme Water Ltd",
    "company_id": "EX-1",
    "locale": "en-GB",
}


def people_of(backend: Backend) -> str:
    """The path of a fresh account's people."""
    return f"/v1/accounts/{backend.open_account()}/people"


def test_a_person_is_added_and_read_back_whole(backend: Backend) -> None:
    added = backend.post(people_of(backend), PERSON)
    assert added.status_code == 201
    read = backend.get(added.headers["Location"]).get_json()
    assert {name: read[name] for name in PERSON} == PERSON


def test_what_was_not_given_is_null_or_empty(backend: Backend) -> None:
    added = backend.post(people_of(backend), {"username": "kim"}).get_json()
    assert (added["role"], added["name"], added["phones"], added["locale"]) == ("member", None, [], None)


def test_a_username_is_unique_in_its_account_whatever_its_case(backend: Backend) -> None:
    people = people_of(backend)
    backend.post(people, {"username": "Robin"})
    assert backend.post(people, {"username": "robin"}).status_code == 409
    other = f"/v1/accounts/{backend.open_account('other')}/people"
    assert backend.post(other, {"username": "robin"}).status_code == 201


def test_rectification_keeps_which_fields_but_not_the_values(backend: Backend, owner_engine: Engine) -> None:
    path = backend.post(people_of(backend), PERSON).headers["Location"]
    changed = backend.send("PATCH", path, {"name": "canary", "phones": []}, etag='"1"')
    assert changed.get_json()["name"] == "canary"
    assert changed.get_json()["email"] == "robin@example.com"
    with owner_engine.connect() as connection:
        query = text("SELECT fields FROM audit_events WHERE action = 'person.change'")
        assert connection.scalar(query) == ["name", "phones"]


def test_an_erased_person_is_gone_with_credentials(backend: Backend, owner_engine: Engine) -> None:
    path = backend.post(people_of(backend), PERSON).headers["Location"]
    assert backend.send("PUT", f"{path}/credentials", {"password": "correct horse battery"}).status_code == 204
    assert backend.send("DELETE", path).status_code == 428
    assert backend.send("DELETE", path, etag='"7"').status_code == 412
    assert backend.send("DELETE", path, etag='"1"').status_code == 204
    assert backend.get(path).status_code == 404
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM credentials")) == 0


def test_an_erased_person_is_gone_from_kept_answers_and_stays_erased(backend: Backend, owner_engine: Engine) -> None:
    people, key = people_of(backend), {"Idempotency-Key": '"once"'}
    added = backend.post(people, PERSON, headers=key)
    backend.post(people, {"username": "kim"}, headers={"Idempotency-Key": '"another"'})
    assert backend.send("DELETE", added.headers["Location"], etag='"1"').status_code == 204
    again = backend.post(people, PERSON, headers=key)
    assert (again.status_code, again.get_json()["type"]) == (404, "/problems/not_found")
    assert backend.post(people, {"username": "kim"}, headers={"Idempotency-Key": '"another"'}).status_code == 201
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM idempotency_keys WHERE sealed IS NOT NULL")) == 1
        assert connection.scalar(text("SELECT count(*) FROM people")) == 1


def test_a_person_of_another_account_is_not_found_below_this_one(backend: Backend) -> None:
    person = backend.post(people_of(backend), PERSON).get_json()["id"]
    other = backend.open_account("other")
    assert backend.get(f"/v1/accounts/{other}/people/{person}").status_code == 404


def test_another_service_reaches_no_person(backend: Backend, other_backend: Backend) -> None:
    people = people_of(backend)
    path = backend.post(people, PERSON).headers["Location"]
    assert other_backend.get(people).status_code == 404
    assert other_backend.get(path).status_code == 404
    assert other_backend.post(people, PERSON).status_code == 404
    assert other_backend.send("PUT", f"{path}/credentials", {"password": "correct horse"}).status_code == 404


@pytest.mark.parametrize(
    "bad",
    [{"email": "no mail"}, {"locale": "not a tag"}, {"role": "king"}, {"phones": ["1"] * 11}, {"phones": "1"}, {"name": ""}],
)
def test_a_bad_member_is_named(backend: Backend, bad: dict[str, object]) -> None:
    answer = backend.post(people_of(backend), {"username": "kim", **bad})
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["pointer"].startswith(f"/{next(iter(bad))}")
