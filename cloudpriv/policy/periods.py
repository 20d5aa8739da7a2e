"""Calendar rules of retention periods and of answers to data subjects: pure functions over aware datetimes.

The rules are those of Regulation (EEC, Euratom) No 1182/71, article 3. The day of the event is not counted;
a period of years or months ends with the last hour of the day with the same number, or of the last day of the
month where there is none. A clock period (hours, minutes, seconds) runs to the microsecond.

A day is a day in UTC. Retention is then the same for every account, wherever its devices stand. A deadline
for an answer is never later than by the controllers' own clocks, which are all ahead of UTC: a request of
half past midnight in Halmstad counts as received the day before.
"""

import calendar
import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Literal, TypeAlias, get_args

import holidays

Country: TypeAlias = Literal["SE", "BE", "ES"]
RoundTo: TypeAlias = Literal["end_of_year"]

COUNTRIES: tuple[Country, ...] = get_args(Country)
ROUNDINGS: tuple[RoundTo, ...] = get_args(RoundTo)

# No promise is longer than a century, and so the arithmetic stays within what a datetime can hold.
_CENTURY = timedelta(days=100 * 366)

_NUMBER = "([1-9][0-9]{0,5})"  # no sign, fraction or leading zero: each period is written in one way only
_ISO_8601 = re.compile(
    f"P(?:{_NUMBER}Y)?(?:{_NUMBER}M)?(?:{_NUMBER}W)?(?:{_NUMBER}D)?(?:T(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?"
)


@dataclass(frozen=True, slots=True)
class Period:
    """A positive ISO 8601 duration of one kind: years, months and days, or weeks, or hours, minutes, seconds.

    Raises ValueError when negative, empty, over a century, or a mixture of those three kinds.
    """

    years: int = 0
    months: int = 0
    weeks: int = 0
    days: int = 0
    hours: int = 0
    minutes: int = 0
    seconds: int = 0

    def __post_init__(self) -> None:
        if min(astuple(self)) < 0 or max(astuple(self)) > 999_999:
            raise ValueError("every number of a period is between 0 and 999999")
        if sum(map(bool, (self.years or self.months or self.days, self.weeks, self.clock))) != 1:
            raise ValueError("a period is in years, months and days, or in weeks, or in clock time")
        days = 366 * self.years + 31 * self.months + 7 * self.weeks + self.days
        if timedelta(days=days) + self.clock > _CENTURY:
            raise ValueError("a period is at most a century")

    @property
    def clock(self) -> timedelta:
        """The hours, minutes and seconds; zero for every calendar period."""
        return timedelta(hours=self.hours, minutes=self.minutes, seconds=self.seconds)

    def __str__(self) -> str:
        """The ISO 8601 form: `parse_period(str(period)) == period`."""
        numbers = astuple(self)
        calendar_part = _written(zip(numbers[:4], "YMWD", strict=True))
        clock_part = _written(zip(numbers[4:], "HMS", strict=True))
        return f"P{calendar_part}T{clock_part}" if clock_part else f"P{calendar_part}"


def parse_period(text: str) -> Period:
    """Return the period that an ISO 8601 duration such as `P7Y`, `P6M`, `P45D` or `PT24H` stands for.

    Raises ValueError for anything else: signs, fractions, zeros, blanks, lower case, `P` or `T` with nothing
    after it, and what `Period` refuses.
    """
    found = _ISO_8601.fullmatch(text)
    if found is None or text.endswith(("P", "T")):
        raise ValueError(f"not an ISO 8601 period in whole numbers above zero: {text!r}")
    return Period(*(int(number or 0) for number in found.groups()))


