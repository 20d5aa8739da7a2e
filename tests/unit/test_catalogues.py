"""The portal's texts: every one stands in every language, and each language in its own marks.

`make messages` gathers what is new; what it finds is to be translated before this passes again.
"""

import re
import subprocess
import sys
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from cloudpriv.portal.i18n import LANGUAGES

ROOT = Path(__file__).parents[2]
CATALOGUES = ROOT / "cloudpriv/portal/translations"
TRANSLATED = [language for language in LANGUAGES if language != "en"]
# Texts that are the same word in English and in a language.
SAME_WORD = {
    "sv": {"Person"},
    "fr": {"Code", "Menu", "Pages", "Service"},
    "es": {"Error:", "No"},
}
# By which other names than their own the functions that take a text may be imported; the Makefile names the new ones.
ALIASES = {"gettext": "_", "lazy_gettext": "_l"}
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%%")
MARKUP = re.compile(r"</?\w+[^>]*>")


def file_of(language: str, ending: str) -> Path:
    return CATALOGUES / language / "LC_MESSAGES" / f"messages.{ending}"


@cache
def catalogue(language: str) -> Catalog:
    with file_of(language, "po").open("rb") as file:
        return read_po(file, locale=language)


def messages(catalog: Catalog) -> list[Message]:
    return [message for message in catalog if message.id]


def forms(text: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    """A text in its one form or its several, by number."""
    return (text,) if isinstance(text, str) else tuple(text or ())


def keys(catalog: Catalog) -> set[tuple[str | None, tuple[str, ...]]]:
    return {(message.context, forms(message.id)) for message in messages(catalog)}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """What `make messages` finds in the portal's code and templates."""
    path = tmp_path_factory.mktemp("messages") / "messages.pot"
    pybabel = [sys.executable, "-m", "babel.messages.frontend", "-q", "extract"]
    options = ["--mapping-file", "babel.cfg", "--keywords", "_l lazy_gettext", "--output-file", str(path), "."]
    subprocess.run([*pybabel, *options], cwd=ROOT, check=True)
    with path.open("rb") as file:
        return read_po(file)


def test_every_text_of_the_portal_is_gathered(sources: Catalog) -> None:
    assert {(None, ("Overview",)), (None, ("Privacy notice",))} <= keys(sources)
    imports = re.compile(r"^from flask_babel import (\w+) as (\w+)", re.MULTILINE)
    for path in (ROOT / "cloudpriv/portal").rglob("*.py"):
        assert all(ALIASES[name] == alias for name, alias in imports.findall(path.read_text())), path.name


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_catalogue_has_the_texts_of_the_portal_and_no_others(language: str, sources: Catalog) -> None:
    assert keys(catalogue(language)) == keys(sources)
    assert not catalogue(language).obsolete


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_is_translated_in_every_form_and_none_by_a_guess(language: str) -> None:
    wanting = [
        message.id
        for message in messages(catalogue(language))
        if message.fuzzy or not all(form.strip() for form in forms(message.string) or ("",))
        or len(forms(message.string)) != (catalogue(language).num_plurals if message.pluralizable else 1)
    ]  # fmt: skip
    assert wanting == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_is_filled_in_with_the_same_values(language: str) -> None:
    for message in messages(catalogue(language)):
        wanted, found = forms(message.id), forms(message.string)
        for pattern in (PLACEHOLDER, MARKUP):
            assert sorted(pattern.findall(wanted[-1])) == sorted(pattern.findall(found[-1])), message.id
            assert all(set(pattern.findall(form)) <= set(pattern.findall(wanted[-1])) for form in found), message.id


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_begins_and_ends_as_its_text_does(language: str) -> None:
    for message in messages(catalogue(language)):
        wanted = forms(message.id)[-1]
        for form in forms(message.string):
            assert form == form.strip() or wanted != wanted.strip(), message.id
            assert re.findall(r"[.:?!…]$", form) == re.findall(r"[.:?!…]$", wanted), message.id
            assert form[0].isupper() == wanted[0].isupper() or not (form[0].isalpha() and wanted[0].isalpha()), message.id


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_translation_is_a_copy_of_the_english_text(language: str) -> None:
    copied = {forms(each.id)[0] for each in messages(catalogue(language)) if forms(each.id) == forms(each.string)}
    assert {text for text in copied if re.search(r"[a-z]{2}", PLACEHOLDER.sub("", text))} <= SAME_WORD[language]


@pytest.mark.parametrize(
    ("language", "faults"),
    [
        ("sv", r"['\"]|\bNi\b|\bEr\b"),
        ("fr", r"'|\"|[^\u00a0][:;?!»](\s|$)|«[^\u00a0]|\b[Tt]u\b|\b[Tt]on\b"),
        ("es", r"'|\"|«\s|\s»|^[^¿]*\?|^[^¡]*!|\b[Tt]ú\b|\bvosotros\b"),
    ],
)
def test_each_language_is_written_with_its_own_marks_and_form_of_address(language: str, faults: str) -> None:
    written = [form for message in messages(catalogue(language)) for form in forms(message.string)]
    assert [form for form in written if re.search(faults, MARKUP.sub("", form))] == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_what_is_read_at_run_time_is_compiled_from_the_catalogue(language: str) -> None:
    compiled = BytesIO()
    write_mo(compiled, catalogue(language))
    assert file_of(language, "mo").read_bytes() == compiled.getvalue(), "run `make messages`"
