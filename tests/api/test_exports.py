"""Requests for a copy of the data, and its archive, over HTTP."""

from datetime import timedelta
from hashlib import sha256
from uuid import UUID

from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform.clock import utc_now
from tests.backend import Backend
from tests.exports import begin_purge, run


def ask(backend: Backend, account: str) -> dict[str, str]:
    answer = backend.post(f"/v1/accounts/{account}/requests", {"type": "access"})
    assert answer.status_code == 201, answer.text
    found: dict[str, str] = answer.get_json()
    return found


def test_a_request_is_taken_and_read_back(backend: Backend) -> None:
    account = backend.open_account()
    taken = backend.post(f"/v1/accounts/{account}/requests", {"type": "portability"})
    request = taken.get_json()
    assert (taken.status_code, taken.headers["ETag"]) == (201, '"1"')
    read = backend.get(taken.headers["Location"])
    assert (read.status_code, read.get_json(), read.headers["ETag"]) == (200, request, '"1"')
    assert (request["account_id"], request["type"], request["status"]) == (account, "portability", "in_progress")
    assert request["completed_at"] is None
    listed = backend.get(f"/v1/accounts/{account}/requests").get_json()
    assert listed == {"items": [request], "next_cursor": None}
    export = backend.get(f"/v1/exports/{request['export_id']}").get_json()
    assert export | {"created_at": ""} == {
        "id": request["export_id"], "account_id": account, "request_id": request["id"], "status": "pending",
        "progress": 0, "size": None, "sha256": None, "failure": None, "created_at": "", "ready_at": None, "expires_at": None,
    }  # fmt: skip


def test_a_ready_archive_is_downloaded_whole(backend: Backend, worker_services: Services) -> None:
    request = ask(backend, backend.open_account())
    path = f"/v1/exports/{request['export_id']}"
    early = backend.get(f"{path}/archive")
    assert (early.status_code, early.get_json()["type"]) == (409, "/problems/not_ready")
    run(worker_services, UUID(request["export_id"]), utc_now())
    export = backend.get(path).get_json()
    answer = backend.get(f"{path}/archive")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{export["id"]}.zip"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert (len(answer.data), sha256(answer.data).hexdigest()) == (export["size"], export["sha256"])
    assert backend.get(f"/v1/requests/{request['id']}").get_json()["status"] == "completed"


def test_an_archive_is_gone_after_its_time(backend: Backend, worker_services: Services) -> None:
    request = ask(backend, backend.open_account())
    run(worker_services, UUID(request["export_id"]), utc_now() - timedelta(days=9))
    answer = backend.get(f"/v1/exports/{request['export_id']}/archive")
    assert (answer.status_code, answer.get_json()["type"]) == (410, "/problems/gone")


def test_an_archive_is_gone_once_its_account_is_purged(
    backend: Backend, worker_services: Services, owner_engine: Engine
) -> None:
    account = backend.open_account()
    request = ask(backend, account)
    run(worker_services, UUID(request["export_id"]), utc_now())
    begin_purge(owner_engine, UUID(account))
    assert backend.get(f"/v1/exports/{request['export_id']}/archive").status_code == 410


def test_an_archive_that_could_not_be_made_says_so(backend: Backend, owner_engine: Engine) -> None:
    request = ask(backend, backend.open_account())
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE exports SET status = 'failed', failure = 'internal'"))
    assert backend.get(f"/v1/exports/{request['export_id']}").get_json()["failure"] == "internal"
    assert backend.get(f"/v1/exports/{request['export_id']}/archive").status_code == 409


def test_another_services_requests_and_archives_are_not_there(
    backend: Backend, other_backend: Backend, worker_services: Services
) -> None:
    account = backend.open_account()
    request = ask(backend, account)
    run(worker_services, UUID(request["export_id"]), utc_now())
    export = f"/v1/exports/{request['export_id']}"
    for path in (f"/v1/accounts/{account}/requests", f"/v1/requests/{request['id']}", export, f"{export}/archive"):
        assert backend.get(path).status_code == 200, path
        assert other_backend.get(path).status_code == 404, path
    assert other_backend.post(f"/v1/accounts/{account}/requests", {"type": "access"}).status_code == 404


def test_the_same_request_sent_twice_makes_one_export(backend: Backend, owner_engine: Engine) -> None:
    path, key = f"/v1/accounts/{backend.open_account()}/requests", {"Idempotency-Key": '"once"'}
    first, second = (backend.post(path, {"type": "access"}, headers=key) for _ in range(2))
    assert first.get_json() == second.get_json()
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM exports")) == 1


def test_requests_are_listed_page_by_page(backend: Backend) -> None:
    account = backend.open_account()
    taken = [ask(backend, account)["id"] for _ in range(3)]
    first = backend.get(f"/v1/accounts/{account}/requests?limit=2").get_json()
    rest = backend.get(f"/v1/accounts/{account}/requests?limit=2&cursor={first['next_cursor']}").get_json()
    assert [item["id"] for item in (*first["items"], *rest["items"])] == taken
    assert rest["next_cursor"] is None


def test_a_request_of_no_known_type_is_refused(backend: Backend) -> None:
    path = f"/v1/accounts/{backend.open_account()}/requests"
    for body in ({"type": "everything"}, {}, {"type": "access", "who": "me"}, {"type": None}):
        answer = backend.post(path, body)
        assert (answer.status_code, answer.get_json()["type"]) == (422, "/problems/invalid"), body
    assert backend.get(path).get_json()["items"] == []


def test_a_request_is_taken_until_the_erasure_begins(backend: Backend) -> None:
    account = backend.open_account()
    assert backend.send("DELETE", f"/v1/accounts/{account}", etag='"1"').status_code == 202
    answer = backend.post(f"/v1/accounts/{account}/requests", {"type": "access"})
    assert (answer.status_code, answer.get_json()["status"]) == (201, "in_progress")
