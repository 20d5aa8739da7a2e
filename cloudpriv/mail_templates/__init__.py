"""The texts of our mails: one TOML file per kind, in every language of `LOCALES`, filled in by `string.Template`.

The texts of a kind differ only in language: all use the same values. A value is put in as one line, so that no name or hint
can pass for a part of our text; a day as the language writes it. With its values in, a text is wrapped.
"""

import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any, Final, NamedTuple

LOCALES: Final = ("en", "sv", "fr", "es")  # the first is everybody's whose language is none of these

COLUMNS: Final = 76  # of a line, but for a word that is longer, such as a link
VALUES_ALONE: Final = re.compile(r"(\s*\$\w+[,.]?)+")  # an address, a link
BESIDE: Final = re.compile(r"\s*\S.*?\s{2,}(?=\S)")  # what stands before a value in a table

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
    return text.subject.substitute(lines), "".join(f"{line}\n" for line in _wrapped(text.body.template, lines))


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


def _wrapped(text: str, values: Mapping[str, str]) -> Iterator[str]:
    """The lines of a text with its values. What a line has too much goes on in the next one of the same paragraph."""
    rest = ""
    for template in text.splitlines():
        line, indent = Template(template).substitute(values), _indent(template)
        alone = VALUES_ALONE.fullmatch(template) is not None or BESIDE.match(template) is not None
        if rest and (alone or not line or indent != _indent(rest)):
            yield rest
            rest = ""
        *full, last = _folded(f"{rest} {line.lstrip()}" if rest else line, BESIDE.match(template))
        yield from full
        rest = last if full and not alone else ""
        if not rest:
            yield last
    if rest:
        yield rest


def _folded(line: str, beside: re.Match[str] | None) -> list[str]:
    """A line as one or more, further ones below the value or the beginning of the first; no word is parted."""
    below = beside.end() if beside else len(_indent(line))
    folded = textwrap.wrap(
        line.strip(), COLUMNS, initial_indent=_indent(line), subsequent_indent=" " * below,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return folded or [""]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" "))]


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
