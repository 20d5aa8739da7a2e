"""One word for one thing: the words of docs/translations.md, in all texts of each language."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from babel.messages.pofile import read_po

from cloudpriv.policy.register import IN_FORCE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/translations.md"
FILES = [
    IN_FORCE,
    *sorted((ROOT / "cloudpriv/mail_templates").glob("*.toml")),
    ROOT / "cloudpriv/rights/consents/texts.toml",
]
NAMES = {"Swedish": "sv", "French": "fr", "Spanish": "es"}


def words() -> list[dict[str, str]]:
    """The rows of the page's table of words, by the names of its columns."""
    lines = PAGE.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| English |"))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[first:] if line.startswith("|")]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def shunned() -> list[tuple[str, str]]:
    """Language and word of what is not said."""
    found = [each for row in words() for each in row["not"].split(";") if each.strip()]
    return [(language.strip(), word.strip()) for language, word in (each.split(":") for each in found)]


def texts(value: Any, language: str, inside: bool = False) -> Iterator[str]:
    """The texts of a language within TOML values."""
    if isinstance(value, str) and inside:
        yield value
    for name, each in value.items() if isinstance(value, Mapping) else ():
        yield from texts(each, language, inside or name == language)
    for each in value if isinstance(value, list) else ():
        yield from texts(each, language, inside)


def archive_texts(language: str) -> Iterator[str]:
    """The words of an archive's page, which stand in lists by language."""
    read = tomllib.loads((ROOT / "cloudpriv/rights/archive/texts.toml").read_text())
    position = read.pop("languages").index(language)
    return (each[position] for table in read.values() for each in table.values())


@cache
def said(language: str) -> str:
    """Every text of a language, in lower case and with plain spaces."""
    with (ROOT / f"cloudpriv/portal/translations/{language}/LC_MESSAGES/messages.po").open("rb") as file:
        written = [each.string for each in read_po(file)]
    pages = [form for each in written for form in ([each] if isinstance(each, str) else each or ())]
    others = [text for path in FILES for text in texts(tomllib.loads(path.read_text()), language)]
    return "\n".join(re.sub(r"\s+", " ", text) for text in (*pages, *others, *archive_texts(language))).casefold()


@pytest.mark.parametrize("name", NAMES)
def test_every_word_of_the_glossary_is_in_use(name: str) -> None:
    assert len(words()) > 20
    assert [row[name] for row in words() if row[name].casefold() not in said(NAMES[name])] == []


@pytest.mark.parametrize(("language", "word"), shunned())
def test_a_word_that_has_a_better_one_is_said_nowhere(language: str, word: str) -> None:
    found = [text for text in said(language).split("\n") if word.casefold() in text]
    assert found == [], f"see {PAGE.name}"
