"""Text of cells as JSON values, without loss."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpriv.client.rows import seconds, unix_time, whole

LAST = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())


@given(st.integers(0, LAST), st.integers(0, 999_999))
def test_a_unix_time_keeps_every_microsecond(second: int, micros: int) -> None:
    read = datetime.fromisoformat(unix_time(f"{second}.{micros:06d}"))
    assert read == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second, microseconds=micros)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1678440574.08554", "2023-03-10T09:29:34.085540Z"),
        ("1678440574", "2023-03-10T09:29:34.000000Z"),
        ("0.", "1970-01-01T00:00:00.000000Z"),
        ("1678440574.9999999", "2023-03-10T09:29:34.999999Z"),
    ],
)
def test_a_fraction_is_filled_up_or_cut_to_microseconds(text: str, time: str) -> None:
    assert unix_time(text) == time


@pytest.mark.parametrize(
    "text",
    [
        "-1",
        "1.6e9",
        ".5",
        "",
        " 1",
        "1 ",
        "1_0",
        "nan",
        "\u0661\u0662",
        "1.2.3",
        "1.-2",
        f"{LAST + 1}",
        "9" * 5000,
    ],
)
def test_what_is_no_unix_time_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="Unix time") as caught:
        unix_time(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("12", 12), ("-3", -3), ("12.0", 12), ("5.", 5), ("007", 7)])
def test_whole_numbers_of_spreadsheets_are_read(text: str, number: int) -> None:
    assert whole(text) == number


@pytest.mark.parametrize("text", ["1.5", "1e3", "one", "1_0", "\u0661", "+1", "0x10", "1,000", " 1", "9" * 5000])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a whole number"):
        whole(text)


@pytest.mark.parametrize(("text", "number"), [("5e-06", 5e-06), ("0.480225", 0.480225), ("-2", -2), ("3E+2", 300)])
def test_durations_are_read_in_either_notation(text: str, number: float) -> None:
    assert seconds(text) == number


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1_0", "", "1s", "1e999"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number of seconds"):
        seconds(text)
