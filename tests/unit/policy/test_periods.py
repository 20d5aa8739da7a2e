"""The calendar of retention and of answers: by examples that a lawyer can check, and by properties."""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta, timezone
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudpriv.policy.periods import (
    Country,
    Period,
    RoundTo,
    anchor_cutoff,
    answer_due_on,
    erasable_from,
    extended_due_on,
    last_day,
    parse_period,
)

SEVEN_YEARS = parse_period("P7Y")
MICROSECOND = timedelta(microseconds=1)

unhurried = settings(deadline=None)  # a busy machine is no fault of the calendar

offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
instants = st.datetimes(datetime(1971, 1, 1), datetime(2120, 1, 1), timezones=offsets)  # noqa: DTZ001 - hypothesis adds the zone
numbers = st.integers(0, 40)
calendar_periods = st.one_of(
    st.builds(Period, years=st.integers(1, 40), months=numbers, days=numbers),
    st.builds(Period, years=numbers, months=st.integers(1, 40), days=numbers),
    st.builds(Period, weeks=st.integers(1, 500)),
    st.builds(Period, days=st.integers(1, 4000)),
)
clock_periods = st.builds(Period, hours=st.integers(1, 9999), minutes=numbers, seconds=numbers)
rules = st.one_of(
    st.tuples(calendar_periods, st.sampled_from(cast("list[RoundTo | None]", [None, "end_of_year"]))),
    st.tuples(clock_periods, st.none()),
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("anchor", "period", "erasable"),
    [
        ("2019-03-10T00:00:00Z", "P7Y", "2026-03-11T00:00:00Z"),
        ("2019-03-10T23:59:59.999999Z", "P7Y", "2026-03-11T00:00:00Z"),
        ("2020-02-29T12:00:00Z", "P7Y", "2027-03-01T00:00:00Z"),
        ("2020-02-28T12:00:00Z", "P7Y", "2027-03-01T00:00:00Z"),
        ("2021-02-28T12:00:00Z", "P7Y", "2028-02-29T00:00:00Z"),  # not the last day of February
        ("2019-12-31T23:00:00Z", "P7Y", "2027-01-01T00:00:00Z"),
        ("2025-08-31T08:00:00Z", "P6M", "2026-03-01T00:00:00Z"),
        ("2026-01-31T08:00:00Z", "P1M", "2026-03-01T00:00:00Z"),
        ("2026-03-01T08:00:00Z", "P45D", "2026-04-16T00:00:00Z"),
        ("2026-03-01T08:00:00Z", "P2W", "2026-03-16T00:00:00Z"),
        ("2026-01-31T08:00:00Z", "P1M1D", "2026-03-02T00:00:00Z"),
        ("2026-03-01T08:30:00Z", "PT24H", "2026-03-02T08:30:00Z"),
        ("2026-03-01T08:30:00Z", "PT1H30M5S", "2026-03-01T10:00:05Z"),
    ],
)
def test_a_period_ends_with_the_last_hour_of_its_last_day(anchor: str, period: str, erasable: str) -> None:
    assert erasable_from(at(anchor), parse_period(period)) == at(erasable)


def test_the_day_of_the_event_is_a_day_in_utc() -> None:
    assert erasable_from(at("2019-03-11T00:30:00+01:00"), SEVEN_YEARS) == at("2026-03-11T00:00:00Z")
    assert erasable_from(at("2019-03-10T23:30:00-05:00"), SEVEN_YEARS) == at("2026-03-12T00:00:00Z")
    assert last_day(at("2019-03-10T23:30:00-05:00"), SEVEN_YEARS) == date(2026, 3, 11)
    assert erasable_from(at("2019-03-11T00:30:00+01:00"), SEVEN_YEARS).tzinfo is UTC


@pytest.mark.parametrize("anchor", ["2018-01-01T00:00:00Z", "2018-07-02T00:00:00Z", "2018-12-31T23:59:59Z"])
def test_rounding_to_the_end_of_the_year_keeps_data_through_31_december(anchor: str) -> None:
    assert last_day(at(anchor), SEVEN_YEARS, "end_of_year") == date(2025, 12, 31)
    assert erasable_from(at(anchor), SEVEN_YEARS, "end_of_year") == at("2026-01-01T00:00:00Z")


@unhurried
@given(instants)
def test_seven_years_are_never_cut_short(anchor: datetime) -> None:
    day = anchor.astimezone(UTC)
    years_on = day.replace(year=day.year + 7, day=min(day.day, monthrange(day.year + 7, day.month)[1]))
    assert years_on < erasable_from(anchor, SEVEN_YEARS) <= years_on + timedelta(days=1)


