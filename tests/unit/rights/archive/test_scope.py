"""One person's archive: all that is theirs, and nothing of anybody else."""

import csv
import json
from io import StringIO
from uuid import UUID
from zipfile import ZipFile

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform.classify import exported_tables
from cloudpriv.retention import holds
from cloudpriv.rights import requests, telling
from cloudpriv.rights.erasure import erase_person
from tests.disclosed import disclose
from tests.exports import IDENTIFIED, ask, open_archive, run, stored
from tests.factories import NOW, make_account, make_person, transaction
from tests.requests import DOCUMENTS, receive
from tests.unit.rights.full_account import FullAccount, full_account

NOT_OF_A_PERSON = {"devices.json", "notices.json"}


def ask_for(services: Services, account_id: UUID, person_id: UUID) -> UUID:
    with transaction(services) as tx:
        received = requests.receive(tx, services.policy, account_id, "access", person_id=person_id, identity=IDENTIFIED)
        return received.answer.export_id


@pytest.fixture
def made(services: Services, owner_engine: Engine) -> FullAccount:
    """An account of two people."""
    return full_account(services, owner_engine)


def archive_of(services: Services, made: FullAccount, who: str) -> ZipFile:
    export_id = ask_for(services, made.account_id, made.people[who])
    run(services, export_id)
    return open_archive(services, export_id)


def everything(archive: ZipFile) -> str:
    return b"\n".join(archive.read(name) for name in archive.namelist()).decode()


def test_the_archive_of_an_account_has_something_of_everybody_in_every_table(services: Services, made: FullAccount) -> None:
    run(services, export_id := ask(services, made.account_id))
    archive = open_archive(services, export_id)
    manifest = json.loads(archive.read("manifest.json"))
    assert not [each["name"] for each in manifest["members"] if each["rows"] == 0]
    found = everything(archive)
    for who in made.people:
        assert not [each for each in made.of(who) if each not in found]


def test_nothing_of_anybody_else_is_in_a_persons_archive(services: Services, made: FullAccount) -> None:
    found = everything(archive_of(services, made, "kim"))
    assert not [each for each in made.of("robin") if each in found]
    assert not [each for each in ("Acme Water Ltd", "SE556000-0001", "1234-0042-24", "Pump") if each in found]


def test_all_that_is_a_persons_is_in_their_archive(services: Services, made: FullAccount) -> None:
    archive = archive_of(services, made, "kim")
    found = everything(archive)
    assert not [each for each in made.of("kim") if each not in found]
    tables = {table.info["member"] for table in exported_tables(CONTROLLER)} - NOT_OF_A_PERSON
    assert tables <= set(archive.namelist())
    assert not NOT_OF_A_PERSON & set(archive.namelist())
    manifest = json.loads(archive.read("manifest.json"))
    assert (manifest["scope"], manifest["person_id"]) == ("person", str(made.people["kim"]))
    assert not [each["name"] for each in manifest["members"] if each["rows"] == 0]


def test_a_person_is_told_what_they_sign_in_with_and_nothing_else_of_the_account(
    services: Services, made: FullAccount
) -> None:
    account = json.loads(archive_of(services, made, "kim").read("account.json"))
    assert account["profile"] == {"account_name": "acme-canary"}
    restriction = {"restricted_for", "restriction_ends_at", "restriction_end_ground"}
    assert set(account) == {"id", "service", "status", "profile", "created_at", "closes_at", *restriction}


def test_a_person_is_told_to_whom_data_of_the_whole_account_was_disclosed(
    services: Services, made: FullAccount, owner_engine: Engine
) -> None:
    with owner_engine.begin() as connection:
        values = {"other": made.people["robin"]}
        connection.execute(
            text("UPDATE disclosures SET person_id = NULL, scope = 'account' WHERE person_id = :other"), values
        )
    of_all, own = sorted(
        json.loads(archive_of(services, made, "kim").read("disclosures.json")), key=lambda row: row["person_id"] or ""
    )
    assert set(of_all["details"]) == {"recipient", "purpose"}
    assert own["details"]["reference"] == "canary-kim"


def test_an_accounts_archive_tells_neither_words_of_its_peoples_requests_nor_who_of_staff_verified_them(
    services: Services, made: FullAccount
) -> None:
    receive(services, made.account_id, "objection", details={"text": "our own"}, identity=DOCUMENTS)
    run(services, export_id := ask(services, made.account_id))
    told = json.loads(open_archive(services, export_id).read("requests.json"))
    assert {row["scope"] for row in told} == {"account", "person"}
    for row in told:
        assert (row["details"] is None) == (row["scope"] == "person")
        assert row["identity_verified_by"] in ("client", "operator", "canary-kim", "canary-robin")  # kinds, and plain marks


