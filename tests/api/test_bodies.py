"""Bodies and queries are taken as they were sent, whole, or not at all."""

import gzip
import time
from io import BytesIO
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.backend import Backend

ROUTES = {"/v1/accounts": b'{"account_name": "acme"}', "/v1/traffic": b"[]"}
LIMITS = {"/v1/accounts": 64 * 1024, "/v1/traffic": 8 * 1024 * 1024}
JSON = "application/json"


def send(backend: Backend, path: str, body: bytes, **options: Any) -> tuple[int, str]:
    """Status and kind of problem of a POST."""
    answer = backend.send("POST", path, data=body, content_type=options.pop("content_type", JSON), **options)
    return answer.status_code, (answer.get_json() or {}).get("type", "")


def chunked(backend: Backend, path: str, body: bytes, content_type: str = JSON) -> tuple[int, str]:
    """The same of a body without Content-Length, as servers hand chunked ones on."""
    terminated = {"wsgi.input_terminated": True}
    answer = backend.send("POST", path, input_stream=BytesIO(body), content_type=content_type, environ_overrides=terminated)
    return answer.status_code, (answer.get_json() or {}).get("type", "")


@pytest.mark.parametrize("path", ROUTES)
def test_a_chunked_body_is_taken(backend: Backend, path: str) -> None:
    assert chunked(backend, path, ROUTES[path])[0] in (200, 201)


@pytest.mark.parametrize("path", ROUTES)
def test_a_chunked_body_over_the_limit_is_refused_and_not_cut_off(backend: Backend, path: str) -> None:
    body = ROUTES[path] + b" " * LIMITS[path]
    assert chunked(backend, path, body) == (413, "/problems/too_large")
    assert send(backend, path, body) == (413, "/problems/too_large")


def test_lines_over_the_limit_are_refused_and_not_cut_off(backend: Backend, owner_engine: Engine) -> None:
    line = b'{"account": "a"}' + b" " * 2000 + b"\n"
    lines = line * (LIMITS["/v1/traffic"] // len(line) + 1)
    assert chunked(backend, "/v1/traffic", lines, "application/x-ndjson")[0] == 413
    assert send(backend, "/v1/traffic", lines, content_type="application/x-ndjson")[0] == 413
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM traffic")) == 0


@pytest.mark.parametrize("path", ROUTES)
def test_a_body_that_ends_before_its_length_is_refused(backend: Backend, path: str) -> None:
    announced = {"CONTENT_LENGTH": "500", "wsgi.input_terminated": True}
    answer = backend.send("POST", path, input_stream=BytesIO(ROUTES[path]), content_type=JSON, environ_overrides=announced)
    assert (answer.status_code, answer.get_json()["type"]) == (422, "/problems/unreadable")


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "x"])
def test_an_encoded_body_is_refused(backend: Backend, path: str, encoding: str) -> None:
    for body in (ROUTES[path], gzip.compress(ROUTES[path])):
        headers = {"Content-Encoding": encoding}
        assert send(backend, path, body, headers=headers) == (415, "/problems/unsupported_media_type")
    assert send(backend, path, ROUTES[path], headers={"Content-Encoding": "identity"})[0] in (200, 201)


@pytest.mark.parametrize("content_type", [f"{JSON}; charset=latin-1", "application/vnd.x+json", "text/json", "json", "*/*"])
def test_json_is_utf_8_and_says_so(backend: Backend, content_type: str) -> None:
    body = b'{"account_name": "acme"}'
    assert send(backend, "/v1/accounts", body, content_type=content_type) == (415, "/problems/unsupported_media_type")
    assert send(backend, "/v1/accounts", body, content_type=f"{JSON};charset=UTF-8")[0] == 201


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=%ff", "limit"),
        ("cursor=%ed%a0%80", "cursor"),
        ("%fe=1", r"%fe"),
        ("limit=1_0", "limit"),
        ("limit=%201", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=1.0", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("cursor=%00", "cursor"),
        ("cursor=%0d%0aSet-Cookie:a=b", "cursor"),
        ("cursor=" + "A" * 43, "cursor"),
        ("cursor=" + "A" * 101, "cursor"),
    ],
)
def test_a_query_that_is_not_what_it_should_be_names_its_parameter(backend: Backend, query: str, parameter: str) -> None:
    answer = backend.get(f"/v1/accounts?{query}")
    assert (answer.status_code, answer.get_json()["errors"][0]["parameter"]) == (422, parameter)
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "created_at",
    [
        "2018-01-01T00:00Z", "2018-01-01 00:00:00Z", "20180101T000000Z", "2018-W01-1T00:00:00Z", "2018-01-01T00:00:00+01",
        "2018-01-01T24:00:00Z", "2018-02-29T00:00:00Z", "2018-01-01T00:00:00Z\n", "٢018-01-01T00:00:00Z",
        "2018-01-01T00:00:00,5Z", "2018-01-01T00:00:00+25:00", "2018-01-01T00:00:00.1234567891Z",
    ],
)  # fmt: skip
def test_a_time_is_of_rfc_3339_or_refused(backend: Backend, created_at: str) -> None:
    answer = backend.post("/v1/accounts", {"account_name": "acme", "created_at": created_at})
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, "/created_at")


