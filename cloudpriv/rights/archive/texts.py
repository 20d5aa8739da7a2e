"""The words of an archive's readable page, in the languages of account holders (`texts.toml`)."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from cloudpriv.mail_templates import LOCALES


def language_of(wished: str) -> str:
    """The language of the page for a wish (RFC 5646, by its first subtag); English for one that there is none of."""
    primary = wished.partition("-")[0].lower()
    return primary if primary in LOCALES else LOCALES[0]


def text(name: str, language: str) -> str:
    """A text of the page. Raises KeyError for one that there is not."""
    found: str = read()["page"][name][LOCALES.index(language)]
    return found


def label(name: str, language: str) -> str:
    """What a member of the archive, a column or a member of a document is called; its own name in words, if nothing else."""
    known: list[str] | None = read()["labels"].get(name)
    return name.replace("_", " ").capitalize() if known is None else known[LOCALES.index(language)]


def number(value: int, language: str) -> str:
    """A whole number with its thousands apart, as the language has them."""
    return f"{value:,}".replace(",", "," if language == "en" else "\u00a0")


def size(volume: int, language: str) -> str:
    """Bytes in the largest unit that leaves at least one, to one decimal."""
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if volume >= 1000**power:
            shown = f"{volume / 1000**power:,.1f} {unit}"
            return shown if language == "en" else shown.replace(",", "\u00a0").replace(".", ",")
    return f"{volume} B"


@cache
def read() -> dict[str, Any]:
    """Texts and labels as they are written down; the languages are those of `LOCALES`, in its order."""
    return tomllib.loads(files("cloudpriv.rights.archive").joinpath("texts.toml").read_text(encoding="utf-8"))
