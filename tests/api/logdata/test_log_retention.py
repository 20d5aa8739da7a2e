"""Retention over HTTP: read, replaced as a whole by who knows it, and with a word of what it will erase."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.logdata import Caller

RETENTION = "/v1/logdata/retention"


def ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def put(reader: Caller, *rules: dict[str, Any], version: str | None = None) -> TestResponse:
    known = reader.get(RETENTION).headers["ETag"] if version is None else version
    return reader.send("PUT", RETENTION, {"rules": list(rules)}, headers={"If-Match": known})


@pytest.fixture
def points(device: Caller) -> None:
    """A device with two old points and a new one."""
    sent = [
        {"tag": tag, "time": time, "value": 1} for tag, time in (("level", ago(40)), ("flow", ago(40)), ("level", ago(1)))
    ]
    assert device.post("/v1/logdata/points", sent).get_json()["accepted"] == 3


def test_without_rules_everything_is_kept(reader: Caller) -> None:
    answer = reader.get(RETENTION)
    assert (answer.status_code, answer.get_json(), answer.headers["ETag"]) == (200, {"rules": []}, '"0"')


@pytest.mark.usefixtures("points")
def test_rules_are_set_and_tell_what_they_would_erase(reader: Caller) -> None:
    answer = put(reader, {"period": "P1Y"})
    assert (answer.status_code, answer.get_json()["would_erase"]) == (200, 0), answer.text
    answer = put(reader, {"period": "P30D"}, {"device": "pump-1", "tag": "flow", "period": "P2Y"})
    assert answer.get_json()["would_erase"] == 1
    seen = reader.get(RETENTION)
    told = [(rule["device"], rule["tag"], rule["period"]) for rule in seen.get_json()["rules"]]
    assert told == [(None, None, "P30D"), ("pump-1", "flow", "P2Y")]
    assert seen.headers["ETag"] == answer.headers["ETag"] != '"0"'
    assert seen.get_json()["rules"] == answer.get_json()["rules"]


def test_only_who_knows_the_rules_replaces_them(reader: Caller) -> None:
    first = put(reader, {"period": "P30D"})
    assert put(reader, {"period": "P60D"}, version='"0"').status_code == 412
    assert reader.send("PUT", RETENTION, {"rules": []}).status_code == 428
    assert put(reader, {"period": "P60D"}, version=first.headers["ETag"]).status_code == 200
    gone = put(reader)
    assert (gone.status_code, gone.get_json()["rules"], gone.headers["ETag"]) == (200, [], '"0"')


@pytest.mark.usefixtures("points")
@pytest.mark.parametrize(
    ("rule", "pointer"),
    [
        ({"period": "P9D"}, "/rules/1/period"),
        ({"period": "PT240H"}, "/rules/1/period"),
        ({"period": "P30D", "tag": "level"}, "/rules/1/device"),
        ({"period": "P30D", "device": "pump-2"}, "/rules/1/device"),
        ({"period": "P30D", "device": "pump-1", "tag": "depth"}, "/rules/1/tag"),
        ({"period": "P40D"}, "/rules/1"),
        ({"period": "P40D", "mood": "bad"}, "/rules/1/mood"),
        ({}, "/rules/1/period"),
    ],
)
def test_a_rule_that_is_none_is_pointed_at(reader: Caller, rule: dict[str, Any], pointer: str) -> None:
    answer = put(reader, {"period": "P30D"}, rule)
    assert (answer.status_code, [fault["pointer"] for fault in answer.get_json()["errors"]]) == (422, [pointer]), answer.text
    assert reader.get(RETENTION).get_json() == {"rules": []}


def test_readers_set_rules_and_owners_see_them_and_nobody_else_does(
    reader: Caller, owner: Caller, device: Caller, vendor: Caller
) -> None:
    assert put(reader, {"period": "P30D"}).status_code == 200
    for caller in (device, vendor):
        assert caller.get(RETENTION).status_code == 403
    for caller in (device, vendor, owner):
        assert caller.send("PUT", RETENTION, {"rules": []}, headers={"If-Match": '"0"'}).status_code == 403
    assert len(owner.get(RETENTION).get_json()["rules"]) == 1
