"""GET /v1/logdata/{devices,tags,points}: the customer reads what its devices sent."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
from flask import Flask

from cloudpriv.bootstrap import ProcessorServices
from tests.factories import NOW
from tests.logdata import Caller, make_log_account, reader_token
from tests.senders import Sender, point

MINUTE = timedelta(minutes=1)
FILES = ("application/x-ndjson", "text/csv", "application/vnd.apache.parquet")


@pytest.fixture
def sent(processor: ProcessorServices, reader: Caller) -> Caller:
    """A reader of an account whose two devices have sent points of each kind."""
    first, second = (Sender(processor, reader.account_id, name) for name in ("pump-1", "=pump, 2"))
    first.send([point(20.0, NOW, "temperature", "good", "°C"), point(3, NOW + MINUTE, "starts"), point(True, NOW, "on")])
    second.send([point("=1+1", NOW, "note"), point(19.5, NOW - MINUTE, "temperature"), point(-(2**63), NOW, "starts")])
    return reader


def told(reader: Caller, **query: Any) -> list[dict[str, Any]]:
    """The points of one answer."""
    answer = reader.get("/v1/logdata/points", query_string=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json["items"]  # type: ignore[index]  # it is an object
    return items


def test_points_come_back_exactly_by_time_and_arrival(sent: Caller) -> None:
    assert told(sent) == [
        {"device": "=pump, 2", "tag": "temperature", "time": "2026-06-01T11:59:00Z", "value": 19.5},
        {"device": "pump-1", "tag": "temperature", "time": "2026-06-01T12:00:00Z", "value": 20.0}
        | {"quality": "good", "unit": "°C"},
        {"device": "pump-1", "tag": "on", "time": "2026-06-01T12:00:00Z", "value": True},
        {"device": "=pump, 2", "tag": "note", "time": "2026-06-01T12:00:00Z", "value": "=1+1"},
        {"device": "=pump, 2", "tag": "starts", "time": "2026-06-01T12:00:00Z", "value": -(2**63)},
        {"device": "pump-1", "tag": "starts", "time": "2026-06-01T12:01:00Z", "value": 3},
    ]  # fmt: skip
    assert [type(each["value"]) for each in told(sent)] == [float, float, bool, str, int, int]


def test_a_device_a_tag_and_a_span_are_selected_by_name(sent: Caller) -> None:
    assert [each["value"] for each in told(sent, device="pump-1", tag="temperature")] == [20.0]
    assert [each["value"] for each in told(sent, tag="temperature")] == [19.5, 20.0]
    assert [each["value"] for each in told(sent, tag=["starts", "on"], device=["pump-1", "=pump, 2"])] == [True, -(2**63), 3]
    assert [each["value"] for each in told(sent, **{"from": "2026-06-01T12:01:00Z"})] == [3]
    assert [each["value"] for each in told(sent, to="2026-06-01T12:00:00Z")] == [19.5]


def test_pages_follow_each_other_by_cursor_and_tell_what_there_was_at_the_first(
    processor: ProcessorServices, sent: Caller
) -> None:
    whole = told(sent)
    answer = sent.get("/v1/logdata/points?limit=2&tag=temperature&tag=on&tag=note&tag=starts")
    pages = list(answer.json["items"])  # type: ignore[index]  # it is an object
    Sender(processor, sent.account_id).send([point(99, NOW + MINUTE, "starts")])
    while "Link" in answer.headers:
        answer = sent.get(answer.headers["Link"].partition("<")[2].partition(">")[0])
        pages += answer.json["items"]  # type: ignore[index]  # it is an object
    assert answer.json is not None
    assert answer.json["next_cursor"] is None
    assert pages == whole


@pytest.mark.parametrize(
    ("query", "wrong"),
    [("device=pump-3", "device"), ("tag=nothing", "tag"), ("device=pump-1&tag=note", "tag"), ("limit=0", "limit"),
     ("cursor=AAAA", "cursor"), ("from=2026-06-01", "from"), ("device=", "device"), ("devices=pump-1", "devices"),
     ("to=2026-06-01T12:00:00Z&to=2026-06-01T12:00:00Z", "to")],
)  # fmt: skip
def test_what_cannot_be_selected_is_refused(sent: Caller, query: str, wrong: str) -> None:
    answer = sent.get(f"/v1/logdata/points?{query}")
    assert answer.status_code == 422
    assert answer.json is not None
    assert [error["parameter"] for error in answer.json["errors"]] == [wrong]


def test_lines_of_json_are_the_points_of_the_pages(sent: Caller) -> None:
    answer = sent.get("/v1/logdata/points", headers={"Accept": "application/x-ndjson"})
    assert answer.mimetype == "application/x-ndjson"
    assert [json.loads(line) for line in answer.text.splitlines()] == told(sent)


def test_a_csv_tells_values_and_no_formulas(sent: Caller) -> None:
    answer = sent.get("/v1/logdata/points?tag=note&tag=starts", headers={"Accept": "text/csv"})
    assert list(csv.reader(io.StringIO(answer.text))) == [
        ["device", "tag", "time", "kind", "value", "quality", "unit"],
        ["'=pump, 2", "note", "2026-06-01T12:00:00Z", "text", "'=1+1", "", ""],
        ["'=pump, 2", "starts", "2026-06-01T12:00:00Z", "int", "-9223372036854775808", "", ""],
        ["pump-1", "starts", "2026-06-01T12:01:00Z", "int", "3", "", ""],
    ]


def test_a_parquet_file_has_the_same_points(sent: Caller) -> None:
    answer = sent.get("/v1/logdata/points", headers={"Accept": "application/vnd.apache.parquet"})
    rows = pq.read_table(io.BytesIO(answer.data)).to_pylist()
    values = [next(row[f"value_{kind}"] for kind in ("float", "int", "bool", "text") if row[f"value_{kind}"] is not None)
              for row in rows]  # fmt: skip
    assert [(row["device"], row["tag"], value) for row, value in zip(rows, values, strict=True)] == [
        (each["device"], each["tag"], each["value"]) for each in told(sent)
    ]


@pytest.mark.parametrize("media", FILES)
def test_an_account_without_points_is_told_as_an_empty_file(reader: Caller, media: str) -> None:
    answer = reader.get("/v1/logdata/points", headers={"Accept": media})
    assert answer.status_code == 200
    assert told(reader) == []


def test_a_stream_has_no_pages(sent: Caller) -> None:
    assert sent.get("/v1/logdata/points?limit=2", headers={"Accept": "text/csv"}).status_code == 422


def test_devices_and_tags_are_listed(sent: Caller) -> None:
    devices = sent.get("/v1/logdata/devices").json
    assert devices is not None
    assert [each["name"] for each in devices["items"]] == ["pump-1", "=pump, 2"]
    tags = sent.get("/v1/logdata/tags?device=pump-1").json
    assert tags is not None
    assert [(each["name"], each["kind"], each["unit"]) for each in tags["items"]] == [
        ("temperature", "float", "°C"),
        ("starts", "int", None),
        ("on", "bool", None),
    ]
    first = sent.get("/v1/logdata/tags?limit=4")
    assert first.json is not None
    rest = sent.get(first.headers["Link"].partition("<")[2].partition(">")[0]).json
    assert rest is not None
    assert [each["device"] for each in first.json["items"] + rest["items"]] == ["pump-1"] * 3 + ["=pump, 2"] * 3


def test_each_read_stands_in_the_customers_access_log(sent: Caller) -> None:
    for path in ("devices", "tags", "points", "aggregates?bucket=P1D"):
        assert sent.get(f"/v1/logdata/{path}").status_code == 200
    log = sent.get("/v1/logdata/access-log?limit=500").json
    assert log is not None
    assert {"devices.read", "tags.read", "points.read", "aggregates.read"} <= {each["action"] for each in log["items"]}


def test_another_accounts_points_are_not_told(processor: ProcessorServices, sent: Caller, log_app: Flask) -> None:
    other = make_log_account(processor)
    assert told(Caller(log_app, reader_token(processor, other), other)) == []
