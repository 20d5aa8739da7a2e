"""Password hints by mail: sent to whom they belong to, and no answer tells who that may be."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, event, text

from cloudpriv.app import create_app
from cloudpriv.bootstrap import Services
from cloudpriv.controller import delivery
from cloudpriv.platform.actor import OPERATOR
from cloudpriv.platform.jobs import queue
from tests.backend import Backend
from tests.mailbox import Mailbox, mail_server, with_mail
from tests.stack import TestDatabase, every_row
from workers import jobs

ROBIN = {"account_name": "acme-water", "username": "robin"}
HINT = "zebra crossing in Visby"
NOBODY: list[dict[str, Any]] = [
    {"username": "nobody"},
    {"account_name": "none"},
    {"service": "intesis"},
    {"username": "hintless"},
    {"username": "unreachable"},
    {"username": "without-credentials"},
]


@pytest.fixture
def people(backend: Backend) -> str:
    """The path of the people of acme-water: Robin, who can be sent a hint, and three who cannot."""
    path = f"/v1/accounts/{backend.open_account('acme-water')}/people"
    add(backend, path, {"username": "robin", "email": "robin@example.com", "locale": "sv"}, HINT)
    add(backend, path, {"username": "hintless", "email": "hintless@example.com"}, None)
    add(backend, path, {"username": "unreachable"}, HINT)
    backend.post(path, {"username": "without-credentials", "email": "without@example.com"})
    return path


def add(backend: Backend, path: str, person: dict[str, Any], hint: str | None) -> None:
    location = backend.post(path, person).headers["Location"]
    password = {"password": "correct horse battery", "hint": hint}
    assert backend.send("PUT", f"{location}/credentials", password).status_code == 204


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """What the mail server took."""
    with mail_server() as found:
        yield found


def work(services: Services, mailbox: Mailbox) -> list[str]:
    """Do every job that waits, as the worker does; which there were."""
    jobs.SERVICES.set(with_mail(services, mailbox))
    waiting = [job for job in queue(services.redis).jobs if job.func_name == "workers.jobs.run_mail"]
    for job in waiting:
        job.func(*job.args)
    return [str(job.func_name) for job in waiting]


def test_a_hint_reaches_its_owner_by_mail_alone(
    backend: Backend, people: str, worker_services: Services, mailbox: Mailbox, owner_engine: Engine
) -> None:
    answer = backend.post("/v1/credentials/hint", {**ROBIN, "account_name": " ACME-Water", "service": "talk2m"})
    assert (answer.status_code, HINT in answer.text) == (202, False)
    assert work(worker_services, mailbox) == ["workers.jobs.run_mail"]
    assert mailbox.recipients == ["robin@example.com"]
    assert HINT in mailbox.texts()[0]
    assert "Talk2M-kontot ”acme-water”" in mailbox.texts()[0]
    assert [name for name, rows in every_row(owner_engine).items() if any("zebra" in row for row in rows)] == []


@pytest.mark.parametrize("changed", NOBODY, ids=str)
def test_the_answer_is_the_same_for_whom_no_mail_goes_to(
    backend: Backend, people: str, worker_services: Services, mailbox: Mailbox, changed: dict[str, Any]
) -> None:
    known, unknown = (backend.post("/v1/credentials/hint", {**ROBIN, **each}) for each in ({}, changed))
    assert (known.status_code, known.data) == (unknown.status_code, unknown.data) == (202, b"")
    same = set(known.headers.keys()) - {"X-Request-Id", "RateLimit"}
    assert {name: known.headers[name] for name in same} == {name: unknown.headers[name] for name in same}
    assert len(work(worker_services, mailbox)) == 2
    assert mailbox.recipients == ["robin@example.com"]


@contextmanager
def counted(engine: Engine) -> Iterator[Counter[str]]:
    """How often each kind of statement is sent to each table meanwhile."""
    found: Counter[str] = Counter()

    def count(_: Any, __: Any, statement: str, *___: Any) -> None:
        words = statement.split()
        tables = [after for word, after in pairwise(words) if word in ("FROM", "INTO")]
        found[" ".join([words[0], *tables])] += 1

    event.listen(engine, "before_cursor_execute", count)
    yield found
    event.remove(engine, "before_cursor_execute", count)


@pytest.mark.parametrize("changed", NOBODY, ids=str)
def test_the_work_is_the_same_for_whom_no_mail_goes_to(
    backend: Backend, people: str, services: Services, changed: dict[str, Any]
) -> None:
    with counted(services.controller.engine) as known:
        backend.post("/v1/credentials/hint", ROBIN)
    with counted(services.controller.engine) as unknown:
        backend.post("/v1/credentials/hint", {**ROBIN, **changed})
    assert known == unknown
    assert known["INSERT outbox"] == 1
    assert queue(services.redis).count == 2


def test_a_client_gets_nobody_of_another_service_mailed(
    backend: Backend, other_backend: Backend, people: str, worker_services: Services, mailbox: Mailbox
) -> None:
    assert other_backend.post("/v1/credentials/hint", ROBIN).status_code == 202
    assert other_backend.post("/v1/credentials/hint", {**ROBIN, "service": "talk2m"}).status_code == 202
    assert len(work(worker_services, mailbox)) == 2
    assert mailbox.received == []


def test_asking_for_a_hint_is_audited(
    backend: Backend, people: str, worker_services: Services, mailbox: Mailbox, owner_engine: Engine
) -> None:
    backend.post("/v1/credentials/hint", ROBIN)
    backend.post("/v1/credentials/hint", {**ROBIN, "username": "nobody"})
    backend.post("/v1/credentials/hint", {**ROBIN, "account_name": "none"})
    work(worker_services, mailbox)
    with owner_engine.connect() as connection:
        query = text(
            "SELECT action, account_id, subject_id IS NULL FROM audit_events "
            "WHERE action LIKE '%.hint' OR action LIKE 'mail.%' ORDER BY event_id"
        )
        told = [tuple(row) for row in connection.execute(query)]
    account_id = UUID(people.split("/")[3])
    assert told == [
        ("credentials.hint", account_id, False),
        ("credentials.hint", account_id, True),
        ("credentials.hint", None, True),
        ("mail.send", account_id, False),
    ]


def test_asking_for_hints_of_one_account_is_limited_as_checking_passwords_is(
    services: Services, database: TestDatabase, people: str
) -> None:
    settings = replace(services.settings, verify_rate_limit="3/day")
    limited = Backend(create_app(replace(services, settings=settings)), database)
    asked = [limited.post("/v1/credentials/hint", ROBIN).status_code for _ in range(2)]
    checked = [limited.post("/v1/credentials/verify", {**ROBIN, "password": "x"}).status_code for _ in range(2)]
    assert asked + checked == [202, 202, 401, 429]
    refused = limited.post("/v1/credentials/hint", ROBIN)
    assert (refused.status_code, "Retry-After" in refused.headers) == (429, True)
    assert limited.post("/v1/credentials/hint", {**ROBIN, "account_name": "other"}).status_code == 202
    with services.controller.transaction(OPERATOR, services.clock()) as tx:
        assert len(delivery.unfinished(tx)) == 3, "what was refused left nothing"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {**ROBIN, "username": ""},
        {**ROBIN, "service": "other"},
        {**ROBIN, "email": "eve@example.com"},
        {**ROBIN, "username": 7},
    ],
)
def test_a_malformed_question_is_refused(backend: Backend, body: dict[str, Any]) -> None:
    assert backend.post("/v1/credentials/hint", body).status_code == 422


def test_only_who_may_check_passwords_may_have_hints_sent(backend: Backend, database: TestDatabase, people: str) -> None:
    other = Backend(backend.http.application, database, "talk2m", "accounts:read")
    assert other.post("/v1/credentials/hint", ROBIN).status_code == 403
