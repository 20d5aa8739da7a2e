"""Requests for a copy of the data."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import SERVICES, Service
from cloudpriv.platform.errors import AccountClosingError, DomainError, GoneError, NotFoundError, NotReadyError
from cloudpriv.rights import requests
from tests.exports import IDENTIFIED, ask, begin_purge, run
from tests.factories import BACKEND, NOW, make_account, transaction


def set_status(owner: Engine, account_id: UUID, status: str) -> None:
    with owner.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = :status"), {"status": status})


@pytest.mark.parametrize(
    ("service", "due_on"),
    [("talk2m", date(2026, 7, 22)), ("intesis", date(2026, 7, 21))],  # 21 July is the Belgian national day
)
def test_an_answer_is_due_by_the_calendar_of_the_controllers_country(
    services: Services, service: Service, due_on: date
) -> None:
    account_id = make_account(services, service=service).row.account_id
    with transaction(services, now=datetime(2026, 6, 21, 23, 59, tzinfo=UTC)) as tx:
        assert requests.receive(tx, services.policy, account_id, "portability", identity=IDENTIFIED).row.due_on == due_on


@pytest.mark.parametrize(("status", "refusal"), [("closing", AccountClosingError), ("purging", NotFoundError)])
def test_no_copy_is_made_of_an_account_that_is_being_erased(
    services: Services, owner_engine: Engine, status: str, refusal: type[DomainError]
) -> None:
    account_id = make_account(services).row.account_id
    set_status(owner_engine, account_id, status)
    with pytest.raises(refusal):
        ask(services, account_id)


def test_a_restricted_account_is_still_exported(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    set_status(owner_engine, account_id, "restricted")
    export_id = ask(services, account_id)
    run(services, export_id)
    with transaction(services) as tx:
        assert requests.read_export(tx, export_id).status == "ready"


def test_the_other_service_sees_neither_request_nor_export(services: Services) -> None:
    other = next(service for service in SERVICES if service != BACKEND.service)
    account_id = make_account(services, service=other).row.account_id
    with transaction(services) as tx:
        known = requests.receive(tx, services.policy, account_id, "access", identity=IDENTIFIED)
    with transaction(services, BACKEND) as tx:
        with pytest.raises(NotFoundError):
            requests.receive(tx, services.policy, account_id, "access", identity=IDENTIFIED)
        with pytest.raises(NotFoundError):
            requests.list_requests(tx, account_id, after=None, limit=10)
        with pytest.raises(NotFoundError):
            requests.read_request(tx, known.row.request_id)
        with pytest.raises(NotFoundError):
            requests.read_export(tx, known.answer.export_id)
        with pytest.raises(NotFoundError):
            requests.open_archive(tx, known.answer.export_id)


def test_an_archive_is_opened_only_between_ready_and_expired(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    export_id = ask(services, account_id)
    with transaction(services) as tx, pytest.raises(NotReadyError):
        requests.open_archive(tx, export_id)
    run(services, export_id)
    with transaction(services) as tx:
        expires_at = requests.read_export(tx, export_id).expires_at
        assert requests.open_archive(tx, export_id)
    assert expires_at == datetime(2026, 6, 9, tzinfo=UTC)  # seven days after NOW, with the last day whole
    with transaction(services, now=expires_at) as tx, pytest.raises(GoneError):
        requests.open_archive(tx, export_id)
    begin_purge(owner_engine, account_id)
    with transaction(services) as tx, pytest.raises(GoneError):
        requests.open_archive(tx, export_id)


def test_every_read_of_a_request_leaves_an_event(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    with transaction(services) as tx:
        known = requests.receive(tx, services.policy, account_id, "access", identity=IDENTIFIED)
    run(services, known.answer.export_id)
    with transaction(services) as tx:
        requests.read_request(tx, known.row.request_id)
        requests.list_requests(tx, account_id, after=None, limit=10)
        requests.read_export(tx, known.answer.export_id)
        requests.open_archive(tx, known.answer.export_id)
    query = text("SELECT action FROM audit_events WHERE account_id = :id AND at = :now AND action <> 'account.create'")
    with owner_engine.connect() as connection:
        found = connection.scalars(query, {"id": account_id, "now": NOW})
        assert sorted(found) == [
            "export.complete", "export.create", "export.download", "export.read",
            "request.begin", "request.complete", "request.create", "request.list", "request.read", "request.verify",
        ]  # fmt: skip
