"""Metrics: what waits to be erased, from the database, whichever process answers."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, create_engine, text

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.bootstrap import Services
from cloudpriv.retention import due
from tests.backend import Backend
from tests.exports import fail_exports
from tests.factories import NOW, make_account, transaction
from tests.proofs import advance, change
from tests.purges import LONG_AGO, close
from tests.requests import receive


def id_of(moment: datetime) -> UUID:
    """An id that was made at a moment (UUIDv7)."""
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | 7 << 76 | 2 << 62)


def figures(http: Backend, *about: str) -> dict[str, float]:
    """Every figure of the purge, or about something else, with its status if it has one."""
    answer = http.http.get("/metrics")
    assert answer.status_code == 200
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    return {
        "_".join([sample.name.removeprefix("cloudpriv_"), *sample.labels.values()]): sample.value
        for sample in samples
        if any(word in sample.name for word in about or ("purge", "due"))
    }


@pytest.fixture
def today(app: Flask, services: Services, backend: Backend) -> Backend:
    """A backend of an API whose clock stands still."""
    runtime = app.extensions[EXTENSION]
    app.extensions[EXTENSION] = replace(runtime, services=replace(services, clock=lambda: NOW))
    return backend


def test_an_installation_with_nothing_to_erase_has_every_figure_at_zero(today: Backend) -> None:
    assert figures(today) == {
        "accounts_due": 0,
        "oldest_due_seconds": 0,
        "oldest_open_purge_seconds": 0,
        "purges_open_planned": 0,
        "purges_open_running": 0,
        "purges_open_waiting": 0,
        "purges_retried": 0,
        "purges_ended_last_day_cancelled": 0,
        "purges_ended_last_day_done": 0,
        "requests_nearly_due": 0,
        "requests_overdue": 0,
    }
    assert figures(today, "stuck", "untold") == {"requests_stuck": 0, "restrictions_untold": 0}


def test_the_figures_tell_what_is_due_open_retried_and_ended(
    services: Services, today: Backend, owner_engine: Engine
) -> None:
    for created_at in (LONG_AGO, LONG_AGO + timedelta(days=30)):
        make_account(services, created_at=created_at)
    purges = [close(services, make_account(services).row.account_id) for _ in range(4)]
    with owner_engine.begin() as connection:
        update = text(
            "UPDATE purges SET status = :status, attempts = :n, planned_at = :at, finished_at = :end WHERE purge_id = :id"
        )
        begun, ended = NOW - timedelta(hours=1), NOW - timedelta(hours=23)
        for purge_id, status, attempts, end in zip(
            purges,
            ("planned", "running", "done", "cancelled"),
            (0, 2, 3, 1),
            (None, None, ended, ended - timedelta(hours=1)),
            strict=True,
        ):
            connection.execute(update, {"status": status, "n": attempts, "at": begun, "end": end, "id": purge_id})
    found = figures(today)
    with transaction(services) as tx:
        number, since = due.backlog(tx, services.policy)
    assert since is not None
    assert (number, since) == (2, services.policy.rule_for("cloud_services").erasable_from(LONG_AGO))
    assert (found["accounts_due"], found["oldest_due_seconds"]) == (2, (NOW - since).total_seconds())
    assert found["oldest_open_purge_seconds"] == 3600
    assert (found["purges_open_planned"], found["purges_open_running"], found["purges_retried"]) == (1, 1, 1)
    assert (found["purges_ended_last_day_done"], found["purges_ended_last_day_cancelled"]) == (1, 0)


def test_requests_that_wait_are_counted_by_type_and_status(services: Services, today: Backend, owner_engine: Engine) -> None:
    receive(services, make_account(services).row.account_id, "objection")
    receive(services, make_account(services).row.account_id, "erasure", identity=None, received_at=NOW - timedelta(days=25))
    receive(services, make_account(services).row.account_id, received_at=NOW - timedelta(days=40))
    fail_exports(owner_engine)
    found = figures(today, "requests_open", "requests_overdue", "requests_nearly_due", "requests_stuck")
    assert {name: value for name, value in found.items() if value} == {
        "requests_open_identity_verified_objection": 1,
        "requests_open_received_erasure": 1,
        "requests_open_in_progress_access": 1,
        "requests_nearly_due": 1,
        "requests_overdue": 1,
        "requests_stuck": 1,
    }


def test_a_log_that_stands_still_is_seen(
    services: Services, today: Backend, worker_services: Services, owner_engine: Engine
) -> None:
    def log_figures() -> tuple[float, float]:
        found = figures(today, "log_")
        return found["log_pending"], found["log_oldest_pending_seconds"]

    advance(worker_services)
    assert log_figures() == (0, 0)
    eldest, other = (id_of(NOW - timedelta(minutes=minutes)) for minutes in (10, 5))
    with transaction(services) as tx:
        for entry in (eldest, other):
            tx.connection.execute(text("INSERT INTO log_pending VALUES (:id)"), {"id": entry})
    assert log_figures() == (2, 600)
    # As where a worker appends and cannot publish, since the bucket is away or holds another tree.
    change(owner_engine, "DELETE FROM checkpoints")
    change(owner_engine, "UPDATE log_tiles SET entries[1] = :id", id=id_of(NOW - timedelta(hours=1)))
    with transaction(services) as tx:
        size = tx.connection.scalar(text("SELECT size FROM logs"))
    assert size >= 1
    assert log_figures() == (2 + size, 3600)


def test_without_a_database_the_process_still_tells_of_itself(app: Flask, services: Services, backend: Backend) -> None:
    nowhere = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    away = replace(services, controller=replace(services.controller, engine=nowhere))
    app.extensions[EXTENSION] = replace(app.extensions[EXTENSION], services=away)
    assert figures(backend) == {}
    assert "cloudpriv_requests_total" in backend.http.get("/metrics").text
    nowhere.dispose()
