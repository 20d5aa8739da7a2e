"""The values of the readable page in words: none of a closed set is left as a code, in any language."""

import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from html import unescape
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from sqlalchemy import Engine

from cloudpriv.bootstrap import Services
from cloudpriv.mail_templates import LOCALES
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform.actor import SERVICES, Kind
from cloudpriv.platform.classify import exported_categories, exported_columns, exported_tables
from cloudpriv.platform.ids import new_id
from cloudpriv.policy.schema import Recipient
from cloudpriv.rights import disclosures, letters, restriction
from cloudpriv.rights import requests as subject_requests
from cloudpriv.rights.archive import schemas as archive_schemas
from cloudpriv.rights.archive import texts as archive_texts
from cloudpriv.rights.archive import words as archive_words
from cloudpriv.rights.articles import cited
from cloudpriv.rights.cases.grounds import GROUNDS
from cloudpriv.rights.consents import records as consent_records
from cloudpriv.rights.consents.history import LASTS
from tests.factories import NOW
from tests.unit.rights.archive.test_page import page_of
from tests.unit.rights.full_account import full_account

ROLES = get_args(get_type_hints(Recipient)["role"])
# Closed sets that no constraint of the database lists: member of the archive, name, values.
BY_CODE: list[tuple[str, str, tuple[str, ...]]] = [
    ("account", "service", SERVICES),
    ("account", "restricted_for", get_args(restriction.Cause)),
    ("people", "restricted_for", get_args(restriction.Cause)),
    ("account", "restriction_end_ground", restriction.GROUNDS),
    ("people", "restriction_end_ground", restriction.GROUNDS),
    ("people", "locale", LOCALES),
    ("manifest", "language", LOCALES),
    ("manifest", "scope", ("account", "person")),
    ("requests", "identity_method", get_args(subject_requests.Method)),
    ("requests", "identity_verified_by", get_args(Kind)),
    ("requests", "outcome", tuple(letters.OUTCOMES)),
    ("requests", "reason", tuple(letters.REASONS)),
    ("requests", "language", LOCALES),
    ("disclosures", "safeguard", disclosures.SAFEGUARDS),
    ("disclosures", "categories", tuple(sorted(exported_categories(CONTROLLER)))),
    ("recipient_notices", "categories", tuple(sorted(exported_categories(CONTROLLER)))),
    ("consents", "method", get_args(consent_records.Method)),
    ("consents", "party_role", (*ROLES, "pii_controller", "authority")),
    ("consents", "title", (consent_records.CONSENT["title"],)),
    ("consents", "event_type", ("explicit",)),
    ("consents", "validity_duration", (f"P{LASTS.days}D",)),
    ("consents", "language", LOCALES),
    ("consents", "privacy_notice_language", LOCALES),
]


def by_constraint() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for table in exported_tables(CONTROLLER):
        for name, column in exported_columns(table).items():
            listed = tuple(dict.fromkeys(archive_schemas.listed(table, column)))
            if listed and (table.name, name) != ("requests", "ground"):
                yield table.info["member"].partition(".")[0], name, listed


CLOSED = [*by_constraint(), *BY_CODE]


def worded(tongue: str, member: str, **row: Any) -> dict[str, Any]:
    return archive_words.worded(tongue, member, row)


def test_the_database_lists_closed_sets() -> None:
    assert ("requests", "status") in {(member, name) for member, name, _ in by_constraint()}
    assert len(list(by_constraint())) >= 10


@pytest.mark.parametrize("language", LOCALES)
@pytest.mark.parametrize(("member", "name", "values"), CLOSED, ids=lambda each: each if isinstance(each, str) else "")
def test_every_value_of_every_closed_set_has_words(member: str, name: str, values: tuple[str, ...], language: str) -> None:
    known = archive_words.words(archive_words.set_of(member, name) or "")
    assert set(values) <= set(known)
    shown = [worded(language, member, **{name: value})[name] for value in values]
    assert shown == [known[value][language] for value in values]
    assert len(set(shown)) == len(set(values)), "two values cannot be told apart"
    assert not [each for each in shown if "_" in each or not each.strip()]


@pytest.mark.parametrize("language", LOCALES)
@pytest.mark.parametrize(("ground", "type_"), [(ground, type_) for ground in GROUNDS for type_ in GROUNDS[ground]])
def test_every_ground_is_worded_with_its_article(ground: str, type_: str, language: str) -> None:
    shown = worded(language, "requests", ground=ground, type=type_)["ground"]
    number = re.match(r"\d+", GROUNDS[ground][type_])
    assert number is not None
    assert shown.startswith(archive_words.words("grounds")[ground][language])
    assert re.search(rf"\(.*{number[0]}", shown)


