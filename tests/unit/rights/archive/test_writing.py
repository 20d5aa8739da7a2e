"""What is in an archive, and what never is."""

import base64
import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from html.parser import HTMLParser
from io import StringIO
from typing import Any
from uuid import UUID
from zipfile import ZipFile

import pytest
from sqlalchemy import Column, Engine, Table, Text, Uuid, insert, select, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import credentials
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform.classify import (
    CLOUD_SERVICES,
    Category,
    Classification,
    Erasure,
    about,
    classification_of,
    exported_columns,
    exported_tables,
)
from cloudpriv.platform.passwords import Passwords
from tests.exports import ask, make_session, open_archive, run
from tests.factories import make_account, make_device, make_person, transaction

HINT = "the name of my first dog"


def export(services: Services, account_id: UUID) -> ZipFile:
    export_id = ask(services, account_id)
    run(services, export_id)
    return open_archive(services, export_id)


@pytest.fixture
def account_id(services: Services) -> UUID:
    """An account with something in every table."""
    account = make_account(services, account_name="acme-canary").row.account_id
    person = make_person(
        services, account, username="kim", phones=["+46 70 000 00 00"], name="Kim <script>alert(1)</script>"
    )
    device = make_device(services, account, serial="1234-0042-24")
    password_hash = Passwords(time_cost=1, memory_kib=8, parallelism=1, concurrency=1).hash("correct horse battery")
    with transaction(services) as tx:
        credentials.set_credentials(tx, account, person.row.person_id, password_hash, HINT)
    make_session(services, account, device.row.device_id, 2, person_id=person.row.person_id, protocol="=1+1")
    make_session(services, account, device.row.device_id, 1, remote_address="2001:db8::1", end_reason='said "bye", left')
    make_session(services, account, device.row.device_id, 3, ended_at=None, end_reason="bye", protocol="\t@SUM(A1)")
    return account


def test_every_member_is_as_the_manifest_says(services: Services, account_id: UUID) -> None:
    archive = export(services, account_id)
    manifest = json.loads(archive.read("manifest.json"))
    assert [each["name"] for each in manifest["members"]] == archive.namelist()[:-2]
    assert archive.namelist()[-2:] == ["manifest.json", "manifest.jws"]
    described = [each["name"] for each in manifest["members"] if each["name"].startswith("schemas/")]
    assert {each["schema"] for each in manifest["members"]} == {None, *described} - {"schemas/manifest.schema.json"}
    tables = [each for each in manifest["members"] if each["name"] not in described]
    assert {each["name"]: each["rows"] for each in tables} == {
        "account.json": 1, "people.json": 1, "devices.json": 1, "credentials.json": 1, "requests.json": 1, "traffic.csv": 3,
        "notices.json": 0, "processing.json": None, "index.html": None, "sessions.json": 0, "consents.json": 0,
        "disclosures.json": 0, "recipient_notices.json": 0, "owner_replacements.json": 0, "policy_announcements.json": 0,
        "traffic_by_month.csv": 1, "access_log.csv": archive.read("access_log.csv").count(b"\n") - 1,
    }  # fmt: skip
    for each in manifest["members"]:
        content = archive.read(each["name"])
        assert (len(content), sha256(content).hexdigest()) == (each["bytes"], each["sha256"]), each["name"]
    assert (manifest["account_id"], manifest["policy_version"]) == (str(account_id), services.policy.version)


def test_what_was_sealed_is_shown_opened(services: Services, account_id: UUID) -> None:
    archive = export(services, account_id)
    assert json.loads(archive.read("account.json"))["profile"] == {
        "account_name": "acme-canary",
        "company_name": "Acme Water Ltd",
        "company_id": "SE556000-0001",
    }
    (person,) = json.loads(archive.read("people.json"))
    assert person["role"] == "owner"
    assert person["identity"]["phones"] == ["+46 70 000 00 00"]
    assert json.loads(archive.read("devices.json"))[0]["identity"]["serial"] == "1234-0042-24"


def test_traffic_is_in_order_of_time_and_no_cell_is_a_formula(services: Services, account_id: UUID) -> None:
    archive = export(services, account_id)
    rows = list(csv.DictReader(StringIO(archive.read("traffic.csv").decode())))
    assert [row["bytes_to_device"] for row in rows] == ["2", "4", "6"]
    assert rows[0]["started_at"] == "2026-05-31T00:01:00Z"
    assert (rows[0]["remote_address"], rows[0]["end_reason"], rows[0]["person_id"]) == (
        "2001:db8::1",
        'said "bye", left',
        "",
    )
    assert [row["protocol"] for row in rows] == ["", "'=1+1", "'\t'@SUM(A1)"]
    assert rows[2]["ended_at"] == ""
    assert all(len(bytes.fromhex(row["session"])) == 16 for row in rows)


def test_no_hash_hint_or_key_is_anywhere_in_the_archive(services: Services, account_id: UUID, owner_engine: Engine) -> None:
    archive = export(services, account_id)
    everything = b"\n".join(archive.read(name) for name in archive.namelist()).decode()
    assert "acme-canary" in everything  # what is looked for would be found
    secrets = [HINT, "argon2", *secret_values(owner_engine)]
    assert len(secrets) > 20
    assert [secret for secret in secrets if secret in everything] == []


