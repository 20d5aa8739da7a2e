"""The readable page of an archive: in the person's language, with plots, without anything that is fetched or run."""

import json
import re
import tomllib
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import pytest
from babel.support import Translations
from sqlalchemy import Engine

from cloudpriv import portal
from cloudpriv.bootstrap import Services
from cloudpriv.mail_templates import LOCALES
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform.classify import exported_columns, exported_tables
from cloudpriv.rights import requests, restriction
from cloudpriv.rights.archive import access_log as archive_log
from cloudpriv.rights.archive import charts, page
from cloudpriv.rights.archive import schemas as archive_schemas
from cloudpriv.rights.archive import texts as archive_texts
from cloudpriv.rights.archive import traffic as archive_traffic
from cloudpriv.rights.archive.charts import Bar, Chart
from cloudpriv.rights.archive.information import NO_AUTOMATED_DECISIONS
from cloudpriv.rights.archive.traffic import LARGEST, Totals, Volume
from tests.exports import IDENTIFIED, make_session, open_archive, run
from tests.factories import make_account, make_device, make_person, transaction
from tests.unit.rights.full_account import full_account

TEMPLATE = Path(page.__file__).with_name("templates") / "index.html"
WORDS = {"en": "Your data", "sv": "Dina uppgifter", "fr": "Vos données", "es": "Sus datos"}


def page_of(services: Services, account_id: UUID, language: str = "en", person_id: UUID | None = None) -> str:
    with transaction(services) as tx:
        asked = requests.receive(
            tx, services.policy, account_id, "access", person_id=person_id, identity=IDENTIFIED, language=language
        )
        export_id = asked.answer.export_id
    run(services, export_id)
    archive = open_archive(services, export_id)
    assert json.loads(archive.read("manifest.json"))["language"] == language
    return archive.read("index.html").decode()


@pytest.mark.parametrize("language", LOCALES)
def test_the_page_is_in_the_language_that_was_asked_for(services: Services, owner_engine: Engine, language: str) -> None:
    made = full_account(services, owner_engine)
    html = page_of(services, made.account_id, language)
    assert f'<html lang="{language}">' in html
    assert WORDS[language] in html
    assert [other for other in LOCALES if other != language and WORDS[other] in html] == []
    assert archive_texts.text("log_data", language) in unescape(html)
    assert NO_AUTOMATED_DECISIONS[language] in html
    assert archive_texts.label("company_name", language) in html


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, Any]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_runs_and_fetches_nothing(services: Services, owner_engine: Engine) -> None:
    made = full_account(services, owner_engine)
    html = page_of(services, made.account_id)
    tags = Tags(html).found
    assert not {"script", "img", "link", "iframe", "object", "form"} & {tag for tag, _ in tags}
    assert not [name for _, attributes in tags for name in attributes if name in ("src", "style") or name.startswith("on")]
    assert not [each["href"] for _, each in tags if "://" in each.get("href", "")]
    assert "url(" not in html
    assert "prefers-color-scheme: dark" in html


def test_plots_are_read_out_and_name_devices_as_the_customer_does(services: Services) -> None:
    account_id = make_account(services).row.account_id
    pump, fan = (make_device(services, account_id, name=name).row.device_id for name in ("Pump <1>", "Fan"))
    for number, device_id in ((1, pump), (2, pump), (1_000_000, fan)):
        make_session(services, account_id, device_id, number, bytes_from_device=number * 1000)
    html = page_of(services, account_id, "sv")
    months, devices = (ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL))  # noqa: S314  our own
    for plot in (months, devices):
        names = plot.attrib["aria-labelledby"].split()
        assert plot.attrib["role"] == "img"
        assert [plot[0].attrib["id"], plot[1].attrib["id"]] == names
        assert all(plot[number].text for number in (0, 1))
    told = [title.text for title in devices.iter("title")]
    assert told[1:] == ["Fan: 1,0 GB", "Pump <1>: 3,0 kB"]
    shown = [title.text for title in months.iter("title")][1:]
    assert (shown[0], shown[1], shown[-1], len(shown)) == ("maj 2026: 3,0 kB", "juni 2026: 0 B", "apr. 2028: 1,0 GB", 24)


@pytest.mark.parametrize(
    ("language", "sign_ins", "connections", "spreadsheet"),
    [
        ("en", "Sign-ins", "Connections", "opens in a spreadsheet"),
        ("sv", "Inloggningar", "Anslutningar", "öppnas i ett kalkylprogram"),
        ("fr", "Sessions", "Connexions", "ouvre dans un tableur"),
        ("es", "Sesiones", "Conexiones", "se abre en una hoja de cálculo"),
    ],
)
def test_the_page_calls_things_as_the_portal_does_and_says_what_it_does_not_show(
    services: Services, language: str, sign_ins: str, connections: str, spreadsheet: str
) -> None:
    account_id = make_account(services).row.account_id
    make_session(services, account_id, make_device(services, account_id).row.device_id)
    html = unescape(page_of(services, account_id, language))
    assert f"<h2>{sign_ins}</h2>" in html
    assert f'<th scope="col" class="number">{connections}</th>' in html
    for file in ("traffic.csv", "access_log.csv"):
        assert re.search(rf"<p>[^<]*{file}[^<]*{spreadsheet}", html)
    told = Translations.load(Path(portal.__file__).with_name("translations"), [language])
    assert (told.gettext("Sign-ins"), told.gettext("Connections")) == (sign_ins, connections)


