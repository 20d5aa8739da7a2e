"""Every member of an archive is described by a schema that lies in it, and is as it says."""

import csv
import json
from collections.abc import Iterator
from io import StringIO
from typing import Any
from zipfile import ZipFile

import pytest
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from sqlalchemy import Engine

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform import bulk
from cloudpriv.platform.classify import classification_of, exported_columns, exported_tables
from cloudpriv.rights import requests
from cloudpriv.rights.archive import schemas as archive_schemas
from cloudpriv.rights.archive.scope import Scope
from tests.exports import IDENTIFIED, open_archive, run
from tests.factories import make_account, transaction
from tests.unit.rights.full_account import full_account


def archives(services: Services, owner: Engine) -> Iterator[ZipFile]:
    """That of an account with something in every table, that of a person in it, and that of an account with nothing."""
    made = full_account(services, owner)
    for account_id, person_id in (
        (made.account_id, None),
        (made.account_id, made.people["kim"]),
        (make_account(services).row.account_id, None),
    ):
        with transaction(services) as tx:
            asked = requests.receive(tx, services.policy, account_id, "access", person_id=person_id, identity=IDENTIFIED)
            export_id = asked.answer.export_id
        run(services, export_id)
        yield open_archive(services, export_id)


def content(archive: ZipFile, name: str) -> Any:
    """What a schema describes: JSON, or the rows of a CSV."""
    text = archive.read(name).decode()
    return list(csv.DictReader(StringIO(text, newline=""))) if name.endswith(".csv") else json.loads(text)


def test_every_member_of_an_archive_is_as_its_schema_says(services: Services, owner_engine: Engine) -> None:
    for archive in archives(services, owner_engine):
        manifest = json.loads(archive.read("manifest.json"))
        described = {each["name"]: each["schema"] for each in manifest["members"] if each["schema"]}
        assert {each["name"] for each in manifest["members"]} - set(described) == {
            "index.html", *described.values(), "schemas/manifest.schema.json",
        }  # fmt: skip
        for name, path in {**described, "manifest.json": "schemas/manifest.schema.json"}.items():
            schema = json.loads(archive.read(path))
            Draft202012Validator.check_schema(schema)
            Draft202012Validator(schema, format_checker=FormatChecker()).validate(content(archive, name))


def test_columns_stand_in_the_order_that_the_schema_says(services: Services, owner_engine: Engine) -> None:
    archive = next(archives(services, owner_engine))
    for name in (name for name in archive.namelist() if name.endswith(".csv")):
        schema = json.loads(archive.read(archive_schemas.path_of(name)))
        assert archive.read(name).decode().splitlines()[0].split(",") == schema["csv"]["columns"]


def test_a_machine_undoes_what_keeps_a_spreadsheet_from_computing(services: Services, owner_engine: Engine) -> None:
    archive = next(archives(services, owner_engine))
    schema = json.loads(archive.read("schemas/traffic.schema.json"))
    assert schema["csv"]["neutralised"] == ["protocol", "end_reason"]
    cells = {row["protocol"] for row in content(archive, "traffic.csv")}
    assert (cells, {bulk.restored(cell) for cell in cells}) == ({"'=1+1"}, {"=1+1"})


@pytest.mark.parametrize(
    ("member", "change"),
    [
        ("people.json", {"role": "boss"}),
        ("people.json", {"unheard_of": 1}),
        ("people.json", {"created_at": "yesterday"}),
        ("devices.json", {"id": None}),
        ("traffic.csv", {"bytes_to_device": "-1"}),
        ("traffic.csv", {"started_at": ""}),
        ("access_log.csv", {"event_id": "x"}),
    ],
)
def test_a_row_that_is_otherwise_is_refused(
    services: Services, owner_engine: Engine, member: str, change: dict[str, Any]
) -> None:
    archive = next(archives(services, owner_engine))
    schema = json.loads(archive.read(archive_schemas.path_of(member)))
    rows = content(archive, member)
    rows[0].update(change)
    with pytest.raises(ValidationError):
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(rows)


def test_every_exported_column_and_sealed_document_is_described(services: Services) -> None:
    account_id = make_account(services).row.account_id
    with transaction(services) as tx:
        scope = Scope(accounts.find_account(tx, account_id), None)
    found = archive_schemas.schemas(scope)
    for table in exported_tables(CONTROLLER):
        schema = found[table.info["member"]]
        row = schema["items"] if schema.get("type") == "array" else schema["anyOf"][0]
        assert set(row["properties"]) == set(exported_columns(table)) == set(row["required"])
        marks = [mark for column in exported_columns(table).values() if (mark := classification_of(column)) and mark.sealed]
        assert not [mark for mark in marks if mark.sealed not in archive_schemas.document("documents")["$defs"]]
    assert found["people.json"]["items"]["properties"]["role"]["enum"] == ["owner", "member"]