@unhurried
@given(instants, rules)
def test_data_is_kept_for_at_least_its_days(anchor: datetime, rule: tuple[Period, RoundTo]) -> None:
    period, round_to = rule
    months = 12 * period.years + period.months
    fewest = timedelta(
        # the shortest run of that many months: a year has 365 days, and n months never fewer than 30n - 2
        days=max(365 * months // 12 - 3, 0) + period.days,
        weeks=period.weeks,
        hours=period.hours,
        minutes=period.minutes,
        seconds=period.seconds,
    )
    assert erasable_from(anchor, period, round_to) >= anchor + fewest


@unhurried
@given(instants, instants, rules)
def test_a_later_anchor_is_never_erasable_earlier(one: datetime, other: datetime, rule: tuple[Period, RoundTo]) -> None:
    period, round_to = rule
    earlier, later = sorted([one, other])
    assert erasable_from(earlier, period, round_to) <= erasable_from(later, period, round_to)


@unhurried
@given(instants, calendar_periods)
def test_rounding_only_ever_prolongs_and_by_less_than_a_year(anchor: datetime, period: Period) -> None:
    plain, rounded = erasable_from(anchor, period), erasable_from(anchor, period, "end_of_year")
    assert plain <= rounded < plain + timedelta(days=366)
    assert (rounded.month, rounded.day, rounded.time()) == (1, 1, datetime.min.time())


@unhurried
@given(instants, instants, rules)
def test_the_cutoff_selects_exactly_what_is_due(anchor: datetime, now: datetime, rule: tuple[Period, RoundTo]) -> None:
    period, round_to = rule
    assert (anchor < anchor_cutoff(now, period, round_to)) == (erasable_from(anchor, period, round_to) <= now)


@unhurried
@given(instants, rules)
def test_the_cutoff_is_the_largest_such_instant(now: datetime, rule: tuple[Period, RoundTo]) -> None:
    period, round_to = rule
    cutoff = anchor_cutoff(now, period, round_to)
    assert erasable_from(cutoff - MICROSECOND, period, round_to) <= now
    assert erasable_from(cutoff, period, round_to) > now


@unhurried
@given(instants, rules)
def test_an_anchor_is_due_at_its_instant_and_not_a_microsecond_before(
    anchor: datetime, rule: tuple[Period, RoundTo]
) -> None:
    period, round_to = rule
    due = erasable_from(anchor, period, round_to)
    assert anchor < anchor_cutoff(due, period, round_to)
    assert not anchor < anchor_cutoff(due - MICROSECOND, period, round_to)


def test_the_cutoff_of_the_leap_day_moves_both_days_at_once() -> None:
    assert anchor_cutoff(at("2027-02-28T23:59:59Z"), SEVEN_YEARS) == at("2020-02-28T00:00:00Z")
    assert anchor_cutoff(at("2027-03-01T00:00:00Z"), SEVEN_YEARS) == at("2020-03-01T00:00:00Z")


@unhurried
@given(st.one_of(calendar_periods, clock_periods))
def test_a_period_is_read_back_as_it_is_written(period: Period) -> None:
    assert parse_period(str(period)) == period


@pytest.mark.parametrize(
    "text",
    [
        *("", "P", "PT", "7Y", "P7", "P7YT", "P7H", "PT7Y", "P7D7Y", "P7Y7Y", "seven years"),
        *("P-7Y", "-P7Y", "+P7Y", "P0Y", "P07Y", "P7.5Y", "P7,5Y", "p7y", " P7Y", "P7Y\n", "P\u0667Y"),
        *("P1Y2W", "P1W1D", "P1DT1H", "P101Y", "P999999Y", "P1000000D"),
    ],
)
def test_anything_but_a_whole_positive_period_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"period"):
        parse_period(text)


@pytest.mark.parametrize("numbers", [{}, {"years": -1}, {"years": 1, "days": -1}, {"days": 10**12}])
def test_a_period_that_is_no_period_cannot_be_made(numbers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"period"):
        Period(**numbers)


def test_a_century_is_the_longest_period() -> None:
    assert last_day(at("2026-01-01T00:00:00Z"), parse_period("P100Y")) == date(2126, 1, 1)


def test_a_naive_time_is_refused() -> None:
    naive = datetime(2026, 3, 1)  # noqa: DTZ001 - the fault under test
    for compute in (last_day, erasable_from, anchor_cutoff):
        for period in (SEVEN_YEARS, parse_period("PT24H")):
            with pytest.raises(ValueError, match="offset from UTC"):
                compute(naive, period)
    for due_on in (answer_due_on, extended_due_on):
        with pytest.raises(ValueError, match="offset from UTC"):
            due_on(naive, "SE")


