"""The texts of our mails: one TOML file per kind, in every language of `LOCALES`, filled in by `string.Template`.

The texts of a kind differ only in language: all use the same values. A value is put in as one line, so that no name or hint
can pass for a part of our text; a day as the language writes it.
"""

import tomllib
from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any, Final, NamedTuple

LOCALES: Final = ("en", "sv", "fr", "es")  # the first is everybody's whose language is none of these

# A text for everybody, a day, or a text in every language.
Value = str | date | Mapping[str, str]


class Text(NamedTuple):
    """A mail's subject and body as templates."""

    subject: Template
    body: Template


def filled_in(kind: str, locale: str | None, values: Mapping[str, Value]) -> tuple[str, str]:
    """Subject and body of a mail in the language of a language tag (RFC 5646, by its first subtag)."""
    language = _language(locale)
    text = texts(kind)[language]
    lines = {name: " ".join(_worded(value, language).split()) for name, value in values.items()}
    return text.subject.substitute(lines), text.body.substitute(lines)


@cache
def texts(kind: str) -> dict[str, Text]:
    """The texts of a kind of mail by language."""
    found = _read(kind)
    return {locale: Text(Template(found[locale]["subject"]), Template(found[locale]["body"])) for locale in LOCALES}


def written_day(day: date, language: str) -> str:
    """A day as one of `LOCALES` writes it in a sentence, such as `1 March 2027`."""
    words = _read("words")[language]
    number = words.get("first", "1") if day.day == 1 else str(day.day)
    written: str = words["day"].format(day=number, month=words["months"][day.month - 1], year=day.year)
    return written


def country_name(code: str) -> dict[str, str]:
    """A country by its ISO 3166 code. Raises KeyError for one where no controller is established."""
    return {language: words["countries"][code] for language, words in _read("words").items()}


def phrases(name: str, group: str) -> dict[str, dict[str, str]]:
    """Phrases that mails put in, from a file of such: each of a group, by its key, in every language."""
    words = _read(name)
    return {key: {locale: words[locale][group][key] for locale in LOCALES} for key in words[LOCALES[0]][group]}


def _worded(value: Value, language: str) -> str:
    if isinstance(value, date):
        return written_day(value, language)
    return value if isinstance(value, str) else value[language]


@cache
def _read(name: str) -> dict[str, dict[str, Any]]:
    return tomllib.loads(files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def _language(locale: str | None) -> str:
    language = (locale or "").partition("-")[0].lower()
    return language if language in LOCALES else LOCALES[0]
