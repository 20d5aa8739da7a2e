"""Callbacks: told until they are taken, in order, signed, for seven days."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.clock import utc_now
from cloudpriv.processor.subjects import opendsr
from cloudpriv.processor.subjects.identities import Identity
from cloudpriv.processor.subjects.opendsr import Order
from tests.dsr import Clock, Controller, check_signature, controlling
from tests.logdata import carry_out, log_transaction, make_log_account, reader_actor

HOUR = timedelta(hours=1)


@pytest.fixture
def controller() -> Iterator[Controller]:
    """The customer's server, listening."""
    with controlling() as found:
        yield found


@pytest.fixture
def worker(processor_worker: ProcessorServices) -> ProcessorServices:
    """A worker whose callbacks may reach the loopback."""
    return replace(processor_worker, settings=replace(processor_worker.settings, opendsr_callback_networks="127.0.0.0/8"))


def ask(processor: ProcessorServices, *urls: str, account_id: UUID | None = None) -> UUID:
    """Hand a request of access on."""
    account = account_id or make_log_account(processor)
    order = Order(uuid4(), "gdpr", "access", utc_now(), (Identity("email", "raw", "kim@a.example"),), urls)
    with log_transaction(processor, reader_actor(processor, account), utc_now()) as tx:
        return opendsr.receive(tx, order).request_id


def states(owner: Engine) -> list[str]:
    """The states of all callbacks."""
    with owner.connect() as connection:
        return list(connection.execute(text("SELECT status FROM log_callbacks ORDER BY callback_id")).scalars())


def test_each_change_is_told_once_and_signed(
    processor: ProcessorServices, worker: ProcessorServices, controller: Controller, processor_owner: Engine
) -> None:
    request_id = ask(processor, controller.url)
    carry_out(worker)
    assert controller.statuses == ["in_progress", "completed"]
    assert worker.certificate is not None
    for headers, body in controller.told:
        assert headers["X-OpenDSR-Processor-Domain"] == "127.0.0.1"
        check_signature(worker.certificate.chain, headers["X-OpenDSR-Signature"], body)
    last = json.loads(controller.told[-1][1])
    assert last["status_callback_url"] == controller.url
    assert last["subject_request_id"] == str(request_id)
    assert last["results_url"].endswith(f"/opendsr/v2/requests/{request_id}/results")
    assert states(processor_owner) == ["taken", "taken"]
    carry_out(worker)
    assert len(controller.told) == 2


def test_what_is_not_taken_is_told_again_and_what_follows_waits(
    processor: ProcessorServices, worker: ProcessorServices, controller: Controller
) -> None:
    controller.answers = [500, 302, 404]
    ask(processor, controller.url)
    clock = Clock()
    for expected in (1, 2, 3, 5):
        carry_out(clock.of(worker))
        assert len(controller.told) == expected
        clock.now += timedelta(minutes=1)
    assert controller.statuses == ["in_progress"] * 4 + ["completed"]
    assert len({body for _, body in controller.told}) == 2, "the same is told again, byte by byte"


def test_one_url_waits_for_no_other(processor: ProcessorServices, worker: ProcessorServices, controller: Controller) -> None:
    ask(processor, "http://127.0.0.1:1/nobody", controller.url)
    carry_out(worker)
    assert controller.statuses == ["in_progress", "completed"]


def test_after_seven_days_it_is_given_up_and_the_customer_sees_so(
    processor: ProcessorServices, worker: ProcessorServices, processor_owner: Engine
) -> None:
    request_id = ask(processor, "http://127.0.0.1:1/nobody")
    clock = Clock()
    began = clock.now
    while "pending" in states(processor_owner) or clock.now == began:
        carry_out(clock.of(worker))
        assert states(processor_owner) == ["pending", "pending"] or clock.now >= began + timedelta(days=7)
        assert clock.now < began + timedelta(days=15)
        clock.now += 12 * HOUR
    assert states(processor_owner) == ["given_up", "given_up"]
    with processor_owner.connect() as connection:
        query = text("SELECT action FROM log_events WHERE subject_id = :id AND action LIKE 'opendsr.callback.%'")
        assert list(connection.execute(query, {"id": request_id}).scalars()) == ["opendsr.callback.given_up"] * 2


def test_nothing_inside_is_reached_without_the_settings(
    processor: ProcessorServices, processor_worker: ProcessorServices, controller: Controller, processor_owner: Engine
) -> None:
    ask(processor, controller.url)
    ask(processor, controller.url.replace("http:", "https:"))
    carry_out(processor_worker)
    assert controller.told == []
    assert set(states(processor_owner)) == {"pending"}


def test_a_cancellation_is_told(processor: ProcessorServices, worker: ProcessorServices, controller: Controller) -> None:
    account_id = make_log_account(processor)
    request_id = ask(processor, controller.url, account_id=account_id)
    with log_transaction(processor, reader_actor(processor, account_id), utc_now()) as tx:
        opendsr.cancel(tx, request_id)
    with log_transaction(processor, reader_actor(processor, account_id), utc_now()) as tx:
        opendsr.cancel(tx, request_id)
    carry_out(worker)
    assert controller.statuses == ["cancelled"]


def test_no_url_and_no_address_is_logged(
    processor: ProcessorServices, worker: ProcessorServices, capfd: pytest.CaptureFixture[str]
) -> None:
    ask(processor, "http://127.0.0.1:1/of-kim?token=canary")
    with capture_logs() as logged:  # where lines of a log go was settled by whoever set logging up first
        carry_out(worker)
    said = "".join([*capfd.readouterr(), *map(str, logged)])
    assert "callback_not_taken" in said
    assert not [word for word in ("of-kim", "canary", "127.0.0.1:1") if word in said]
