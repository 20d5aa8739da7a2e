"""Accounts: naming, sealing, and who sees them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, event

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts
from cloudpriv.platform.actor import Actor
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ConflictError, InvalidError, NotFoundError, StaleError
from tests import factories
from tests.stack import every_row


def test_an_account_is_read_back_as_it_was_opened(services: Services) -> None:
    opened = factories.make_account(services, account_name="Acme Water")
    with factories.transaction(services) as tx:
        read = accounts.read_account(tx, opened.row.account_id)
    assert read.profile == {
        "account_name": "Acme Water",
        "company_name": "Acme Water Ltd",
        "company_id": "SE556000-0001",
    }


def test_an_account_name_is_unique_in_its_service_whatever_its_case(services: Services) -> None:
    factories.make_account(services, account_name="Acme Water")
    factories.make_account(services, account_name="acme water", service="intesis")
    with pytest.raises(ConflictError):
        factories.make_account(services, account_name=" ACME water ")


def test_an_account_of_another_service_is_not_there(services: Services) -> None:
    opened = factories.make_account(services, service="talk2m")
    stranger = Actor("client", "x", "intesis")
    with pytest.raises(NotFoundError), factories.transaction(services, stranger) as tx:
        accounts.read_account(tx, opened.row.account_id)


def test_an_account_brought_over_keeps_its_creation_but_not_one_in_the_future(services: Services) -> None:
    created = datetime(2018, 8, 1, tzinfo=UTC)
    assert factories.make_account(services, created_at=created).row.created_at == created
    with pytest.raises(InvalidError):
        factories.make_account(services, created_at=datetime(2030, 1, 1, tzinfo=UTC))


def test_a_change_on_an_old_version_is_refused(services: Services) -> None:
    opened = factories.make_account(services)
    with factories.transaction(services) as tx:
        accounts.change_account(tx, opened.row.account_id, 1, {"customer": {"company_name": "New"}})
    with pytest.raises(StaleError), factories.transaction(services) as tx:
        accounts.change_account(tx, opened.row.account_id, 1, {"customer": {"company_name": "Newer"}})


def test_a_renamed_account_is_found_by_its_new_name_only(services: Services) -> None:
    opened = factories.make_account(services, account_name="old name")
    with factories.transaction(services) as tx:
        accounts.change_account(tx, opened.row.account_id, 1, {"account_name": "new name"})
    with factories.transaction(services) as tx:
        assert accounts.find_by_name(tx, "talk2m", "old name") is None
        found = accounts.find_by_name(tx, "talk2m", "New Name")
    assert found is not None
    assert found.row.account_id == opened.row.account_id


def test_a_name_is_looked_up_by_the_same_statements_whether_it_is_anybodys_or_not(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.make_account(services, account_name="Acme Water")
    seen, fetch_one = list[str](), Tx.fetch_one

    def fetch(tx: Tx, statement: str, values: dict[str, Any]) -> Any:
        seen.append(statement)
        return fetch_one(tx, statement, values)

    def statements(name: str) -> list[str]:
        seen.clear()
        with factories.transaction(services) as tx:
            assert (accounts.find_by_name(tx, "talk2m", name) is None) == (name == "nobody's")
        return seen.copy()

    monkeypatch.setattr(Tx, "fetch_one", fetch)
    event.listen(services.controller.engine, "before_cursor_execute", lambda *call: seen.append(call[2]))
    here = statements("Acme Water")
    assert len(here) == 2
    assert statements("nobody's") == here


def test_no_name_stands_in_the_database_in_plain_text(services: Services, owner_engine: Engine) -> None:
    opened = factories.make_account(services, account_name="canary-account")
    factories.make_person(services, opened.row.account_id, username="canary-user", email="canary@example.com")
    factories.make_device(services, opened.row.account_id, serial="canary-serial", common_name="canary-cn")
    rows = every_row(owner_engine)
    assert len(rows["accounts"]) == len(rows["people"]) == len(rows["devices"]) == 1
    text = str(rows)
    assert "canary" not in text
    assert b"canary".hex() not in text
