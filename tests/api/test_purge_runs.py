"""Plans and their approval over HTTP."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from cloudpriv.bootstrap import Services
from tests.backend import Backend
from tests.purges import run
from tests.stack import TestDatabase, every_row

OLD = "2018-08-01T10:00:00Z"


def body(answer: TestResponse, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


@pytest.fixture
def boss(app: Flask, database: TestDatabase) -> Backend:
    """Another client of the same service, which approves."""
    return Backend(app, database, "talk2m", "retention:approve", "retention:read")


def stopped(backend: Backend, name: str = "acme") -> dict[str, Any]:
    """A purge that waits, in an installation without any traffic."""
    started = backend.post("/v1/purges", {"account_id": backend.open_account(name, created_at=OLD)})
    return body(backend.get(started.headers["Location"]))


def test_a_stopped_erasure_says_which_guard_and_by_which_figures(backend: Backend) -> None:
    purge = stopped(backend)
    assert purge["status"] == "waiting"
    shown = backend.get(f"/v1/purge-runs/{purge['run_id']}")
    assert {each["guard"]: each["figures"] for each in body(shown)["findings"]} == {
        "no_traffic": {"last_received_at": None, "hours": 48},
        "notice_pending": {"accounts": 1, "days": 7},
    }
    assert body(shown)["status"] == "waiting"
    assert body(shown)["planned_by"].startswith("client:")
    assert (body(shown)["open"], shown.headers["ETag"]) == (1, '"waiting-1"')


def test_another_client_approves_and_the_planner_may_not(
    backend: Backend, boss: Backend, worker_services: Services, owner_engine: Engine
) -> None:
    purge = stopped(backend)
    path = f"/v1/purges/{purge['id']}/approve"
    assert body(backend.post(path, {}), 409)["type"] == "/problems/second_person_needed"
    approved = boss.post(path, {}, headers={"Idempotency-Key": '"once"'})
    assert body(approved, 202) == {"purge_id": purge["id"]}
    run(worker_services, UUID(purge["id"]), worker_services.clock())
    done = body(boss.get(approved.headers["Location"]))
    assert (done["status"], done["step"], UUID(done["certificate_id"]).version) == ("done", "done", 7)
    assert body(boss.post(path, {}), 409)["type"] == "/problems/conflict"
    named = {name for name, rows in every_row(owner_engine).items() if any(purge["account_id"] in row for row in rows)}
    assert named == {"audit_events"}, "no answer that is kept names the erased"


def test_a_whole_run_is_approved_at_once(backend: Backend, boss: Backend) -> None:
    purge = stopped(backend)
    path = f"/v1/purge-runs/{purge['run_id']}/approve"
    assert body(backend.post(path, {}), 409)["type"] == "/problems/second_person_needed"
    approved = body(boss.post(path, {}))
    assert (approved["status"], approved["approved_by"] != approved["planned_by"]) == ("approved", True)
    assert body(backend.get(f"/v1/purges/{purge['id']}"))["status"] == "planned"
    assert body(boss.post(path, {}), 409)["type"] == "/problems/conflict"


def test_a_run_says_how_many_of_its_erasures_have_not_ended(
    backend: Backend, boss: Backend, worker_services: Services
) -> None:
    purge = stopped(backend)
    path = f"/v1/purge-runs/{purge['run_id']}"
    assert body(boss.post(f"{path}/approve", {}))["open"] == 1
    run(worker_services, UUID(purge["id"]), worker_services.clock())
    ended = backend.get(path)
    assert (body(ended)["accounts"], body(ended)["open"], ended.headers["ETag"]) == (1, 0, '"approved-0"')
    assert [each["open"] for each in body(backend.get("/v1/purge-runs"))["items"]] == [0]


def test_runs_are_listed_page_by_page(backend: Backend) -> None:
    planned = [stopped(backend, f"account-{number}")["run_id"] for number in range(3)]
    first = body(backend.get("/v1/purge-runs?limit=2"))
    rest = body(backend.get(f"/v1/purge-runs?limit=2&cursor={first['next_cursor']}"))
    assert [item["id"] for item in first["items"] + rest["items"]] == planned


def test_another_service_sees_and_approves_nothing(backend: Backend, other_backend: Backend) -> None:
    purge = stopped(backend)
    for path in (f"/v1/purges/{purge['id']}", f"/v1/purge-runs/{purge['run_id']}", f"/v1/purge-runs/{uuid4()}"):
        assert other_backend.get(path).status_code == 404
        assert other_backend.post(f"{path}/approve", {}).status_code == 404
    assert body(other_backend.get("/v1/purge-runs"))["items"] == []


def test_approving_demands_its_own_scope(app: Flask, database: TestDatabase, backend: Backend) -> None:
    purge = stopped(backend)
    writer = Backend(app, database, "talk2m", "retention:write", "retention:read")
    for path in (f"/v1/purges/{purge['id']}/approve", f"/v1/purge-runs/{purge['run_id']}/approve"):
        assert writer.post(path, {}).status_code == 403
