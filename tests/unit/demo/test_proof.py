"""The proof sees an account's id wherever it stands: whatever the table, the column and the form."""

import json
from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import text

from cloudpriv.bootstrap import Services
from cloudpriv.demo.proof import ledger_entries, objects_naming, prove_untouched, rows_naming, rows_of
from cloudpriv.demo.steps import OpenedAccount
from cloudpriv.demo.telling import Step
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform.ids import new_id
from cloudpriv.retention.erase import hash_of
from tests.factories import make_account, make_device
from tests.stack import TestDatabase

PLACES = {"an_uuid": "uuid", "a_text": "text", "a_document": "jsonb", "some_bytes": "bytea"}


@pytest.fixture
def owner(database: TestDatabase) -> Iterator[Services]:
    """Services of the schema's owner, as the demo's proof has them."""
    built = database.services("migration")
    yield built
    built.controller.engine.dispose()
    built.redis.close()


def opened(account_id: UUID) -> OpenedAccount:
    return OpenedAccount(str(account_id), "talk2m", "acme", "robin", "")


def test_every_table_is_searched_and_a_stranger_is_nowhere(owner: Services) -> None:
    naming = rows_naming(owner, [str(new_id())])
    assert {table.name for table in CONTROLLER.sorted_tables} <= naming.keys()
    assert not any(naming.values())


def test_rows_of_an_account_are_found_in_the_tables_that_have_them(owner: Services) -> None:
    account_id = make_account(owner).row.account_id
    make_device(owner, account_id)
    found = {name for name, count in rows_naming(owner, [str(account_id)]).items() if count}
    assert found == {"accounts", "account_keys", "directory", "devices", "audit_events"}


@pytest.mark.parametrize("place", PLACES)
def test_an_id_is_found_in_a_table_that_nobody_classified_and_in_any_form(owner: Services, place: str) -> None:
    account_id = new_id()
    value = {"an_uuid": account_id, "a_text": f"of {account_id}", "some_bytes": b"\0" + account_id.bytes}
    value["a_document"] = json.dumps({"of": [str(account_id)]})
    with owner.controller.engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE forgotten (place {PLACES[place]})"))
        connection.execute(text("INSERT INTO forgotten VALUES (:value)"), {"value": value[place]})
    assert rows_naming(owner, [str(new_id()), str(account_id)])["forgotten"] == 1


def test_objects_of_an_account_are_found_in_the_bucket(owner: Services) -> None:
    account_id, other = new_id(), new_id()
    key = f"elsewhere/{account_id}.zip"
    owner.exports.put_stream(key, [b"x"], confirm=lambda: None)
    try:
        assert objects_naming(owner, [str(account_id)]) == [key]
        assert objects_naming(owner, [str(other)]) == []
    finally:
        owner.exports.delete_below(key)


def test_the_ledger_knows_an_account_by_the_hash_of_its_id(owner: Services) -> None:
    account_id = new_id()
    row = {
        "account_hash": hash_of(account_id),
        "service": "talk2m",
        "trigger": "policy",
        "rule": "P7Y",
        "policy_version": "1",
    }
    with owner.controller.engine.begin() as connection:
        insert = CONTROLLER.tables["ledger"].insert()
        connection.execute(insert, {**row, "counts": {}, "erased_at": owner.clock()})
    assert ledger_entries(owner, [str(account_id), str(new_id())]) == 1


def test_a_row_lost_from_an_account_that_stays_is_noticed(owner: Services) -> None:
    account_id = make_account(owner).row.account_id
    make_device(owner, account_id)
    before = rows_of(owner, [opened(account_id)])
    assert before[str(account_id)]["devices"] == 1
    prove_untouched(before, rows_of(owner, [opened(account_id)]), Step(1, "prove"))
    with owner.controller.engine.begin() as connection:
        connection.execute(text("DELETE FROM devices"))
    with pytest.raises(ValueError, match="rows of an account that stays are gone"):
        prove_untouched(before, rows_of(owner, [opened(account_id)]), Step(1, "prove"))
