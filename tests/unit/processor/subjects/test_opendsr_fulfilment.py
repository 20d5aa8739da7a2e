"""A request that is stopped anywhere goes on, and ends as if nothing had happened."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from uuid import UUID, uuid4

import pytest

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.clock import utc_now
from cloudpriv.processor.order_tables import LogRequest
from cloudpriv.processor.query import reading
from cloudpriv.processor.storage.chunks import Selection
from cloudpriv.processor.subjects import fulfilment, opendsr
from cloudpriv.processor.subjects.identities import Identity
from cloudpriv.processor.subjects.opendsr import Order
from tests.dsr import Clock, fulfil
from tests.factories import NOW
from tests.logdata import carry_out, log_transaction, make_log_account, reader_actor
from tests.points import send, sender

KIM = "kim@customer.example"
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class StoppedError(BaseException):
    """What stands for SIGKILL: nothing catches it."""


def put(processor: ProcessorServices, account_id: UUID, device: str, texts: list[str], tag: str = "operator") -> None:
    """A batch of texts of a device, one a minute."""
    sent = [(tag, NOW + place * MINUTE, each) for place, each in enumerate(texts)]
    send(sender(processor, account_id, device, NOW + HOUR), *sent)


def texts_of(processor: ProcessorServices, account_id: UUID) -> list[str]:
    """All texts that a reader sees."""
    with log_transaction(processor) as tx:
        tables = list(reading.snapshot(tx, account_id, Selection()).points(processor.objects))
    return sorted(each for table in tables for each in table["s"].to_pylist())


def ask(processor: ProcessorServices, account_id: UUID, kind: str) -> UUID:
    """Hand a request on."""
    order = Order(uuid4(), "gdpr", kind, utc_now(), (Identity("email", "raw", KIM),), ())
    with log_transaction(processor, reader_actor(processor, account_id), utc_now()) as tx:
        return opendsr.receive(tx, order).request_id


def request_of(processor: ProcessorServices, account_id: UUID, request_id: UUID) -> LogRequest:
    """A request's row."""
    with log_transaction(processor) as tx:
        return tx.session.get_one(LogRequest, (account_id, request_id))


def stopped_at(worker: ProcessorServices, turn: int) -> bool:
    """Have a worker that stops when it looks at the clock for this time do everything; whether it came to that."""
    looks, clock = count(1), Clock()

    def look() -> datetime:
        if next(looks) == turn:
            raise StoppedError
        return clock.now

    stopping = replace(worker, clock=look)
    try:
        while carry_out(stopping):
            clock.now += 10 * timedelta(seconds=1)
    except StoppedError:
        return True
    return False


@pytest.mark.parametrize("kind", ["access", "erasure"])
def test_a_request_that_is_stopped_anywhere_is_finished_by_another_worker(
    kind: str, processor: ProcessorServices, processor_worker: ProcessorServices
) -> None:
    for turn in range(1, 300, 7):  # so that it stops in each step once, in many turns
        account_id = make_log_account(processor)
        put(processor, account_id, "pump-1", [KIM, "a", KIM, f"by {KIM}", "b"])
        put(processor, account_id, KIM, ["c"])
        request_id = ask(processor, account_id, kind)
        was_stopped = stopped_at(processor_worker, turn)
        fulfil(processor_worker)
        row = request_of(processor, account_id, request_id)
        assert (row.status, row.results_count) == ("completed", 4)
        rest = ["a", "b"] if kind == "erasure" else sorted([KIM, "a", KIM, f"by {KIM}", "b", "c"])
        assert texts_of(processor, account_id) == rest
        if not was_stopped:
            return
    raise AssertionError("it never ends")


def test_more_spans_than_are_ordered_at_a_time_are_all_erased(
    processor: ProcessorServices, processor_worker: ProcessorServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fulfilment, "MOST_SPANS", 2)
    account_id = make_log_account(processor)
    for tag in ("one", "two", "three"):
        put(processor, account_id, "pump-1", [KIM, "x", KIM, "y", KIM], tag)
    request_id = ask(processor, account_id, "erasure")
    fulfil(processor_worker)
    assert texts_of(processor, account_id) == ["x"] * 3 + ["y"] * 3
    assert request_of(processor, account_id, request_id).results_count == 9


def test_of_two_workers_one_writes_the_archive(processor: ProcessorServices, processor_worker: ProcessorServices) -> None:
    account_id = make_log_account(processor)
    put(processor, account_id, "pump-1", [KIM])
    ask(processor, account_id, "access")
    stopped_at(processor_worker, 8)
    fulfil(processor_worker)
    assert len(list(processor_worker.objects.keys(f"exports/{account_id}/"))) == 1
