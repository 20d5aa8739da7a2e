"""What is due, and erasures, over HTTP."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from cloudpriv.bootstrap import Services
from tests.backend import Backend
from tests.purges import clear_the_way, run
from tests.stack import TestDatabase, every_row

OLD = "2018-08-01T10:00:00Z"


def body(answer: TestResponse, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def plan(backend: Backend, account_id: str, status: int = 202, **options: Any) -> TestResponse:
    answer = backend.post("/v1/purges", {"account_id": account_id}, **options)
    assert answer.status_code == status, answer.text
    return answer


def test_the_due_accounts_of_the_service_are_listed_longest_idle_first(backend: Backend, other_backend: Backend) -> None:
    backend.open_account("fresh")
    younger = backend.open_account("younger", created_at="2018-09-01T00:00:00Z")
    older = backend.open_account("older", created_at=OLD)
    found = body(backend.get("/v1/retention/due"))
    assert found["next_cursor"] is None
    assert [item["account_id"] for item in found["items"]] == [older, younger]
    assert found["items"][0] == {
        "account_id": older,
        "service": "talk2m",
        "last_activity_at": OLD,
        "due_since": "2025-08-02T00:00:00Z",
    }
    assert body(other_backend.get("/v1/retention/due"))["items"] == []


def test_pages_of_due_accounts_follow_each_other(backend: Backend) -> None:
    opened = [backend.open_account(f"account-{day}", created_at=f"{year}-08-0{day}T00:00:00.000001Z")
              for year, day in ((1969, 1), (1970, 2), (2018, 3), (2018, 4), (2018, 5))]  # fmt: skip
    seen: list[str] = []
    path = "/v1/retention/due?limit=2"
    while path:
        answer = backend.get(path)
        seen += [item["account_id"] for item in body(answer)["items"]]
        path = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert seen == opened


def test_a_due_account_is_erased_and_its_purge_shows_how_far_it_is(
    backend: Backend, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = backend.open_account(created_at=OLD)
    clear_the_way(worker_services, owner_engine, worker_services.clock())
    location = plan(backend, account_id).headers["Location"]
    planned = backend.get(location)
    assert body(planned) | {"id": "", "planned_at": "", "run_id": ""} == {
        "id": "",
        "account_id": account_id,
        "service": "talk2m",
        "trigger": "policy",
        "rule": "P7Y after last_traffic",
        "policy_version": "2023-03-30",
        "status": "planned",
        "step": "keys",
        "counts": {},
        "attempts": 0,
        "planned_at": "",
        "run_id": "",
        "shredded_at": None,
        "finished_at": None,
        "certificate_id": None,
    }
    assert body(backend.get(f"/v1/accounts/{account_id}"))["status"] == "active"

    run(worker_services, UUID(body(planned)["id"]), worker_services.clock())
    done = backend.get(location)
    assert body(done)["status"] == body(done)["step"] == "done"
    assert body(done)["account_id"] is None
    assert body(done)["counts"] == {"accounts": 1, "account_keys": 1, "directory": 1, "notices": 1}
    assert done.headers["ETag"] != planned.headers["ETag"]
    assert datetime.fromisoformat(body(done)["finished_at"]).tzinfo is not None
    assert backend.get(f"/v1/accounts/{account_id}").status_code == 404
    assert body(backend.get("/v1/retention/due"))["items"] == []


def test_an_account_that_is_not_due_is_refused(backend: Backend) -> None:
    answer = plan(backend, backend.open_account(), 409)
    assert body(answer, 409)["type"] == "/problems/not_due"
    assert body(backend.get("/v1/purges"))["items"] == []


def test_what_belongs_to_another_service_is_not_there(backend: Backend, other_backend: Backend) -> None:
    account_id = backend.open_account(created_at=OLD)
    plan(other_backend, account_id, 404)
    location = plan(backend, account_id).headers["Location"]
    assert other_backend.get(location).status_code == 404
    assert body(other_backend.get("/v1/purges"))["items"] == []
    plan(backend, str(uuid4()), 404)
    assert backend.get(f"/v1/purges/{uuid4()}").status_code == 404


def test_a_second_order_finds_the_first(backend: Backend) -> None:
    account_id = backend.open_account(created_at=OLD)
    first, second = plan(backend, account_id), plan(backend, account_id)
    assert body(first, 202) == body(second, 202)
    assert len(body(backend.get("/v1/purges"))["items"]) == 1


def test_an_answer_kept_for_its_idempotency_key_does_not_name_the_erased(
    backend: Backend, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = backend.open_account(created_at=OLD)
    clear_the_way(worker_services, owner_engine, worker_services.clock())
    key = {"Idempotency-Key": '"once"'}
    started = plan(backend, account_id, headers=key)
    run(worker_services, UUID(body(started, 202)["purge_id"]), worker_services.clock())
    again = plan(backend, account_id, headers=key)
    assert body(again, 202) == body(started, 202)
    named = {name for name, rows in every_row(owner_engine).items() if any(account_id in row for row in rows)}
    assert named == {"audit_events"}


def test_closing_an_account_starts_its_erasure(backend: Backend, worker_services: Services) -> None:
    account_id = backend.open_account()
    path = f"/v1/accounts/{account_id}"
    assert backend.send("DELETE", path).status_code == 428
    assert backend.send("DELETE", path, etag='"7"').status_code == 412
    closed = backend.send("DELETE", path, etag='"1"')
    shown = body(backend.get(closed.headers["Location"]))
    assert (closed.status_code, shown["trigger"], shown["rule"]) == (202, "request", "GDPR Article 17")
    assert body(backend.get(path))["status"] == "closing"
    assert (
        body(backend.send("PATCH", path, {"account_name": "other"}, etag='"2"'), 409)["type"] == "/problems/account_closing"
    )
    assert plan(backend, account_id).get_json()["purge_id"] == shown["id"]
    run(worker_services, UUID(shown["id"]), worker_services.clock())
    assert backend.get(path).status_code == 404


def test_pages_of_purges_follow_each_other(backend: Backend) -> None:
    ordered = [body(plan(backend, backend.open_account(f"account-{number}", created_at=OLD)), 202) for number in range(5)]
    first = body(backend.get("/v1/purges?limit=3"))
    rest = body(backend.get(f"/v1/purges?limit=3&cursor={first['next_cursor']}"))
    assert [item["id"] for item in first["items"] + rest["items"]] == [each["purge_id"] for each in ordered]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    "wrong", [{}, {"account_id": "x"}, {"account_id": None}, {"account_id": str(uuid4()), "force": True}]
)
def test_a_wrong_order_is_refused_by_its_place(backend: Backend, wrong: dict[str, Any]) -> None:
    answer = body(backend.post("/v1/purges", wrong), 422)
    assert answer["errors"][0]["pointer"] in ("/account_id", "/force")


def test_each_route_demands_its_scope(app: Flask, database: TestDatabase) -> None:
    reader, stranger = Backend(app, database, "talk2m", "retention:read"), Backend(app, database, "talk2m", "traffic:read")
    plan(reader, str(uuid4()), 403)
    for path in ("/v1/retention/due", "/v1/purges", f"/v1/purges/{uuid4()}"):
        assert stranger.get(path).status_code == 403
        assert reader.get(path).status_code in (200, 404)


def test_reading_leaves_a_trail_for_each_account(backend: Backend, owner_engine: Engine) -> None:
    account_id = backend.open_account(created_at=OLD)
    backend.get("/v1/retention/due")
    backend.get(plan(backend, account_id).headers["Location"])
    trail = [row for row in every_row(owner_engine)["audit_events"] if account_id in row]
    for action in ("retention.read", "purge.plan", "purge.read"):
        assert sum(action in row for row in trail) == 1
