"""POST /v1/logdata/points: a device's batch is stored when it is answered, and once under its key."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from werkzeug.test import TestResponse

from cloudpriv.bootstrap import ProcessorServices
from tests.logdata import Caller, device_token
from tests.points import chunks_of, objects_of, stored

URL = "/v1/logdata/points"


def point(**members: Any) -> dict[str, Any]:
    """A point that is taken."""
    return {"tag": "t", "time": "2026-01-01T12:00:00Z", "value": 1.5} | members


def send(device: Caller, key: str | None = None, **body: Any) -> TestResponse:
    """One request, with a batch key."""
    headers = {"Authorization": f"Bearer {device.token}"} | ({} if key is None else {"Idempotency-Key": key})
    return device.http.post(URL, headers=headers, **body)


def test_points_come_as_array_object_and_lines(device: Caller) -> None:
    both = [point(), point(value="x", quality="good", unit="bar")]
    lines = "\n".join(map(json.dumps, both))
    for body in (
        {"json": both},
        {"json": {"points": both}},
        {"data": lines, "content_type": "application/x-ndjson"},
        {"data": lines.replace("\n", "\r\n\n") + "\n", "content_type": "application/x-ndjson"},
    ):
        answer = send(device, **body)
        assert (answer.status_code, answer.get_json()) == (200, {"accepted": 2, "rejected": []})
        assert answer.headers["Cache-Control"] == "no-store"


def test_a_point_that_cannot_be_taken_is_named_and_the_rest_is_stored(device: Caller, processor: ProcessorServices) -> None:
    answer = send(device, json=[point(value=1), point(value=None), point(time="2999-01-01T00:00:00Z"), point(value=2)])
    verdict = answer.get_json()
    assert (answer.status_code, verdict["accepted"]) == (200, 2)
    assert [(each["index"], each["code"]) for each in verdict["rejected"]] == [(1, "malformed"), (2, "in_the_future")]
    assert [row["i"] for row in stored(processor, device.account_id)] == [1, 2]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (422, {"data": "{", "content_type": "application/json"}),
        (422, {"json": {"point": []}}),
        (415, {"data": "tag,time,value", "content_type": "text/csv"}),
        (413, {"data": b" " * (8 * 1024 * 1024 + 1), "content_type": "application/x-ndjson"}),
        (413, {"json": [point()] * 10_001}),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_whole(
    device: Caller, processor: ProcessorServices, status: int, body: dict[str, Any]
) -> None:
    answer = send(device, **body)
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert stored(processor, device.account_id) == []


def test_a_batch_of_a_key_is_stored_once_and_answered_alike(device: Caller, processor: ProcessorServices) -> None:
    first = send(device, '"a b"', json=[point(), point(value=None)])
    again = send(device, '"a b"', json=[point(), point(value=None)])
    assert (again.status_code, again.data) == (first.status_code, first.data) == (200, first.data)
    other = send(device, '"a b"', json=[point(value=2.5)])
    assert (other.status_code, other.get_json()["type"]) == (422, "/problems/idempotency_mismatch")
    assert send(device, '"b"', json=[point(), point(value=None)]).status_code == 200
    assert [row["f"] for row in stored(processor, device.account_id)] == [1.5, 1.5]


def test_the_same_key_of_another_device_is_another(device: Caller, processor: ProcessorServices) -> None:
    other = Caller(device.http.application, device_token(processor, device.account_id, "pump-2"), device.account_id)
    for each in (device, other):
        assert send(each, '"k"', json=[point()]).get_json()["accepted"] == 1
    assert len(stored(processor, device.account_id)) == 2


@pytest.mark.parametrize("key", ["k", '""', '"k', '"a"b"', f'"{"k" * 256}"', '"\u00e9"'])
def test_a_key_that_is_no_quoted_text_is_refused(device: Caller, key: str) -> None:
    assert send(device, key, json=[point()]).status_code == 422


def test_the_same_batch_many_times_at_once_is_one_chunk(device: Caller, processor: ProcessorServices) -> None:
    callers = [Caller(device.http.application, device.token, device.account_id) for _ in range(6)]
    with ThreadPoolExecutor(len(callers)) as threads:
        answers = list(threads.map(lambda each: send(each, '"k"', json=[point()]), callers))
    assert {(answer.status_code, answer.data) for answer in answers} == {(200, answers[0].data)}
    assert len(stored(processor, device.account_id)) == 1
    assert objects_of(processor, device.account_id) == {row.object_key for row in chunks_of(processor, device.account_id)}


def test_devices_that_send_at_once_get_places_without_a_gap(device: Caller, processor: ProcessorServices) -> None:
    tokens = [device_token(processor, device.account_id, f"pump-{number}") for number in range(4)]
    callers = [Caller(device.http.application, token, device.account_id) for token in tokens]
    with ThreadPoolExecutor(len(callers)) as threads:
        answers = list(threads.map(lambda each: send(each, json=[point(tag="new"), point(tag="also new")]), callers * 4))
    assert {answer.status_code for answer in answers} == {200}
    assert [row["seq"] for row in stored(processor, device.account_id)] == list(range(1, 33))
