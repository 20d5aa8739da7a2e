"""Readiness: an installation that must not serve is taken out of service."""

from dataclasses import replace
from datetime import datetime, timedelta

from flask import Flask

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.app import READINESS
from cloudpriv.bootstrap import Services
from cloudpriv.retention import ledger
from cloudpriv.retention.ledger import Entry
from cloudpriv.retention.restored import Watch
from tests.backend import Backend
from tests.factories import NOW


def test_what_answers_is_ready(backend: Backend) -> None:
    answer = backend.http.get("/readyz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok", "redis": "ok"})


def test_a_database_that_is_restored_beneath_the_api_is_not_ready(app: Flask, services: Services, backend: Backend) -> None:
    now = [NOW]

    def clock() -> datetime:
        return now[0]

    runtime = app.extensions[EXTENSION]
    app.extensions[EXTENSION] = replace(runtime, services=replace(services, clock=clock), watch=Watch(READINESS))
    assert backend.http.get("/readyz").status_code == 200
    ledger.store(services.ledger, Entry(bytes(32), "talk2m", "request", "r", "v", {}, NOW))
    now[0] += timedelta(seconds=29)
    assert backend.http.get("/readyz").status_code == 200, "a look is not for every probe"
    now[0] += timedelta(seconds=1)
    refused = backend.http.get("/readyz")
    assert (refused.status_code, refused.content_type) == (503, "application/problem+json")
    assert refused.json == {
        "type": "/problems/restored",
        "title": "Restored",
        "status": 503,
        "detail": "the database is older than the erasure ledger: run `cloudpriv purge replay`",
    }
    assert backend.http.get("/healthz").status_code == 200
