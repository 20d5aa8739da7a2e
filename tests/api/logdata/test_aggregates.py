"""GET /v1/logdata/aggregates: what the points of a tag in a bucket of time have in common."""

from datetime import timedelta
from typing import Any

import pytest

from cloudpriv.bootstrap import ProcessorServices
from tests.factories import NOW
from tests.logdata import Caller
from tests.senders import Sender, point

MINUTE = timedelta(minutes=1)


def buckets(reader: Caller, bucket: str, **query: str) -> list[dict[str, Any]]:
    """The buckets of one answer."""
    answer = reader.get("/v1/logdata/aggregates", query_string={"bucket": bucket, **query})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json["items"]  # type: ignore[index]  # it is an object
    return items


def test_numbers_have_a_least_a_mean_and_a_greatest(processor: ProcessorServices, reader: Caller) -> None:
    Sender(processor, reader.account_id).send([point(value, NOW + n * MINUTE) for n, value in enumerate((1.5, 4.0, 2.0))])
    assert buckets(reader, "PT1H") == [
        {"device": "pump-1", "tag": "speed", "start": "2026-06-01T12:00:00Z"}
        | {"count": 3, "min": 1.5, "mean": 2.5, "max": 4.0, "last": 2.0}
    ]


def test_texts_and_truth_values_have_a_count_and_a_last(processor: ProcessorServices, reader: Caller) -> None:
    Sender(processor, reader.account_id).send(
        [point(True, NOW, "on"), point(False, NOW, "on"), point("b", NOW, "note"), point("a", NOW - MINUTE, "note")]
    )
    told = {each["tag"]: each for each in buckets(reader, "P1D")}
    assert {tag: (each["count"], each["last"]) for tag, each in told.items()} == {"on": (2, False), "note": (2, "b")}
    assert {each[name] for each in told.values() for name in ("min", "mean", "max")} == {None}


def test_integers_stay_exact(processor: ProcessorServices, reader: Caller) -> None:
    Sender(processor, reader.account_id).send([point(2**63 - 1, NOW), point(2**63 - 3, NOW)])
    (told,) = buckets(reader, "PT1M")
    assert (told["min"], told["max"], told["last"]) == (2**63 - 3, 2**63 - 1, 2**63 - 3)


def test_numbers_too_great_for_a_sum_have_no_mean(processor: ProcessorServices, reader: Caller) -> None:
    Sender(processor, reader.account_id).send([point(1e308, NOW), point(1e308, NOW)])
    (told,) = buckets(reader, "PT1M")
    assert (told["min"], told["mean"], told["max"]) == (1e308, None, 1e308)


def test_of_points_of_one_time_the_one_that_came_last_is_the_last(processor: ProcessorServices, reader: Caller) -> None:
    sender = Sender(processor, reader.account_id)
    sender.send([point(1, NOW + MINUTE), point(2, NOW)])
    sender.send([point(3, NOW + MINUTE)])
    assert [each["last"] for each in buckets(reader, "PT1H")] == [3]


@pytest.mark.parametrize(
    ("bucket", "starts"),
    [("PT15M", ["2026-06-01T11:45:00Z", "2026-06-01T12:00:00Z"]), ("P1D", ["2026-06-01T00:00:00Z"]),
     ("P1W", ["2026-06-01T00:00:00Z"]), ("P1M", ["2026-06-01T00:00:00Z"]), ("P1Y", ["2026-01-01T00:00:00Z"]),
     ("P7Y", ["2026-01-01T00:00:00Z"]), ("P10Y", ["2020-01-01T00:00:00Z"]), ("P9999M", ["1970-01-01T00:00:00Z"])],
)  # fmt: skip
def test_buckets_are_aligned_in_utc(processor: ProcessorServices, reader: Caller, bucket: str, starts: list[str]) -> None:
    Sender(processor, reader.account_id).send([point(1, NOW - MINUTE), point(2, NOW)])
    assert [each["start"] for each in buckets(reader, bucket)] == starts


def test_a_span_and_a_tag_are_selected(processor: ProcessorServices, reader: Caller) -> None:
    Sender(processor, reader.account_id).send([point(1, NOW), point(2, NOW, "other"), point(3, NOW + MINUTE)])
    assert [each["count"] for each in buckets(reader, "P1D", tag="speed", to="2026-06-01T12:01:00Z")] == [1]


@pytest.mark.parametrize("bucket", ["PT0S", "P1DT1H", "1h", "PT1.5H", "-P1D", ""])
def test_what_is_no_bucket_is_refused(reader: Caller, bucket: str) -> None:
    answer = reader.get("/v1/logdata/aggregates", query_string={"bucket": bucket})
    assert answer.status_code == 422
    assert answer.json is not None
    assert [error["parameter"] for error in answer.json["errors"]] == ["bucket"]


def test_more_buckets_than_are_told_are_refused(processor: ProcessorServices, reader: Caller) -> None:
    sender = Sender(processor, reader.account_id)
    for start in range(0, 50_001, 10_000):
        sender.send([point(1, NOW - (start + n) * timedelta(seconds=1)) for n in range(10_000)])
    assert reader.get("/v1/logdata/aggregates?bucket=PT1S").status_code == 422
    assert len(buckets(reader, "PT2S")) == 30_001