def test_the_values_are_there_in_every_language_and_those_that_are_no_names_differ() -> None:
    known = tomllib.loads(Path(archive_words.__file__).with_name("values.toml").read_text())
    assert tuple(known.pop("languages")) == LOCALES
    assert {*known} == {*archive_words.SETS.values(), "yes_no", "at"} - {*archive_words.OF_LETTERS, "services", "purposes"}
    for name, values in known.items():
        for value, texts in values.items():
            assert len(texts) == len(LOCALES), (name, value)
            assert all(text.strip() for text in texts), (name, value)


@pytest.mark.parametrize(
    ("language", "moment", "day"),
    [
        ("en", "1 June 2026, 12:05:09 UTC", "1 June 2026"),
        ("sv", "den 1 juni 2026 kl. 12:05:09 UTC", "den 1 juni 2026"),
        ("fr", "1er juin 2026 à 12:05:09 UTC", "1er juin 2026"),
        ("es", "1 de junio de 2026, 12:05:09 UTC", "1 de junio de 2026"),
    ],
)
def test_times_and_days_are_as_the_language_writes_them(language: str, moment: str, day: str) -> None:
    at = datetime(2026, 6, 1, 12, 5, 9, tzinfo=UTC)
    row = worded(
        language, "x", created_at=at, event_time="2026-06-01T12:05:09.123456Z", valid_from="2026-06-01", on=date(2026, 6, 1)
    )
    assert row == {"created_at": moment, "event_time": moment, "valid_from": day, "on": day}


@pytest.mark.parametrize(
    ("language", "country", "jurisdiction", "month"),
    [
        ("en", "United States", "Sweden", "Jan 2026"),
        ("sv", "USA", "Sverige", "jan. 2026"),
        ("fr", "États-Unis", "Suède", "janv. 2026"),
        ("es", "Estados Unidos", "Suecia", "ene 2026"),
    ],
)
def test_countries_and_months_have_the_languages_names(language: str, country: str, jurisdiction: str, month: str) -> None:
    assert worded(language, "disclosures", country="US") == {"country": country}
    assert worded(language, "consents", jurisdiction="SE") == {"jurisdiction": jurisdiction}
    assert worded(language, "disclosures", country="ZZ9") == {"country": "ZZ9"}
    assert archive_words.month(language, "2026-01") == month


def test_what_somebody_wrote_stays_as_it_is_written() -> None:
    said = {"text": "refused", "restrict": True, "outcome": "We wrote to you.", "changes": {"name": "2026-06-01"}}
    shown = worded("sv", "requests", details={**said, "fields": ["email"]})["details"]
    assert shown == {**said, "restrict": "ja", "fields": ["E-post"]}
    assert worded("sv", "devices", identity={"name": "active"}, kind="told") == {
        "identity": {"name": "active"},
        "kind": "told",
    }
    assert worded("sv", "requests", received_at="when it rained", mails=3, ground=None) == {
        "received_at": "when it rained",
        "mails": 3,
        "ground": None,
    }


@pytest.mark.parametrize("language", LOCALES)
def test_no_code_and_no_time_of_machines_is_on_the_page(services: Services, owner_engine: Engine, language: str) -> None:
    made = full_account(services, owner_engine)
    pages = (page_of(services, made.account_id, language, who) for who in (None, made.people["kim"]))
    html = unescape("".join(pages))
    shown = {each.strip() for each in re.findall(r"<(?:dd|li)>([^<]*)</", html)}
    codes = {value for _, _, values in CLOSED for value in values} | {"True", "False", "manifestly_unfounded"}
    sets = {archive_words.set_of(member, name) or "" for member, name, _ in CLOSED}
    words = {each[language] for name in sets for each in archive_words.words(name).values()}
    assert (shown & codes) - words == set()
    machines = {each for each in shown if re.fullmatch(r"\d{4}-\d\d-\d\d.*", each)}
    assert machines - {services.policy.version} == set()
    assert archive_words.moment(language, NOW) in shown
    assert f"({cited('12(5)(b)', language)})" in html
    assert archive_words.words("notice_status")["impossible"][language] in shown


def test_every_name_within_a_record_of_consent_has_a_label(services: Services) -> None:
    told = consent_records.offer(services.policy, "talk2m", "surveys", "sv")
    record = {
        **consent_records.header(new_id(), new_id(), services.policy),
        **consent_records.processing(told),
        "event": consent_records.event("given", "portal", NOW, "x"),
    }
    assert set(_names(worded("sv", "consents", record=record))) - set(archive_texts.read()["labels"]) == set()


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(each)
