"""The texts of our mails: one TOML file per kind, in every language of `LOCALES`, filled in by `string.Template`.

The texts of a kind differ only in language: all use the same values. A value is put in as one line, so that no name or hint
can pass for a part of our text.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from string import Template
from typing import Final, NamedTuple

LOCALES: Final = ("en", "sv", "fr", "es")  # the first is everybody's whose language is none of these


class Text(NamedTuple):
    """A mail's subject and body as templates."""

    subject: Template
    body: Template


def filled_in(kind: str, locale: str | None, values: Mapping[str, str]) -> tuple[str, str]:
    """Subject and body of a mail in the language of a language tag (RFC 5646, by its first subtag)."""
    text = texts(kind)[_language(locale)]
    lines = {name: " ".join(value.split()) for name, value in values.items()}
    return text.subject.substitute(lines), text.body.substitute(lines)


@cache
def texts(kind: str) -> dict[str, Text]:
    """The texts of a kind of mail by language."""
    source = files(__name__).joinpath(f"{kind}.toml").read_text(encoding="utf-8")
    found = tomllib.loads(source)
    return {locale: Text(Template(found[locale]["subject"]), Template(found[locale]["body"])) for locale in LOCALES}


def _language(locale: str | None) -> str:
    language = (locale or "").partition("-")[0].lower()
    return language if language in LOCALES else LOCALES[0]