def test_a_persons_page_says_that_it_is_theirs_and_does_not_name_devices(services: Services) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    device_id = make_device(services, account_id, name="Pump of somebody").row.device_id
    make_session(services, account_id, device_id, person_id=person_id)
    html = page_of(services, account_id, person_id=person_id)
    assert archive_texts.text("intro_person", "en") in html
    assert "Pump of somebody" not in html
    assert str(device_id) in html


def test_of_a_long_table_the_page_shows_the_first_rows_and_says_so(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MOST_ROWS", 2)
    account_id = make_account(services).row.account_id
    for name in ("gate one", "gate two", "gate three"):
        make_device(services, account_id, name=name)
    html = page_of(services, account_id)
    assert ("gate two" in html, "gate three" in html) == (True, False)
    assert "The first 2 are shown; all are in devices.json." in html


def test_article_15_is_answered_with_the_accounts_own_day_and_disclosures(services: Services, owner_engine: Engine) -> None:
    made = full_account(services, owner_engine)
    html = page_of(services, made.account_id)
    assert "Without further traffic, the account and all that belongs to it may be erased from 2 June 2033 on." in html
    assert "Disclosures that were in fact made: 2. They are listed in disclosures.json." in html
    for heading in (
        "controller",
        "purposes",
        "held",
        "recipients",
        "transfers",
        "retention",
        "rights",
        "complaint",
        "source",
    ):
        assert f"<h3>{archive_texts.text(heading, 'en')}</h3>" in html


def test_every_text_and_label_is_there_in_every_language() -> None:
    known = tomllib.loads(Path(archive_texts.__file__).with_name("texts.toml").read_text())
    assert tuple(known["languages"]) == LOCALES
    for kind in ("page", "labels"):
        for name, texts in known[kind].items():
            assert len(texts) == len(LOCALES), name
            assert all(text.strip() for text in texts), name
            places = [set(re.findall(r"{\w+}", text)) for text in texts]
            assert all(each == places[0] for each in places), name
    assert set(NO_AUTOMATED_DECISIONS) == set(LOCALES)


def test_every_text_that_the_template_asks_for_is_there_and_none_is_left_over() -> None:
    code = "".join(each.read_text() for each in (TEMPLATE, Path(page.__file__)))
    known = set(archive_texts.read()["page"])
    used = {name for name in known if f'"{name}"' in code}
    assert set(re.findall(r'\b_\("(\w+)"', TEMPLATE.read_text())) <= known
    assert known == used


def test_no_word_of_the_template_is_outside_the_texts() -> None:
    bare = re.sub(r"<style>.*?</style>|{%.*?%}|{{.*?}}|{#.*?#}", "", TEMPLATE.read_text(), flags=re.DOTALL)
    words = re.findall(r">([^<]*[^\W\d_][^<]*)<", bare)
    assert [word.strip() for word in words if word.strip() not in ("(GDPR ):", ": (GDPR )", "(GDPR )")] == []


def test_whatever_is_shown_has_a_label() -> None:
    names = {name for table in exported_tables(CONTROLLER) for name in exported_columns(table)}
    names |= {table.info["member"].partition(".")[0] for table in exported_tables(CONTROLLER)}
    documents = archive_schemas.document("documents")["$defs"].values()
    names |= {name for document in documents for name in document.get("properties", {})}
    names |= {*archive_log.SHOWN, *archive_traffic.COLUMNS, "access_log", "traffic_by_month"}
    names |= set(archive_schemas.document("manifest")["properties"]) - {"members"}
    assert names - set(archive_texts.read()["labels"]) == set()


def test_totals_keep_the_largest_devices_and_every_month() -> None:
    totals = Totals()
    for number in range(100):
        totals.add(f"2026-{1 + number % 2:02}", Volume(1, number, 0))
        totals.end(f"device-{number:03}", Volume(1, number, 0))
    assert [device for device, _ in totals.largest] == [f"device-{number:03}" for number in range(99, 99 - LARGEST, -1)]
    assert totals.months == {"2026-01": Volume(50, 2450, 0), "2026-02": Volume(50, 2500, 0)}
    assert totals.devices == 100


@pytest.mark.parametrize("values", [[0], [0, 0], [5], list(range(200))])
def test_a_chart_is_well_formed_and_its_bars_fit(values: list[int]) -> None:
    bars = [Bar(f"<{value}>", value, f"{value} & more") for value in values]
    for plot in (charts.columns, charts.rows):
        svg = ElementTree.fromstring(plot(Chart("x", "<title>", "text"), bars))  # noqa: S314  our own
        width, height = map(float, svg.attrib["viewBox"].split()[2:])
        rectangles = list(svg.iter("rect"))
        assert len(rectangles) == len(values)
        for each in rectangles:
            assert 0 <= float(each.attrib["x"]) <= float(each.attrib["x"]) + float(each.attrib["width"]) <= width
            assert 0 <= float(each.attrib["y"]) <= float(each.attrib["y"]) + float(each.attrib["height"]) <= height


@pytest.mark.parametrize(
    ("volume", "language", "shown"),
    [
        (0, "en", "0 B"),
        (999, "sv", "999 B"),
        (1000, "sv", "1,0 kB"),
        (1_250_000, "en", "1.2 MB"),
        (10**16, "fr", "10\u00a0000,0 TB"),
    ],
)
def test_volumes_are_told_in_units_that_people_read(volume: int, language: str, shown: str) -> None:
    assert archive_texts.size(volume, language) == shown


def test_of_a_restricted_account_it_says_that_no_rule_erases_it(services: Services) -> None:
    account_id = make_account(services).row.account_id
    with transaction(services) as tx:
        restriction.restrict_account(tx, account_id)
    html = page_of(services, account_id)
    assert "While the processing is restricted it is not erased by our rule." in html
    assert "Without further traffic" not in html
