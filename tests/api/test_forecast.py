"""The forecast over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, text

from tests.backend import Backend
from tests.stack import TestDatabase

OLD = "2018-08-01T10:00:00Z"
PATH = "/v1/retention/forecast"


def body(backend: Backend, query: str = "") -> dict[str, Any]:
    answer = backend.get(PATH + query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def test_what_falls_due_is_told_by_month_from_the_present_one_on(backend: Backend) -> None:
    backend.open_account(created_at=OLD)
    found = body(backend, "?months=2")
    counted_at = datetime.fromisoformat(found["counted_at"])
    assert (found["rule"], len(found["items"])) == ("P7Y after last_traffic", 2)
    assert found["items"][0] == {
        "service": "talk2m",
        "month": f"{counted_at:%Y-%m}",
        "accounts": 1,
        "records": 0,
        "held_accounts": 0,
        "held_records": 0,
    }
    assert found["items"][1]["accounts"] == 0
    assert len(body(backend)["items"]) in (85, 86)


def test_a_client_sees_its_own_service_only(backend: Backend, other_backend: Backend) -> None:
    backend.open_account(created_at=OLD)
    for query in ("", "?service=intesis"):
        items = body(other_backend, query)["items"]
        assert {item["service"] for item in items} == {"intesis"}
        assert not any(item["accounts"] for item in items)
    assert body(other_backend, "?service=talk2m")["items"] == []


def test_what_was_counted_stands_for_a_day(backend: Backend, owner_engine: Engine) -> None:
    first = body(backend)
    backend.open_account(created_at=OLD)
    assert body(backend) == first
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE forecast_months SET counted_at = counted_at - :day"), {"day": timedelta(days=1)})
    again = body(backend)
    assert datetime.fromisoformat(again["counted_at"]) > datetime.fromisoformat(first["counted_at"])
    assert sum(item["accounts"] for item in again["items"]) == 1
    assert datetime.fromisoformat(again["counted_at"]) <= datetime.now(UTC)


@pytest.mark.parametrize("query", ["months=0", "months=1201", "months=1_0", "months=", "service=", "service=x", "month=3"])
def test_a_wrong_query_is_refused_by_its_parameter(backend: Backend, query: str) -> None:
    answer = backend.get(f"{PATH}?{query}")
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["parameter"] == query.partition("=")[0]


def test_it_demands_its_scope(app: Flask, database: TestDatabase) -> None:
    assert Backend(app, database, "talk2m", "traffic:read").get(PATH).status_code == 403
    assert Backend(app, database, "talk2m", "retention:read").get(PATH).status_code == 200