def last_day(anchor: datetime, period: Period, round_to: RoundTo | None = None) -> date:
    """Return the last day (UTC) that belongs to the period counted from `anchor`.

    `end_of_year` prolongs a calendar period to 31 December of the year in which it ends. Raises ValueError
    for a naive anchor, an unknown rounding, and a clock period that should be rounded.
    """
    if round_to is not None and (round_to not in ROUNDINGS or period.clock):
        raise ValueError("only a calendar period is rounded, and only to the end of the year")
    if period.clock:
        return (_in_utc(anchor) + period.clock).date()
    return _last_day(_in_utc(anchor).date(), period, round_to)


def erasable_from(anchor: datetime, period: Period, round_to: RoundTo | None = None) -> datetime:
    """Return the first instant (UTC) at which data kept for `period` after `anchor` may go: never early.

    For a calendar period that is the midnight after its last day; a clock period ends to the microsecond.
    Raises as `last_day` does.
    """
    final_day = last_day(anchor, period, round_to)
    return _in_utc(anchor) + period.clock if period.clock else _midnight(final_day + timedelta(days=1))


def anchor_cutoff(now: datetime, period: Period, round_to: RoundTo | None = None) -> datetime:
    """Return the largest instant (UTC) such that every anchor strictly before it is due at `now`.

    `anchor < anchor_cutoff(now, period)` is exactly `erasable_from(anchor, period) <= now` for anchors of
    microsecond resolution, so one comparison with an indexed column finds what is due. Raises as `last_day`
    does.
    """
    last_day(now, period, round_to)  # refuses what erasable_from refuses
    if period.clock:
        return _in_utc(now) - period.clock + timedelta.resolution
    # The calendar has no plain inverse (seven years from 28 and from 29 February 2020 end on one day), so
    # the first day that is not yet due is searched for: last days never decrease, some twenty steps find it.
    today = _in_utc(now).date()
    days = range(date.min.toordinal(), today.toordinal() + 1)
    due = bisect_left(days, today, key=lambda day: _last_day(date.fromordinal(day), period, round_to))
    return _midnight(date.fromordinal(days[due]))


def answer_due_on(received: datetime, country: Country) -> date:
    """Return the last day to answer a data subject: one month after receipt (GDPR article 12(3)).

    A day that is a Saturday, a Sunday or a public holiday of the controller's country moves to the next
    working day (Regulation 1182/71, article 3(4)). Only holidays of the whole country count: nobody waits
    longer for a regional one. Raises ValueError for a naive time or a country without a controller.
    """
    return _working_day(last_day(received, Period(months=1)), country)


def extended_due_on(received: datetime, country: Country) -> date:
    """Return the last day to answer after an extension by two further months (GDPR article 12(3)).

    The three months run from receipt as one period. The data subject has to be told of the extension, and
    why, no later than on `answer_due_on`. Raises as that does.
    """
    return _working_day(last_day(received, Period(months=3)), country)


def _last_day(day: date, period: Period, round_to: RoundTo | None) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + period.years * 12 + period.months, 12)
    length = calendar.monthrange(year, month + 1)[1]
    end = date(year, month + 1, min(day.day, length)) + timedelta(weeks=period.weeks, days=period.days)
    return end if round_to is None else date(end.year, 12, 31)


def _working_day(day: date, country: Country) -> date:
    while day.weekday() >= calendar.SATURDAY or day in _public_holidays(country, day.year):
        day += timedelta(days=1)
    return day


# Sets that no thread changes: the library's own calendars fill themselves while they are asked. Days that are
# holidays by custom alone (Midsummer Eve) are in another category of the library and stay working days.
@cache
def _public_holidays(country: Country, year: int) -> frozenset[date]:
    if country not in COUNTRIES:
        raise ValueError("no controller is established in this country")
    return frozenset(holidays.country_holidays(country, years=year, expand=False, categories=holidays.PUBLIC))


def _written(parts: Iterable[tuple[int, str]]) -> str:
    return "".join(f"{number}{unit}" for number, unit in parts if number)


def _in_utc(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise ValueError("a time without an offset from UTC is not a point in time")
    return moment.astimezone(UTC)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