@pytest.mark.parametrize(
    "created_at", ["2018-01-01t00:00:00z", "2018-01-01T01:00:00.000000001+01:00", "2017-12-31T14:00:00-10:00"]
)
def test_a_time_is_the_same_however_it_is_written(backend: Backend, created_at: str) -> None:
    answer = backend.post("/v1/accounts", {"account_name": "acme", "created_at": created_at})
    assert answer.get_json()["created_at"] == "2018-01-01T00:00:00Z"


@pytest.mark.parametrize("name", ["acme\n", "\x1cacme", "acme\x85", "\ufeffacme", "\u2003acme", "\n"])
def test_blanks_of_any_kind_are_refused_at_the_ends_of_a_name(backend: Backend, name: str) -> None:
    answer = backend.post("/v1/accounts", {"account_name": name})
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, "/account_name")


def test_a_language_tag_ends_where_it_ends(backend: Backend) -> None:
    account = backend.open_account()
    answer = backend.post(f"/v1/accounts/{account}/people", {"username": "kim", "locale": "sv\n"})
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, "/locale")


@pytest.mark.parametrize("path", ["//v1/accounts", "/v1//accounts", "/v1/accounts/", "/v1/./accounts", "/V1/accounts"])
def test_a_path_that_is_nearly_right_is_not_there(backend: Backend, path: str) -> None:
    answer = backend.get(path)
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")


MANY = {
    "members": ("{" + ",".join(f'"m{n}": 1' for n in range(5_000)) + "}", ""),
    "members, the last one twice": ("{" + ",".join(f'"m{n}": 1' for n in range(5_000)) + ', "m4999": 1}', "/m4999"),
    "entries": ('{"username": "kim", "phones": [' + ",".join(["1"] * 20_000) + "]}", "/phones"),
    "texts": ('{"username": "kim", "phones": [' + ",".join(['""'] * 20_000) + "]}", "/phones"),
    "faults": ('{"username": "kim", "phones": [' + ",".join(["1"] * 100) + '], "role": 7}', "/phones/0"),
    "bad texts": (
        '{"username": "kim", "phones": [' + ",".join(['["\\u0000"]'] * 100) + '], "role": "\\u0000"}',
        "/phones/0/0",
    ),
}


@pytest.mark.parametrize("name", MANY)
def test_many_faults_are_quick_to_find_and_few_to_tell(backend: Backend, name: str) -> None:
    body, pointer = MANY[name]
    account = backend.open_account()
    path, begun = f"/v1/accounts/{account}/people", time.process_time()
    answer = backend.send("POST", path, data=body.encode(), content_type=JSON)
    assert time.process_time() - begun < 0.5  # seconds; it was minutes when every entry was checked by its schema
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, pointer)
    assert len(answer.get_json()["errors"]) <= 100


def test_the_longest_person_is_taken(backend: Backend) -> None:
    account = backend.open_account()
    name = "\U0001f600" * 200
    person = {"username": name[:100], "name": name, "address": name * 5, "phones": [name[:40]] * 10, "company_name": name}
    answer = backend.post(f"/v1/accounts/{account}/people", {**person, "company_id": name[:64], "role": "owner"})
    assert answer.status_code == 201, answer.text
