"""The texts of mails as they are sent: no line is too long, whatever the values, and who is to sign in is told where."""

import re
from importlib.resources import files
from itertools import pairwise

import pytest

from cloudpriv import mail_templates
from cloudpriv.mail_templates import COLUMNS, LOCALES

KINDS = sorted(
    file.name.removesuffix(".toml")
    for file in files(mail_templates).iterdir()
    if file.name.endswith(".toml") and file.name not in ("words.toml", "request_words.toml")
)
LONG = "Aktiebolaget Västsvenska Vatten och Avlopp i Göteborg med omnejd, filial Spanien"
LINKS = {"portal": "https://cloud.example/portal/", "link": f"https://cloud.example/portal/consents/confirm/{'a' * 80}"}
SIGN_IN = re.compile(r"\b(portal|portalen|portail)\b|where you sign in", re.IGNORECASE)


def body(kind: str, language: str, value: str) -> str:
    template = mail_templates.texts(kind)[language]
    names = {*template.subject.get_identifiers(), *template.body.get_identifiers()}
    _, text = mail_templates.filled_in(kind, language, {name: LINKS.get(name, value) for name in names})
    return text


@pytest.mark.parametrize("language", LOCALES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", ["x", "den 1 november 2026", LONG, f"{LONG} {LONG}", "W" * 60, "a " * 60])
def test_no_line_of_a_mail_is_too_long(kind: str, language: str, value: str) -> None:
    for line in body(kind, language, value).splitlines():
        assert len(line) <= COLUMNS or " " not in line.strip() or "https://" in line, line
        assert line == line.rstrip()


@pytest.mark.parametrize("language", LOCALES)
@pytest.mark.parametrize("kind", KINDS)
def test_wrapping_loses_no_word_and_keeps_the_paragraphs(kind: str, language: str) -> None:
    text = mail_templates.texts(kind)[language].body
    values = {name: LINKS.get(name, LONG) for name in text.get_identifiers()}
    whole, sent = text.substitute(values), body(kind, language, LONG)
    assert sent.split() == whole.split()
    assert [each.split() for each in sent.split("\n\n")] == [each.split() for each in whole.split("\n\n")]


def test_a_line_that_is_too_long_goes_on_in_the_next_and_below_its_value() -> None:
    text = mail_templates.filled_in("request_received", "en", {
        **dict.fromkeys(("service", "greeted", "received_on", "answer", "number", "controller", "address", "country"), "x"),
        "portal": LINKS["portal"], "account": "acme", "about": "your own data", "asked": LONG,
    })[1]  # fmt: skip
    assert (
        "\n    What was asked    Aktiebolaget Västsvenska Vatten och Avlopp i Göteborg\n" + " " * 22 + "med omnejd" in text
    )
    assert f"\n    {LINKS['portal']}\n" in text


@pytest.mark.parametrize("language", LOCALES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_mail_that_speaks_of_the_portal_has_its_address(kind: str, language: str) -> None:
    template = mail_templates.texts(kind)[language].body.template
    if SIGN_IN.search(template.replace("$portal", "")):
        assert re.search(r"^ +\$portal$", template, re.MULTILINE)


def test_every_mail_about_a_request_of_somebody_who_stays_has_the_address_of_the_portal() -> None:
    having = {kind for kind in KINDS if "portal" in mail_templates.texts(kind)["en"].body.get_identifiers()}
    assert having >= {
        *("request_identity", "request_received", "request_extended", "request_completed", "request_refused"),
        *("request_withdrawn", "owner_waiting", "password_changed", "consent_receipt", "policy_change", "closing_begun"),
        *("closing_undone", "restriction_ends"),
    }


def test_what_a_line_has_too_much_begins_the_next_line_of_its_paragraph() -> None:
    values = {"greeted": "Kim", "service": "Talk2M", "account": LONG, "portal": LINKS["portal"]}
    text = mail_templates.filled_in("password_changed", "en", values)[1]
    paragraph = next(each for each in text.split("\n\n") if each.startswith("If it was you")).splitlines()
    shortest = min(len(line) + 1 + len(below.split()[0]) for line, below in pairwise(paragraph))
    assert shortest > COLUMNS, "every line but the last is as full as it can be"