def test_what_names_nobody_is_in_no_persons_archive_unless_it_was_of_everybody(
    services: Services, made: FullAccount, owner_engine: Engine
) -> None:
    other = {"other": made.people["robin"]}
    with owner_engine.begin() as connection:
        for table in ("requests", "traffic", "disclosures"):
            connection.execute(text(f"UPDATE {table} SET person_id = NULL WHERE person_id = :other"), other)  # noqa: S608  ours
    archive = archive_of(services, made, "kim")
    assert {row["person_id"] for row in json.loads(archive.read("requests.json"))} == {str(made.people["kim"])}
    assert {row["person_id"] for row in json.loads(archive.read("disclosures.json"))} == {str(made.people["kim"])}
    assert len(archive.read("traffic.csv").splitlines()) == 2
    assert "canary-robin" not in everything(archive)


def test_a_person_is_not_told_that_recipients_were_told_of_somebody_else(services: Services) -> None:
    account_id = make_account(services).row.account_id
    kim, robin = (make_person(services, account_id).row.person_id for _ in range(2))
    disclose(services, account_id)
    with transaction(services) as tx:
        for person_id in (kim, robin, None):
            telling.notify(tx, account_id, "restriction", ["account"], person_id=person_id)
    run(services, export_id := ask_for(services, account_id, kim))
    assert len(json.loads(open_archive(services, export_id).read("recipient_notices.json"))) == 2
    run(services, export_id := ask(services, account_id))
    assert len(json.loads(open_archive(services, export_id).read("recipient_notices.json"))) == 3


def test_the_log_tells_a_person_of_looks_at_them_and_of_their_own_but_not_at_whom(
    services: Services, made: FullAccount
) -> None:
    archive = archive_of(services, made, "robin")
    rows = list(csv.DictReader(StringIO(archive.read("access_log.csv").decode())))
    assert {row["subject_id"] for row in rows} >= {"", str(made.people["robin"])}
    assert str(made.people["kim"]) not in {row["subject_id"] for row in rows}
    assert [row["actor"] for row in rows if row["action"] == "person.read"] == ["owner", "owner"]
    assert "request.create" in {row["action"] for row in rows}
    assert "account.create" not in {row["action"] for row in rows}


def test_traffic_of_the_others_is_not_counted_in(services: Services, made: FullAccount) -> None:
    archive = archive_of(services, made, "robin")
    (month,) = csv.DictReader(StringIO(archive.read("traffic_by_month.csv").decode()))
    assert (month["month"], month["sessions"], month["bytes_from_device"], month["bytes_to_device"]) == (
        "2026-05", "1", "2", "4",
    )  # fmt: skip


def test_the_export_of_a_person_who_was_erased_ends_without_an_archive(services: Services, made: FullAccount) -> None:
    export_id = ask_for(services, made.account_id, made.people["kim"])
    with transaction(services) as tx:
        erase_person(tx, made.account_id, made.people["kim"], 1)
    run(services, export_id)
    with transaction(services) as tx:
        found = requests.read_export(tx, export_id)
    assert found.status == "failed"
    assert stored(services, made.account_id) == []


def test_the_export_of_a_person_whose_row_is_gone_has_failed_for_good(
    services: Services, made: FullAccount, owner_engine: Engine
) -> None:
    export_id = ask_for(services, made.account_id, made.people["kim"])
    with owner_engine.begin() as connection:
        connection.execute(text("DELETE FROM people WHERE person_id = :id"), {"id": made.people["kim"]})
    run(services, export_id)
    with transaction(services) as tx:
        found = requests.read_export(tx, export_id)
    assert (found.status, found.failure, found.attempts) == ("failed", "person_erased", 1)
    assert stored(services, made.account_id) == []


def test_nothing_of_a_person_whom_only_a_hold_keeps_is_in_the_accounts_archive(
    services: Services, made: FullAccount
) -> None:
    with transaction(services) as tx:
        holds.place(tx, made.account_id, "account", authority="Example District Court", reference="T 1")
        assert not erase_person(tx, made.account_id, made.people["robin"], 1)
    run(services, export_id := ask(services, made.account_id, NOW))
    archive = open_archive(services, export_id)
    shown = {name: archive.read(name).decode() for name in archive.namelist() if name != "access_log.csv"}
    assert not [name for name, content in shown.items() if str(made.people["robin"]) in content]
    assert "canary-robin" not in shown["people.json"] + shown["sessions.json"] + shown["consents.json"]
    assert len(archive.read("traffic.csv").splitlines()) == 3
