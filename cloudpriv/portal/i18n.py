"""The reader's language: which one it is, and how dates, numbers and sizes are written in it. All times are UTC.

The language is the one chosen on the page, else the person's own, else the best of those that the browser asks for.
"""

from datetime import date, datetime, timedelta
from typing import Final

from babel import Locale, dates, lists, numbers, units
from flask import Flask, g, request
from flask_babel import Babel, get_locale, refresh
from markupsafe import Markup

from cloudpriv.policy.periods import Period
from cloudpriv.portal import cookies

LANGUAGES: Final = {"en": "English", "sv": "Svenska", "fr": "Français", "es": "Español"}
LASTS: Final = timedelta(days=365)  # a language that was chosen on the page
# How a language's dates are written where it has several ways: English as most of its readers in Europe write them.
REGIONS: Final = {"en": "en_GB"}
PREFERRED: Final = "portal_language"
SIZES: Final = ("byte", "kilobyte", "megabyte", "gigabyte", "terabyte", "petabyte")


def install(app: Flask, directory: str) -> None:
    """Have texts translated by the catalogues in `directory`."""
    Babel(app, configure_jinja=False, default_translation_directories=directory, locale_selector=_select)


def prefer(tag: str | None) -> None:
    """Read the rest of this request in a person's language (RFC 5646), unless another one was chosen on the page."""
    setattr(g, PREFERRED, spoken(tag))
    refresh()


def spoken(tag: str | None) -> str | None:
    """The language of the portal that a tag names, if there is one."""
    primary = (tag or "").replace("_", "-").partition("-")[0].lower()
    return primary if primary in LANGUAGES else None


def language() -> str:
    """The language of this request, as `lang` names it."""
    return locale().language


def locale() -> Locale:
    """The locale of this request; English outside of one."""
    return get_locale() or Locale.parse(REGIONS["en"])


def day(value: date) -> Markup:
    """A day, or the day of a time, in words that machines read too."""
    written = dates.format_date(value, format="long", locale=locale())
    return _timed(f"{value:%Y-%m-%d}", written)


def moment(value: datetime) -> Markup:
    """A time to the minute, in UTC."""
    return _timed(_machine(value), _at(value, "Hm"))


def second(value: datetime) -> Markup:
    """A time to the second, in UTC."""
    return _timed(_machine(value), _at(value, "Hms"))


def month(value: str) -> str:
    """A month of the form YYYY-MM in words."""
    return dates.format_skeleton("yMMM", date.fromisoformat(f"{value}-01"), locale=locale())


def number(value: int) -> str:
    """A number with its thousands apart."""
    return numbers.format_decimal(value, locale=locale())


def size(value: int) -> str:
    """A number of bytes in the largest decimal unit that leaves at least one."""
    power = 0
    shown = float(value)
    while shown >= 999.95 and power < len(SIZES) - 1:
        shown, power = shown / 1000, power + 1
    if not power:  # a short byte has no plural in English
        return units.format_unit(value, "digital-byte", length="long", locale=locale())
    return units.format_unit(shown, f"digital-{SIZES[power]}", length="short", format="#,##0.#", locale=locale())


def duration(seconds: float) -> str:
    """How long something took, in the two largest of its units that are not zero."""
    left, parts = int(seconds), []
    for unit, length in (("duration-day", 86400), ("duration-hour", 3600), ("duration-minute", 60), ("duration-second", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(units.format_unit(count, unit, length="short", locale=locale()))
    return " ".join(parts[:2]) or units.format_unit(0, "duration-second", length="short", locale=locale())


def period(value: Period) -> str:
    """A period of the policy, such as seven years."""
    parts = [(count, name) for name in ("years", "months", "weeks", "days") if (count := getattr(value, name))]
    written = [units.format_unit(count, f"duration-{name[:-1]}", length="long", locale=locale()) for count, name in parts]
    return lists.format_list(written, locale=locale()) if written else duration(value.clock.total_seconds())


def _select() -> str:
    chosen = cookies.read(cookies.LANGUAGE)
    if chosen not in LANGUAGES:
        chosen = g.get(PREFERRED) or request.accept_languages.best_match(list(LANGUAGES)) or "en"
    return REGIONS.get(chosen, chosen)


def _at(value: datetime, clock: str) -> str:
    """Day and time of day as the language puts them together."""
    day_, time_ = (dates.format_skeleton(each, value, locale=locale()) for each in ("yMMMd", clock))
    together: str = locale().datetime_formats["medium"].format(time_, day_)
    return f"{together} UTC"


def _machine(value: datetime) -> str:
    return f"{value:%Y-%m-%dT%H:%M:%SZ}"


def _timed(machine: str, written: str) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(machine, written)
