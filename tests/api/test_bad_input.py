"""Bad input: a problem that names the place, never a 500, nothing half written."""

from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.backend import Backend

BAD_BODIES: dict[str, tuple[bytes, int, str]] = {
    "no json": (b"{", 422, ""),
    "nothing": (b"", 422, ""),
    "not utf-8": (b'{"account_name": "\xff\xfe"}', 422, ""),
    "a list": (b"[]", 422, ""),
    "a number": (b"7", 422, ""),
    "null": (b"null", 422, ""),
    "unknown member": (b'{"account_name": "a", "colour": "red"}', 422, "/colour"),
    "unknown nested member": (b'{"account_name": "a", "customer": {"colour": "red"}}', 422, "/customer/colour"),
    "wrong type": (b'{"account_name": 7}', 422, "/account_name"),
    "null name": (b'{"account_name": null}', 422, "/account_name"),
    "missing": (b"{}", 422, "/account_name"),
    "blank": (b'{"account_name": "  "}', 422, "/account_name"),
    "too long": (b'{"account_name": "' + b"a" * 101 + b'"}', 422, "/account_name"),
    "nul": (b'{"account_name": "a\\u0000b"}', 422, "/account_name"),
    "lone surrogate": (b'{"account_name": "\\ud800"}', 422, "/account_name"),
    "twice": (b'{"account_name": "a", "account_name": "b"}', 422, "/account_name"),
    "naive time": (b'{"account_name": "a", "created_at": "2018-01-01T00:00:00"}', 422, "/created_at"),
    "no time": (b'{"account_name": "a", "created_at": "yesterday"}', 422, "/created_at"),
    "time of no year": (b'{"account_name": "a", "created_at": "0000-00-00T00:00:00Z"}', 422, "/created_at"),
    "time at the edge": (b'{"account_name": "a", "created_at": "0001-01-01T00:00:00+14:00"}', 422, "/created_at"),
    "future": (b'{"account_name": "a", "created_at": "2999-01-01T00:00:00Z"}', 422, "/created_at"),
    "nan": (b'{"account_name": NaN}', 422, ""),
    "infinite": (b'{"account_name": 1e999}', 422, ""),
    "huge number": (b'{"account_name": ' + b"9" * 5000 + b"}", 422, ""),
    "deep": (b'{"customer":' * 5000 + b"1" + b"}" * 5000, 422, ""),
    "deep list": (b"[" * 60_000, 422, ""),
    "huge": (b'{"account_name": "' + b"a" * 2_000_000 + b'"}', 413, ""),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_refused_and_nothing_written(backend: Backend, owner_engine: Engine, name: str) -> None:
    body, status, pointer = BAD_BODIES[name]
    answer = backend.send("POST", "/v1/accounts", data=body, content_type="application/json")
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    if pointer:
        assert pointer in [error["pointer"] for error in answer.get_json()["errors"]]
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM accounts")) == 0


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/xml"])
def test_a_body_of_another_type_is_refused(backend: Backend, content_type: str) -> None:
    answer = backend.send("POST", "/v1/accounts", data=b'{"account_name": "a"}', content_type=content_type)
    assert (answer.status_code, answer.get_json()["type"]) == (415, "/problems/unsupported_media_type")


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "limit=1&limit=2", "unknown=1"])
def test_a_bad_query_names_its_parameter(backend: Backend, query: str) -> None:
    answer = backend.get(f"/v1/accounts?{query}")
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["parameter"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/accounts/not-an-id", 404),
        ("/v1/accounts/00000000-0000-0000-0000-000000000000", 404),
        ("/v1/nothing", 404),
        ("/v1/accounts/%00", 404),
        ("/v1/accounts/../../etc/passwd", 404),
    ],
)
def test_what_is_not_there_is_a_problem_too(backend: Backend, path: str, status: int) -> None:
    answer = backend.get(path)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")


def test_a_wrong_method_says_which_are_right(backend: Backend) -> None:
    answer = backend.send("PUT", "/v1/accounts")
    assert answer.status_code == 405
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer a.b.c",
        "Basic eDp5",
        "Bearer " + "a" * 10_000,
        "Bearer \xff",
        "bearer é",
    ],
)
def test_a_missing_or_made_up_token_is_refused(backend: Backend, authorization: str | None) -> None:
    headers: dict[str, Any] = {} if authorization is None else {"Authorization": authorization}
    answer = backend.http.get("/v1/accounts", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_without_the_scope_is_forbidden(app: Any, database: Any) -> None:
    reader = Backend(app, database, "talk2m", "accounts:read")
    answer = reader.post("/v1/accounts", {"account_name": "a"})
    assert (answer.status_code, answer.get_json()["type"]) == (403, "/problems/insufficient_scope")
