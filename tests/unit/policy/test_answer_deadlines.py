"""Deadlines of answers, date by date, against calendars of Sweden, Belgium and Spain that were read by hand.

In a year's margin stand the days that matter: 2026 has Easter Monday on 6 April, 2027 on 29 March, 2028 on 17 April.
"""

from datetime import UTC, date, datetime

import pytest

from cloudpriv.policy.periods import COUNTRIES, Country, answer_due_on, extended_due_on

# Received, then the last day to answer of a controller in Sweden, in Belgium, and in Spain.
FIRST = [
    ("2026-01-13", "2026-02-13", "2026-02-13", "2026-02-13", "a Friday that is no holiday"),
    ("2026-01-14", "2026-02-16", "2026-02-16", "2026-02-16", "a Saturday"),
    ("2026-01-15", "2026-02-16", "2026-02-16", "2026-02-16", "a Sunday"),
    ("2026-01-29", "2026-03-02", "2026-03-02", "2026-03-02", "29 to 28 February, a Saturday"),
    ("2026-01-31", "2026-03-02", "2026-03-02", "2026-03-02", "31 to 28 February, a Saturday"),
    ("2028-01-29", "2028-02-29", "2028-02-29", "2028-02-29", "29 February of a leap year"),
    ("2028-01-31", "2028-02-29", "2028-02-29", "2028-02-29", "31 to 29 February of a leap year"),
    ("2028-02-29", "2028-03-29", "2028-03-29", "2028-03-29", "from a leap day on"),
    ("2026-03-31", "2026-04-30", "2026-04-30", "2026-04-30", "31 to a month of 30 days"),
    ("2026-05-31", "2026-06-30", "2026-06-30", "2026-06-30", "31 to a month of 30 days"),
    ("2026-07-31", "2026-08-31", "2026-08-31", "2026-08-31", "31 to a month of 31 days"),
    ("2026-10-31", "2026-11-30", "2026-11-30", "2026-11-30", "31 to a month of 30 days"),
    ("2027-12-31", "2028-01-31", "2028-01-31", "2028-01-31", "over the end of the year"),
    ("2026-03-03", "2026-04-07", "2026-04-03", "2026-04-06", "Good Friday, none in Belgium"),
    ("2026-03-06", "2026-04-07", "2026-04-07", "2026-04-06", "Easter Monday, none in all of Spain"),
    ("2027-02-26", "2027-03-30", "2027-03-26", "2027-03-29", "Good Friday of another year"),
    ("2026-04-01", "2026-05-04", "2026-05-04", "2026-05-04", "the first of May, a Friday"),
    ("2026-04-14", "2026-05-15", "2026-05-15", "2026-05-14", "Ascension Day"),
    ("2026-04-25", "2026-05-25", "2026-05-26", "2026-05-25", "Whit Monday"),
    ("2026-05-06", "2026-06-08", "2026-06-08", "2026-06-08", "the Swedish National Day, a Saturday"),
    ("2029-05-06", "2029-06-07", "2029-06-06", "2029-06-06", "the Swedish National Day, a Wednesday"),
    ("2026-05-19", "2026-06-19", "2026-06-19", "2026-06-19", "Midsummer Eve, by custom alone"),
    ("2026-05-20", "2026-06-22", "2026-06-22", "2026-06-22", "Midsummer Day, a Saturday"),
    ("2027-06-21", "2027-07-21", "2027-07-22", "2027-07-21", "the Belgian National Day"),
    ("2028-07-15", "2028-08-15", "2028-08-16", "2028-08-16", "the Assumption"),
    ("2026-09-12", "2026-10-12", "2026-10-12", "2026-10-13", "the Spanish National Day"),
    ("2027-10-01", "2027-11-01", "2027-11-02", "2027-11-02", "All Saints' Day, a Saturday's in Sweden"),
    ("2026-10-11", "2026-11-11", "2026-11-12", "2026-11-11", "Armistice Day"),
    ("2027-11-06", "2027-12-06", "2027-12-06", "2027-12-07", "the day of the Spanish constitution"),
    ("2026-11-08", "2026-12-08", "2026-12-08", "2026-12-09", "the Immaculate Conception"),
    ("2026-11-24", "2026-12-24", "2026-12-24", "2026-12-24", "Christmas Eve, by custom alone"),
    ("2026-11-25", "2026-12-28", "2026-12-28", "2026-12-28", "Christmas Day, a Friday"),
    ("2028-11-25", "2028-12-27", "2028-12-26", "2028-12-26", "Christmas Day, a Monday, and the day after it"),
    ("2026-12-01", "2027-01-04", "2027-01-04", "2027-01-04", "New Year's Day, a Friday"),
    ("2025-12-06", "2026-01-07", "2026-01-06", "2026-01-07", "Epiphany"),
]
EXTENDED = [
    ("2026-01-13", "2026-04-13", "2026-04-13", "2026-04-13", "a Monday that is no holiday"),
    ("2026-01-03", "2026-04-07", "2026-04-03", "2026-04-06", "Good Friday"),
    ("2026-01-06", "2026-04-07", "2026-04-07", "2026-04-06", "Easter Monday"),
    ("2025-11-29", "2026-03-02", "2026-03-02", "2026-03-02", "29 to 28 February, a Saturday"),
    ("2027-11-30", "2028-02-29", "2028-02-29", "2028-02-29", "30 to 29 February"),
    ("2026-01-31", "2026-04-30", "2026-04-30", "2026-04-30", "three months at once, not February and two more"),
    ("2026-08-31", "2026-11-30", "2026-11-30", "2026-11-30", "31 to a month of 30 days"),
    ("2028-03-06", "2028-06-07", "2028-06-06", "2028-06-06", "the Swedish National Day"),
    ("2026-04-21", "2026-07-21", "2026-07-22", "2026-07-21", "the Belgian National Day"),
    ("2026-07-12", "2026-10-12", "2026-10-12", "2026-10-13", "the Spanish National Day"),
    ("2026-08-11", "2026-11-11", "2026-11-12", "2026-11-11", "Armistice Day"),
    ("2026-09-25", "2026-12-28", "2026-12-28", "2026-12-28", "Christmas Day, a Friday"),
    ("2026-10-01", "2027-01-04", "2027-01-04", "2027-01-04", "New Year's Day, a Friday"),
]


def cases(table: list[tuple[str, str, str, str, str]]) -> list[object]:
    """One test for each date and country."""
    return [
        pytest.param(received, country, date.fromisoformat(due), id=f"{received}-{country}-{why}")
        for received, *days, why in table
        for country, due in zip(COUNTRIES, days, strict=True)
    ]


def at(day: str, clock: str) -> datetime:
    return datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=UTC)


def test_the_countries_of_the_tables_are_those_of_the_controllers() -> None:
    assert COUNTRIES == ("SE", "BE", "ES")


@pytest.mark.parametrize(("received", "country", "due"), cases(FIRST))
def test_an_answer_is_due_within_a_month_or_on_the_next_working_day(received: str, country: Country, due: date) -> None:
    assert answer_due_on(at(received, "00:00:00"), country) == due
    assert answer_due_on(at(received, "23:59:59"), country) == due


@pytest.mark.parametrize(("received", "country", "due"), cases(EXTENDED))
def test_an_extended_answer_is_due_within_three_months(received: str, country: Country, due: date) -> None:
    assert extended_due_on(at(received, "00:00:00"), country) == due
    assert extended_due_on(at(received, "23:59:59"), country) == due