def test_only_a_calendar_period_is_rounded_and_only_to_the_end_of_the_year() -> None:
    now = at("2026-03-01T00:00:00Z")
    for compute in (last_day, erasable_from, anchor_cutoff):
        with pytest.raises(ValueError, match="end of the year"):
            compute(now, parse_period("PT24H"), "end_of_year")
        with pytest.raises(ValueError, match="end of the year"):
            compute(now, SEVEN_YEARS, cast("RoundTo", "end_of_month"))


@pytest.mark.parametrize(
    ("received", "country", "due"),
    [
        ("2026-03-05T10:00:00Z", "ES", date(2026, 4, 6)),  # Easter Sunday, but no Easter Monday
        ("2026-03-05T10:00:00Z", "BE", date(2026, 4, 7)),  # Easter Sunday and Easter Monday
        ("2026-03-03T10:00:00Z", "SE", date(2026, 4, 7)),  # Good Friday to Easter Monday
        ("2026-03-03T10:00:00Z", "ES", date(2026, 4, 6)),  # Good Friday, without Easter Monday
        ("2026-03-03T10:00:00Z", "BE", date(2026, 4, 3)),  # Good Friday is a working day in Belgium
        ("2026-05-19T10:00:00Z", "SE", date(2026, 6, 19)),  # Midsummer Eve is no public holiday by law
        ("2027-05-26T10:00:00Z", "SE", date(2027, 6, 28)),  # Midsummer Day, a Saturday
        ("2028-05-06T10:00:00Z", "SE", date(2028, 6, 7)),  # the Swedish National Day, a Tuesday
        ("2028-05-06T10:00:00Z", "BE", date(2028, 6, 6)),
        ("2025-11-24T10:00:00Z", "SE", date(2025, 12, 24)),  # Christmas Eve is no public holiday by law
        ("2025-12-06T10:00:00Z", "SE", date(2026, 1, 7)),  # Epiphany
        ("2025-12-06T10:00:00Z", "BE", date(2026, 1, 6)),
        ("2026-06-21T10:00:00Z", "BE", date(2026, 7, 22)),  # the Belgian National Day
        ("2026-06-21T10:00:00Z", "SE", date(2026, 7, 21)),
        ("2026-10-11T10:00:00Z", "BE", date(2026, 11, 12)),  # Armistice Day
        ("2026-09-12T10:00:00Z", "ES", date(2026, 10, 13)),  # the Spanish National Day
        ("2026-09-12T10:00:00Z", "SE", date(2026, 10, 12)),
        ("2026-11-08T10:00:00Z", "ES", date(2026, 12, 9)),  # the Immaculate Conception
        ("2026-08-31T10:00:00Z", "SE", date(2026, 9, 30)),  # the last day of a shorter month
        ("2026-01-31T10:00:00Z", "SE", date(2026, 3, 2)),  # 28 February is a Saturday
        ("2027-12-01T10:00:00Z", "ES", date(2028, 1, 3)),  # New Year's Day, then a Sunday
        ("2026-06-10T23:30:00-05:00", "SE", date(2026, 7, 13)),  # the 11th in UTC
    ],
)
def test_an_answer_is_due_one_month_after_receipt_or_on_the_next_working_day(
    received: str, country: Country, due: date
) -> None:
    assert answer_due_on(at(received), country) == due


@pytest.mark.parametrize(
    ("received", "country", "due"),
    [
        ("2026-01-10T10:00:00Z", "SE", date(2026, 4, 10)),
        ("2026-01-31T10:00:00Z", "SE", date(2026, 4, 30)),
        ("2025-11-30T10:00:00Z", "BE", date(2026, 3, 2)),  # 28 February is a Saturday
        ("2026-04-21T10:00:00Z", "BE", date(2026, 7, 22)),
    ],
)
def test_an_extended_answer_is_due_after_three_months(received: str, country: Country, due: date) -> None:
    assert extended_due_on(at(received), country) == due


@unhurried
@given(instants, st.sampled_from(cast("list[Country]", ["SE", "BE", "ES"])))
def test_an_extension_always_ends_after_the_first_deadline(received: datetime, country: Country) -> None:
    first, extended = answer_due_on(received, country), extended_due_on(received, country)
    assert received.astimezone(UTC).date() + timedelta(days=28) <= first < extended
    assert first.weekday() < 5
    assert extended.weekday() < 5


def test_a_country_without_a_controller_is_refused() -> None:
    with pytest.raises(ValueError, match="no controller"):
        answer_due_on(at("2026-01-10T10:00:00Z"), cast("Country", "FR"))
