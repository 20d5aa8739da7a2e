"""Bodies of points: what is well formed is taken as it is, and what is not is named by its place, without its value."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpriv.api.logdata.points_body import MAX_BYTES, read_json, read_lines
from cloudpriv.platform.errors import TooLargeError, UnreadableError
from cloudpriv.processor.storage.points import MAX_POINTS, Batch
from tests.factories import NOW

GOOD = '{"tag":"t","time":"2026-01-01T12:00:00Z","value":1.5}'
SECRET = "canary"


def lines(*texts: str) -> Batch:
    """NDJSON, read."""
    return read_lines("\n".join(texts).encode(), NOW)


def rows(batch: Batch) -> list[tuple[str, datetime, Any, str | None, str | None]]:
    """The points of a batch: tag, time, value with its type, quality and unit."""
    found = batch.values.to_pylist()
    values = [next(row[name] for name in ("f", "i", "b", "s") if row.get(name) is not None) for row in found]
    return [
        (tag, row["time"], value, row["quality"], row["unit"])
        for tag, row, value in zip(batch.tags, found, values, strict=True)
    ]


def with_value(value: str) -> str:
    """A point with this JSON as its value."""
    return GOOD.replace("1.5", value)


def with_time(time: str) -> str:
    """A point of this time."""
    return GOOD.replace("2026-01-01T12:00:00Z", time)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("-0.0", -0.0),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("7", 7),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775807", 2**63 - 1),
        ("true", True),
        ("false", False),
        ('""', ""),
        ('"grüezi \\"\\n\\u00e9"', 'grüezi "\né'),
        (f'"{"x" * 8192}"', "x" * 8192),
    ],
)
def test_values_keep_their_type_and_every_bit(value: str, read: Any) -> None:
    (row,) = rows(lines(with_value(value)))
    assert (type(row[2]), str(row[2])) == (type(read), str(read))


@pytest.mark.parametrize(
    ("time", "read"),
    [
        ("2026-01-01T12:00:00Z", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("2026-01-01T12:00:00.123456Z", datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)),
        ("2026-01-01T12:00:00.5Z", datetime(2026, 1, 1, 12, 0, 0, 500000, tzinfo=UTC)),
        ("2026-01-01T12:00:00+05:30", datetime(2026, 1, 1, 6, 30, tzinfo=UTC)),
        ("2026-01-01T12:00:00.000001-00:30", datetime(2026, 1, 1, 12, 30, 0, 1, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ((NOW + timedelta(minutes=5)).isoformat(), NOW + timedelta(minutes=5)),
    ],
)
def test_times_are_read_with_their_offset(time: str, read: datetime) -> None:
    assert rows(lines(with_time(time), GOOD))[0][1] == read


@pytest.mark.parametrize(
    ("text", "code", "about"),
    [
        (with_value("null"), "malformed", "value"),
        (with_value(f'["{SECRET}"]'), "malformed", "value"),
        (with_value("9223372036854775808"), "malformed", "value"),
        (with_value("-9223372036854775809"), "malformed", "value"),
        (with_value("1e400"), "malformed", "value"),
        (with_value("1" * 5000), "malformed", "value"),
        (with_value("NaN"), "malformed", "JSON"),
        (with_value(f'"{SECRET}\\u0000"'), "malformed", "value contains NUL"),
        (with_value(f'"{"x" * 8193}"'), "malformed", "value"),
        (with_value('"\\ud800"'), "malformed", ""),
        (with_time("2026-01-01T12:00:00"), "malformed", "time"),
        (with_time("2026-01-01T24:00:00Z"), "malformed", "time"),
        (with_time("2026-02-30T12:00:00Z"), "malformed", "time"),
        (with_time("0000-01-01T12:00:00Z"), "too_old", "time"),
        (with_time("yesterday"), "malformed", "time"),
        (with_time("1969-12-31T23:59:59Z"), "too_old", "time"),
        (with_time("2026-06-01T12:05:01Z"), "in_the_future", "time"),
        (with_time("9999-12-31T23:59:59Z"), "in_the_future", "time"),
        (GOOD.replace('"t"', '""'), "malformed", "tag"),
        (GOOD.replace('"t"', f'"{SECRET * 50}"'), "malformed", "tag"),
        (GOOD.replace('"t"', "5"), "malformed", "tag"),
        (GOOD.replace('"value"', f'"{SECRET}"'), "malformed", "member"),
        (GOOD.replace('{"tag":"t",', "{"), "malformed", "tag"),
        (GOOD.replace("}", f',"{SECRET}":1}}'), "malformed", "member"),
        (GOOD.replace("}", ',"tag":"u"}'), "malformed", "tag stands there more than once"),
        (GOOD.replace("}", ',"t\\u0061g":"u"}'), "malformed", "tag stands there more than once"),
        (GOOD.replace("}", ',"value":"\\u0022\\u0022\\u0022\\u0022"}'), "malformed", "value stands there more than once"),
        (GOOD.replace("}", f',"quality":"{SECRET * 9}"}}'), "malformed", "quality"),
        (GOOD.replace("}", ',"unit":5}'), "malformed", "unit"),
        (f'"{SECRET}"', "malformed", "object"),
        ("[]", "malformed", "object"),
        ("{", "malformed", "JSON"),
        (GOOD + GOOD, "malformed", "JSON"),
    ],
)
def test_what_is_no_point_is_named_by_its_place_and_the_rest_is_taken(text: str, code: str, about: str) -> None:
    batch = lines(GOOD, text, GOOD)
    assert [row[0] for row in rows(batch)] == ["t", "t"]
    (rejected,) = batch.rejected
    assert (rejected.index, rejected.code) == (1, code)
    assert about in rejected.detail
    assert SECRET not in rejected.detail
    if text.startswith(("{", "[", '"')) and "}{" not in text and text != "{" and "NaN" not in text and "ud800" not in text:
        assert read_json(f"[{GOOD},{text},{GOOD}]".encode(), NOW).rejected == batch.rejected


@pytest.mark.parametrize(
    "body", [b"", b"5", b"{}", b'{"points":{}}', b'{"points":[],"more":1}', b"[", b"[1,]", b'["\xff"]', b"[" * 100_000]
)
def test_a_body_that_is_neither_array_nor_envelope_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_json(body, NOW)


def test_more_points_or_bytes_than_the_limit_are_refused() -> None:
    assert len(lines(*[GOOD] * MAX_POINTS).tags) == MAX_POINTS
    for body in ([GOOD] * (MAX_POINTS + 1), ["{}"] * (MAX_POINTS + 1)):
        with pytest.raises(TooLargeError):
            lines(*body)
        with pytest.raises(TooLargeError):
            read_json(f"[{','.join(body)}]".encode(), NOW)
    for reader in (read_lines, read_json):
        with pytest.raises(TooLargeError):
            reader(b" " * (MAX_BYTES + 1), NOW)


def test_nothing_at_all_is_an_empty_batch() -> None:
    for batch in (lines(""), lines("", "\r", ""), read_json(b"[]", NOW), read_json(b'{"points":[]}', NOW)):
        assert (len(batch.tags), batch.rejected) == (0, [])


WORDS = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
POINT = st.fixed_dictionaries(
    {
        "tag": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5),
        "time": st.datetimes(datetime(1970, 1, 2), datetime(2026, 5, 31), timezones=st.timezones()),  # noqa: DTZ001  bounds
        "value": st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
    },
    optional={"quality": WORDS, "unit": WORDS},
)


@given(st.lists(POINT, max_size=8), st.booleans())
def test_a_batch_is_read_alike_whole_and_point_by_point(points: list[dict[str, Any]], ascii_only: bool) -> None:
    sent = [point | {"time": point["time"].isoformat()} for point in points]
    texts = [json.dumps(point, ensure_ascii=ascii_only) for point in sent]
    whole, apart = lines(*texts), lines(*texts, "{")
    expected = [
        (point["tag"], point["time"].astimezone(UTC), point["value"], point.get("quality"), point.get("unit"))
        for point in points
    ]
    for batch in (whole, apart, read_json(msgspec.json.encode(sent), NOW)):
        assert rows(batch) == expected
        assert [type(row[2]) for row in rows(batch)] == [type(row[2]) for row in expected]
    assert (whole.rejected, [each.index for each in apart.rejected]) == ([], [len(points)])
