"""Requests of data subjects over HTTP: taken, identified, decided, extended, withdrawn, and listed for staff."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts
from cloudpriv.platform.ids import new_id
from cloudpriv.rights.code_mails import written
from tests.backend import Backend
from tests.factories import transaction
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


def send_code(backend: Backend, request: dict[str, Any], **body: Any) -> tuple[int, dict[str, Any]]:
    """Have a code mailed."""
    return act(backend, request, "code", body)


def code_of(services: Services, sent: dict[str, Any]) -> dict[str, str]:
    """What is sent to verify with the code of the mail."""
    with transaction(services) as tx:
        code = written(accounts.find_account(tx, UUID(sent["account_id"])).key, UUID(sent["id"]))
    return {"method": "code", "code_id": sent["id"], "code": code}


def test_a_code_that_was_mailed_identifies_the_asker(
    backend: Backend, services: Services, account: str, person: str, owner_engine: Engine
) -> None:
    taken = ask(backend, account, "restriction", person_id=person, channel="letter")
    status, sent = send_code(backend, taken)
    assert (status, sent["person_id"], sent["request_id"], sent["mailed"]) == (200, person, taken["id"], True)
    right = code_of(services, sent)
    wrong_status, refused = act(backend, taken, "verify", {**right, "code": "AAAA-AAAA"})
    assert (wrong_status, refused["type"]) == (422, "/problems/wrong_code")
    status, done = act(backend, taken, "verify", right)
    assert (status, done["status"], done["outcome"]) == (200, "completed", "restricted")
    assert (done["identity"]["method"], done["identity"]["verified_by"]) == ("code", f"member:{person}")
    assert act(backend, taken, "verify", right)[0] == 409
    assert send_code(backend, taken)[0] == 409
    with owner_engine.connect() as connection:
        query = text("SELECT action, subject_id::text FROM audit_events WHERE action LIKE 'code.%' ORDER BY event_id")
        found = [tuple(row) for row in connection.execute(query)]
    assert found == [(f"code.{deed}", person) for deed in ("send", "reject", "use")]


def test_five_wrong_codes_count_though_each_is_refused_and_another_form_takes_the_code(
    backend: Backend, services: Services, account: str, person: str
) -> None:
    taken = ask(backend, account, "access", person_id=person, channel="mail")
    right = code_of(services, send_code(backend, taken)[1])
    key = {"headers": {"Idempotency-Key": '"once"'}}
    wrong = {**right, "code": "AAAA-AAAA"}
    assert act(backend, taken, "verify", wrong, **key) == act(backend, taken, "verify", wrong, **key), "one try"
    assert [act(backend, taken, "verify", wrong)[0] for _ in range(4)] == [422] * 4
    assert act(backend, taken, "verify", right)[0] == 422
    again = send_code(backend, taken)[1]
    assert (again["mailed"], again["id"] != right["code_id"]) == (False, True)
    assert act(backend, taken, "verify", {**right, "code_id": again["id"]})[0] == 200


def test_a_code_for_an_account_goes_to_the_owner_who_is_named(
    backend: Backend, services: Services, account: str, person: str
) -> None:
    owner = backend.post(f"/v1/accounts/{account}/people", {"username": "robin", "role": "owner"}).get_json()["id"]
    taken = ask(backend, account, "access", channel="letter")
    assert send_code(backend, taken, person_id=account)[0] == 404
    for named in ({}, {"person_id": person}):
        status, refused = send_code(backend, taken, **named)
        assert (status, refused["errors"][0]["pointer"]) == (422, "/person_id"), named
    status, sent = send_code(backend, taken, person_id=owner)
    assert (status, sent["person_id"]) == (200, owner)
    status, done = act(backend, taken, "verify", code_of(services, sent))
    assert (status, done["status"], done["identity"]["verified_by"]) == (200, "in_progress", f"owner:{owner}")


def test_a_code_for_one_persons_request_goes_to_nobody_else(
    backend: Backend, other_backend: Backend, account: str, person: str
) -> None:
    owner = backend.post(f"/v1/accounts/{account}/people", {"username": "robin", "role": "owner"}).get_json()["id"]
    taken = ask(backend, account, "access", person_id=person, channel="letter")
    assert send_code(backend, taken, person_id=owner)[0] == 422
    assert send_code(backend, taken, person_id=person)[0] == 200
    assert send_code(other_backend, taken)[0] == 404


def test_a_code_of_another_request_fits_not(backend: Backend, services: Services, account: str, person: str) -> None:
    first, second = (ask(backend, account, type_, person_id=person, channel="mail") for type_ in ("access", "erasure"))
    right = code_of(services, send_code(backend, first)[1])
    assert act(backend, second, "verify", right)[0] == 422
    form = send_code(backend, second)[1]
    assert act(backend, second, "verify", {**right, "code_id": form["id"]})[0] == 422
    assert backend.get(f"/v1/requests/{second['id']}").get_json()["status"] == "received"


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"method": "code"}, ["/code", "/code_id"]),
        ({"method": "code", "code": "AAAA-AAAA", "code_id": str(new_id()), "note": "x"}, ["/note"]),
        ({"method": "backend", "code": "AAAA-AAAA"}, ["/code"]),
        ({"method": "password"}, ["/method"]),
    ],
)
def test_nobody_is_identified_by_a_word_alone(backend: Backend, account: str, body: Any, pointers: list[str]) -> None:
    taken = ask(backend, account, "erasure", channel="mail")
    status, refused = act(backend, taken, "verify", body)
    assert (status, [error["pointer"] for error in refused["errors"]]) == (422, pointers)
    assert backend.get(f"/v1/requests/{taken['id']}").get_json()["status"] == "received"
    for method in ("password", "code"):
        ask(backend, account, "erasure", 422, identity={"method": method})


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
