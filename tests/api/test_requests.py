"""Requests of data subjects over HTTP: taken, identified, decided, extended, withdrawn, and listed for staff."""

from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.backend import Backend
from tests.stack import every_row

DOCUMENTS = {"method": "documents", "note": "passport, seen at the desk"}


@pytest.fixture
def account(backend: Backend) -> str:
    """An account."""
    return backend.open_account()


@pytest.fixture
def person(backend: Backend, account: str) -> str:
    """Kim, in it."""
    return str(backend.post(f"/v1/accounts/{account}/people", {"username": "kim", "name": "Kim"}).get_json()["id"])


def ask(backend: Backend, account: str, type_: str, status: int = 201, **members: Any) -> dict[str, Any]:
    """Take a request."""
    answer = backend.post(f"/v1/accounts/{account}/requests", {"type": type_, **members})
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def act(
    backend: Backend, request: dict[str, Any], verb: str, body: Any = None, **options: Any
) -> tuple[int, dict[str, Any]]:
    """Do something with a request."""
    answer = backend.post(f"/v1/requests/{request['id']}/{verb}", body, **options)
    return answer.status_code, answer.get_json()


def test_a_letter_waits_for_the_identity_and_is_then_carried_out(backend: Backend, account: str, person: str) -> None:
    received: dict[str, Any] = {"channel": "letter", "received_at": "2026-01-31T12:00:00Z"}
    taken = ask(backend, account, "rectification", person_id=person, changes={"name": "Kim Example"}, **received)
    assert (taken["status"], taken["identity"], taken["due_on"]) == ("received", None, "2026-03-02")
    status, done = act(backend, taken, "verify", DOCUMENTS)
    assert (status, done["status"], done["outcome"], done["identity_note"]) == (
        200,
        "completed",
        "rectified",
        DOCUMENTS["note"],
    )
    assert done["identity"]["method"] == "documents"
    assert backend.get(f"/v1/accounts/{account}/people/{person}").get_json()["name"] == "Kim Example"


def test_documents_that_nobody_says_anything_of_identify_nobody(backend: Backend, account: str) -> None:
    wrong = ask(backend, account, "access", 422, channel="letter", identity={"method": "documents"})
    assert wrong["errors"][0]["pointer"] == "/identity/note"
    taken = ask(backend, account, "access", channel="mail")
    status, refused = act(backend, taken, "verify", {"method": "documents"})
    assert (status, refused["errors"][0]["pointer"]) == (422, "/note")


def test_an_objection_is_granted_or_refused_with_ground_and_reason(backend: Backend, account: str, person: str) -> None:
    first, second = (ask(backend, account, "objection", person_id=person, text=said) for said in ("no", "never"))
    assert first["status"] == "in_progress"
    refusal = {"decision": "refuse", "ground": "compelling_grounds", "reason": "The courts need it."}
    status, refused = act(backend, first, "decide", refusal)
    assert (status, refused["status"], refused["ground"], refused["reason"]) == (
        200,
        "refused",
        "compelling_grounds",
        refusal["reason"],
    )
    assert act(backend, first, "decide", {"decision": "grant"})[0] == 409
    status, granted = act(backend, second, "decide", {"decision": "grant"})
    assert (status, granted["outcome"]) == (200, "objection_upheld")
    assert backend.get(f"/v1/accounts/{account}/people/{person}").status_code == 423


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"decision": "refuse"}, ["/ground", "/reason"]),
        ({"decision": "grant", "ground": "excessive"}, ["/ground"]),
        ({"decision": "refuse", "ground": "excessive", "reason": "x", "outcome": "y"}, ["/outcome"]),
        ({"decision": "refuse", "ground": "data_accurate", "reason": "x"}, ["/ground"]),
    ],
)
def test_half_a_decision_is_refused_by_its_place(backend: Backend, account: str, body: Any, pointers: list[str]) -> None:
    status, refused = act(backend, ask(backend, account, "objection", text="no"), "decide", body)
    assert (status, [error["pointer"] for error in refused["errors"]]) == (422, pointers)


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"type": "access", "changes": {}}, "/changes"),
        ({"type": "access", "restrict": True}, "/restrict"),
        ({"type": "rectification"}, "/changes"),
        ({"type": "objection", "restrict": 1}, "/restrict"),
        ({"type": "access", "channel": "portal"}, "/channel"),
        ({"type": "access", "received_at": "2999-01-01T00:00:00Z"}, "/received_at"),
    ],
)
def test_what_does_not_fit_the_type_is_refused_by_its_place(
    backend: Backend, account: str, members: dict[str, Any], pointer: str
) -> None:
    answer = backend.post(f"/v1/accounts/{account}/requests", members)
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, pointer)
    assert backend.get(f"/v1/accounts/{account}/requests").get_json()["items"] == []


def test_an_answer_is_put_off_once_and_a_closing_undone(backend: Backend, account: str) -> None:
    taken = ask(backend, account, "erasure")
    closing = backend.get(f"/v1/accounts/{account}").get_json()
    assert (closing["status"], closing["closes_at"]) == ("closing", taken["effective_at"])
    assert [act(backend, taken, "extend", {"reason": "Many"})[0] for _ in range(2)] == [200, 409]
    status, withdrawn = act(backend, taken, "withdraw")
    assert (status, withdrawn["status"]) == (200, "withdrawn")
    kept = backend.get(f"/v1/accounts/{account}").get_json()
    assert (kept["status"], kept["closes_at"]) == ("active", None)
    assert act(backend, taken, "restart")[0] == 409


def test_open_requests_of_the_service_are_listed_without_what_people_wrote(
    backend: Backend, other_backend: Backend, account: str
) -> None:
    old = ask(backend, account, "access", channel="letter", received_at="2026-01-31T12:00:00Z", text="canary")
    new = ask(backend, account, "access")
    listed = backend.get("/v1/requests")
    assert ([each["id"] for each in listed.get_json()["items"]], "canary" in listed.text) == ([old["id"], new["id"]], False)
    for query, found in (("overdue=true", [old]), ("status=in_progress", [new]), ("overdue=false", [old, new])):
        items = backend.get(f"/v1/requests?{query}").get_json()["items"]
        assert [each["id"] for each in items] == [each["id"] for each in found], query
    assert other_backend.get("/v1/requests").get_json()["items"] == []
    assert backend.get("/v1/requests?overdue=yes").status_code == 422


def test_what_was_said_stands_nowhere_readable_and_no_kept_answer_tells_of_who_was_erased(
    backend: Backend, account: str, person: str, owner_engine: Engine
) -> None:
    key = {"headers": {"Idempotency-Key": '"once"'}}
    taken = ask(backend, account, "erasure", channel="letter", person_id=person, text="canary-words")
    first, again = (act(backend, taken, "verify", DOCUMENTS, **key) for _ in range(2))
    assert first == again
    assert (first[1]["status"], first[1]["person_id"], first[1]["text"]) == ("completed", None, None)
    with owner_engine.connect() as connection:
        query = text("SELECT account_id::text, plain, sealed IS NOT NULL FROM idempotency_keys")
        assert [tuple(row) for row in connection.execute(query)] == [(account, None, True)]
    assert "canary-words" not in str(every_row(owner_engine))
