"""Restriction at every route: whatever a backend does with a restricted account answers 423, but for what is listed here.

Routes are those of openapi.yaml and requests those of tests/authorization.py: a new one is tried without a word here.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from flask import Flask
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from tests.authorization import BODIES, QUERIES
from tests.backend import Backend

METHODS: Final = ("get", "post", "put", "patch", "delete")
DOCUMENT: Final = yaml.safe_load((Path(__file__).parents[2] / "openapi.yaml").read_text())
NOBODYS: Final = "00000000-0000-7000-8000-00000000000f"
PASSWORD: Final = "four words make one"
RESTRICT: Final = {
    "account": "UPDATE accounts SET status = 'restricted' WHERE account_id = :account_id",
    "person": "UPDATE people SET restricted_at = now() WHERE person_id = :person_id",
}
# Of what names the account, by operation: what is answered instead, and why that is no use of it (GDPR Article 18(2)).
DONE: Final = frozenset(
    {200, 201, 202, 204, 404, 409, 412, 422}
)  # 404: of what this account has none; 422: of no sense here
OF_RIGHTS: Final = (
    *("send_request_code", "verify_request", "decide_request", "extend_request", "withdraw_request", "restart_request"),
    *("replace_owner", "list_replacements", "read_replacement", "stop_replacement"),
    *("restrict_account", "lift_account", "restrict_person", "lift_person"),
    *("read_account_restriction", "read_person_restriction"),
)
OF_RECIPIENTS: Final = (
    *("record_disclosure", "list_disclosures", "read_disclosure", "list_recipient_notices", "note_told", "note_impossible"),
)
ALLOWED: Final[dict[str, tuple[frozenset[int], str]]] = {
    **dict.fromkeys(OF_RIGHTS, (DONE, "rights of its holder, and staff's work on them")),
    **dict.fromkeys(OF_RECIPIENTS, (DONE, "who was given data, and is to be told of the restriction (Article 19)")),
    "receive_request": (frozenset({201}), "a right of its holder"),
    "list_requests": (frozenset({200}), "a right of its holder"),
    "read_request": (frozenset({200}), "a right of its holder"),
    "read_export": (frozenset({200}), "an export"),
    "download_archive": (frozenset({200, 409}), "an export, here not ready"),
    "place_hold": (frozenset({201}), "legal claims"),
    "list_holds": (frozenset({200}), "legal claims"),
    "read_hold": (frozenset({200}), "legal claims"),
    "release_hold": (frozenset({200, 204, 412}), "legal claims"),
    "list_events": (frozenset({200}), "the proof of what was done with it"),
    "read_purge": (frozenset({200}), "how far an erasure is: ids and counts"),
    "read_run": (frozenset({200}), "how far erasures are: ids and counts"),
    "approve_purge": (frozenset({409}), "nothing restricted waits to be erased"),
    "approve_run": (frozenset({409}), "nothing restricted waits to be erased"),
    "plan_purge": (frozenset({409}), "nothing restricted is due"),
    "ingest": (frozenset({200}), "each record is rejected by itself, with the code account_restricted"),
    "send_hint": (frozenset({202}), "as to anybody, so that nothing is learned; no mail is sent"),
}
# Of a restricted person, in an account that goes on: what is not refused, and why. What names the account only is not tried.
ALLOWED_OF_PERSON: Final[dict[str, tuple[frozenset[int], str]]] = {
    name: ALLOWED[name] for name in ("send_hint", "receive_request", *OF_RIGHTS, *OF_RECIPIENTS)
}
OF_PERSON: Final = ("person_id", "username", "password")


class Operation:
    """An operation of the controller plane, and requests of it."""

    def __init__(self, path: str, method: str, spec: dict[str, Any]) -> None:
        self.path, self.method, self.name = path, method.upper(), spec["operationId"]

    def send(self, backend: Backend, ids: dict[str, str]) -> TestResponse:
        """The request about what `ids` name."""
        body = BODIES[self.name](ids) if self.name in BODIES else None
        query = QUERIES[self.name](ids) if self.name in QUERIES else None
        return backend.send(self.method, self.path.format(**ids), body, etag='"1"', query_string=query)

    def names(self, ids: dict[str, str], *changed: str) -> bool:
        """Whether the request would be another if those members of `ids` were."""
        other = {**ids, **dict.fromkeys(changed, "00000000-0000-7000-8000-000000000000")}
        makers = [table[self.name] for table in (BODIES, QUERIES) if self.name in table]
        return self.path.format(**ids) != self.path.format(**other) or any(make(ids) != make(other) for make in makers)


def operations() -> Iterator[Operation]:
    """Every operation of the controller plane that demands something of who calls."""
    for path, item in DOCUMENT["paths"].items():
        for method, spec in item.items():
            # Below /v1/me holders act themselves.
            if method in METHODS and spec["x-plane"] == "controller" and not path.startswith("/v1/me"):
                operation = Operation(path, method, spec)
                if operation.name not in NOT_OF_ACCOUNTS:
                    yield operation


# What names no account, by the ids that tests know; what is signed in by the password is tried by itself below.
NOT_OF_ACCOUNTS: Final = frozenset({"issue_token", "read_certificate", "read_key", "read_checkpoint"})
OPERATIONS: Final = list(operations())


@pytest.fixture
def ids(backend: Backend, owner_engine: Engine) -> dict[str, str]:
    """An account with one of everything, by the names that paths and bodies have for it."""
    account = backend.open_account("restricted-one")
    base = f"/v1/accounts/{account}"
    request = backend.post(f"{base}/requests", {"type": "access"}).get_json()
    due = backend.open_account("due", created_at="2018-08-01T10:00:00Z")
    planned = backend.get(backend.post("/v1/purges", {"account_id": due}).headers["Location"]).get_json()
    person = backend.post(f"{base}/people", {"username": "kim"}).get_json()["id"]
    backend.send("PUT", f"{base}/people/{person}/credentials", {"password": PASSWORD, "hint": "as in the song"})
    return {
        "service": "talk2m",
        "account_id": account,
        "due_account_id": account,
        "account_name": "restricted-one",
        "username": "kim",
        "password": PASSWORD,
        "number": "17",
        "person_id": person,
        "device_id": backend.post(f"{base}/devices", {"serial": "1"}).get_json()["id"],
        "hold_id": backend.post(f"{base}/holds", BODIES["place_hold"]({})).get_json()["id"],
        "request_id": request["id"],
        "export_id": request["export_id"],
        **dict.fromkeys(("disclosure_id", "notice_id", "replacement_id", "member_id"), NOBODYS),
        "purge_id": planned["id"],
        "run_id": planned["run_id"],
    }


def restrict(owner: Engine, what: str, ids: dict[str, str]) -> None:
    with owner.begin() as connection:
        connection.execute(text(RESTRICT[what]), ids)


def test_every_use_of_a_restricted_account_answers_423_but_for_what_is_allowed(
    app: Flask, backend: Backend, owner_engine: Engine, ids: dict[str, str]
) -> None:
    tried, wrong = set(), []
    for operation in OPERATIONS:
        restrict(owner_engine, "account", ids)  # again, since one of them lifts it
        if not operation.names(ids, *(ids.keys() - {"number", "service"})):
            continue
        tried.add(operation.name)
        answer = operation.send(backend, ids)
        allowed = ALLOWED[operation.name][0] if operation.name in ALLOWED else {423}
        if answer.status_code not in allowed:
            wrong.append((operation.name, answer.status_code, answer.text[:200]))
        elif answer.status_code == 423:
            assert answer.get_json()["type"] == "/problems/account_restricted", operation.name
    assert not wrong
    assert ALLOWED.keys() & {operation.name for operation in OPERATIONS} <= tried, "what is allowed names the account"
    assert {"read_account", "look_up_account", "read_person", "list_devices", "summarise", "verify", "sign_in"} <= tried


def test_every_use_of_a_restricted_person_answers_423_while_the_account_goes_on(
    app: Flask, backend: Backend, owner_engine: Engine, ids: dict[str, str]
) -> None:
    tried, wrong = set(), []
    for operation in OPERATIONS:
        restrict(owner_engine, "person", ids)
        if operation.names(ids, *OF_PERSON):
            tried.add(operation.name)
            answer = operation.send(backend, ids)
            allowed = ALLOWED_OF_PERSON[operation.name][0] if operation.name in ALLOWED_OF_PERSON else {423}
            if answer.status_code not in allowed:
                wrong.append((operation.name, answer.status_code, answer.text[:200]))
    assert not wrong
    assert {"read_person", "change_person", "remove_person", "set_credentials", "verify", "sign_in"} <= tried
    assert backend.get(f"/v1/accounts/{ids['account_id']}").status_code == 200
    assert backend.get(f"/v1/accounts/{ids['account_id']}/devices/{ids['device_id']}").status_code == 200


def test_lists_leave_out_what_is_restricted(app: Flask, backend: Backend, owner_engine: Engine, ids: dict[str, str]) -> None:
    base = f"/v1/accounts/{ids['account_id']}"
    record = BODIES["ingest"](ids)[0] | {"username": "kim"}
    assert backend.post("/v1/traffic", [record]).get_json()["accepted"] == 1
    assert backend.get(f"{base}/traffic").get_json()["items"][0]["person_id"] == ids["person_id"]
    restrict(owner_engine, "person", ids)
    assert backend.get(f"{base}/people").get_json()["items"] == []
    assert backend.get(f"{base}/traffic").get_json()["items"][0]["person_id"] is None
    restrict(owner_engine, "account", ids)
    assert ids["account_id"] not in backend.get("/v1/accounts").text


def test_new_traffic_of_a_restricted_person_names_nobody(
    app: Flask, backend: Backend, owner_engine: Engine, ids: dict[str, str]
) -> None:
    restrict(owner_engine, "person", ids)
    record = BODIES["ingest"](ids)[0] | {"username": "kim"}
    assert backend.post("/v1/traffic", [record]).get_json() == {"accepted": 1, "merged": 0, "rejected": []}
    with owner_engine.connect() as connection:
        assert connection.execute(text("SELECT person_id FROM traffic")).all() == [(None,)]


def test_a_wrong_password_tells_nothing_of_a_restriction(
    app: Flask, backend: Backend, owner_engine: Engine, ids: dict[str, str]
) -> None:
    restrict(owner_engine, "account", ids)
    wrong = BODIES["verify"](ids) | {"password": "three words only"}
    assert backend.post("/v1/credentials/verify", wrong).status_code == 401
    assert backend.post("/v1/session", {"service": "talk2m", **wrong}).status_code == 401


def test_a_kept_answer_about_a_restricted_account_is_not_given_again(
    app: Flask, backend: Backend, owner_engine: Engine
) -> None:
    account = backend.open_account()
    again = {"headers": {"Idempotency-Key": '"one"'}}
    assert backend.post(f"/v1/accounts/{account}/people", {"username": "sam"}, **again).status_code == 201
    restrict(owner_engine, "account", {"account_id": account})
    again = {"headers": {"Idempotency-Key": '"one"'}}
    assert backend.post(f"/v1/accounts/{account}/people", {"username": "sam"}, **again).status_code == 423


def test_a_refused_read_is_no_read_in_the_trail(
    app: Flask, backend: Backend, owner_engine: Engine, ids: dict[str, str]
) -> None:
    restrict(owner_engine, "account", ids)
    count = text("SELECT count(*) FROM audit_events WHERE action = 'account.read'")
    with owner_engine.connect() as connection:
        before = connection.scalar(count)
        assert backend.get(f"/v1/accounts/{ids['account_id']}").status_code == 423
        assert connection.scalar(count) == before