def secret_values(owner: Engine) -> Iterator[str]:
    """Every withheld value of bytes, in the forms in which it could have slipped in."""
    with owner.connect() as connection:
        for table in CONTROLLER.sorted_tables:
            shown = exported_columns(table).values()
            for column in (column for column in table.columns if column not in set(shown)):
                for value in connection.scalars(select(column).where(column.is_not(None))):
                    if isinstance(value, bytes):
                        yield from (value.hex(), base64.b64encode(value).decode(), base64.urlsafe_b64encode(value).decode())


def test_an_account_with_nothing_in_it_is_exported(services: Services) -> None:
    archive = export(services, make_account(services).row.account_id)
    assert json.loads(archive.read("people.json")) == []
    assert len(archive.read("traffic.csv").splitlines()) == 1
    assert "None." in archive.read("index.html").decode()


def test_nothing_of_another_account_is_in_it(services: Services, account_id: UUID) -> None:
    other = make_account(services, account_name="the-neighbour").row.account_id
    make_session(services, other, make_device(services, other, serial="9999-0001-24").row.device_id, 50)
    archive = export(services, account_id)
    everything = b"".join(archive.read(name) for name in archive.namelist()).decode()
    assert not [secret for secret in (str(other), "the-neighbour", "9999-0001-24") if secret in everything]


def test_a_newly_classified_table_is_exported_by_itself(services: Services, account_id: UUID, owner_engine: Engine) -> None:
    shown = {"classification": Classification(Category.ACCOUNT, CLOUD_SERVICES, export="note")}
    hidden = {"classification": Classification(Category.OPERATION, CLOUD_SERVICES, withheld="a test")}
    notes = Table(
        "notes", CONTROLLER,
        Column("account_id", Uuid, primary_key=True, info=hidden),
        Column("note_id", Uuid, primary_key=True, info=hidden),
        Column("body", Text, info=shown),
        Column("remark", Text, info=hidden),
        **about(Erasure.ROWS, member="notes.json"),
    )  # fmt: skip
    row = {"account_id": account_id, "note_id": account_id, "body": "seen", "remark": "unseen"}
    try:
        with owner_engine.begin() as connection:
            notes.create(connection)
            connection.execute(text("GRANT SELECT ON notes TO cloudpriv_api"))
            connection.execute(insert(notes), row)
        archive = export(services, account_id)
    finally:
        CONTROLLER.remove(notes)
    assert json.loads(archive.read("notes.json")) == [{"note": "seen"}]
    assert "seen" in archive.read("index.html").decode()


class Page(HTMLParser):
    """The tags, links and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_escaped_and_refers_to_nothing_outside(services: Services, account_id: UUID) -> None:
    archive = export(services, account_id)
    page = Page(archive.read("index.html").decode())
    assert "script" not in page.tags
    assert "Kim <script>alert(1)</script>" in page.text
    assert set(page.links) <= set(archive.namelist())
    assert "May 2026" in page.text  # traffic by month
    assert "Integritetsskyddsmyndigheten" in page.text


def test_the_information_of_article_15_is_given_in_every_language(services: Services, account_id: UUID) -> None:
    told = json.loads(export(services, account_id).read("processing.json"))
    assert set(told) == set(services.policy.languages)
    for language, information in told.items():
        assert all(information.values()), language
    english = told["en"]
    assert english["controller"]["name"] == "HMS Industrial Networks SA"
    assert english["retention"][0]["period"] == "P7Y"
    assert {right["article"] for right in english["rights"]} >= {"15", "16", "17", "18", "20", "21", "77"}
    assert "data" not in english["purposes"][0]
    assert english["purposes"][0]["lawful_basis"][0]["article"] == "6(1)(f)"


def test_every_purpose_of_an_exported_column_is_an_activity_of_the_policy(services: Services) -> None:
    columns = (column for table in exported_tables(CONTROLLER) for column in exported_columns(table).values())
    purposes = {mark.purpose for mark in map(classification_of, columns) if mark is not None}
    assert purposes <= {activity.key for activity in services.policy.activities}


def test_a_member_that_is_a_csv_has_no_sealed_column() -> None:
    tables = [table for table in exported_tables(CONTROLLER) if table.info["member"].endswith(".csv")]
    marks = [classification_of(column) for table in tables for column in exported_columns(table).values()]
    assert marks
    assert not [mark for mark in marks if mark is None or mark.sealed]
    assert all(table.info["member"].rpartition(".")[2] in ("csv", "json") for table in exported_tables(CONTROLLER))


def test_times_in_the_archive_are_utc(services: Services, account_id: UUID) -> None:
    archive = export(services, account_id)
    created_at = json.loads(archive.read("manifest.json"))["created_at"]
    assert datetime.fromisoformat(created_at).tzinfo == UTC
    assert archive.getinfo("account.json").date_time == (2026, 6, 1, 12, 0, 0)
