"""Deletions and exports go on, whatever step their worker was stopped at."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.processor import accounts
from cloudpriv.processor.order_tables import LogDeletion
from cloudpriv.processor.orders import deletions, exports
from cloudpriv.processor.storage.chunks import Selection
from cloudpriv.processor.tasks import Task
from tests.factories import NOW
from tests.logdata import carry_out, log_transaction, make_log_account
from tests.points import chunks_of, objects_of, stored
from tests.senders import Sender, point

DAY = timedelta(days=1)
STEPS = 60  # more than any of this work has


class StoppedError(BaseException):
    """The process ends here, as far as anybody can tell: nothing catches this."""


class Steps:
    """Counts steps, and stops before the one of a number."""

    def __init__(self, last: int) -> None:
        self.left = last

    def step(self) -> None:
        """One more step."""
        if self.left == 0:
            raise StoppedError
        self.left -= 1

    def clock(self) -> datetime:
        """The time, which every transaction asks for as it begins."""
        self.step()
        return NOW


class Store:
    """The object store; before and after each message to it is a step."""

    def __init__(self, processor_worker: ProcessorServices, steps: Steps) -> None:
        self._objects, self._steps = processor_worker.objects, steps

    def __getattr__(self, name: str) -> Any:
        def send(*args: Any, **kwargs: Any) -> Any:
            self._steps.step()
            answer = getattr(self._objects, name)(*args, **kwargs)
            self._steps.step()
            return answer

        return send


@pytest.fixture
def log_account(processor: ProcessorServices) -> UUID:
    """An account with chunks that a deletion covers, touches and passes by."""
    account_id = make_log_account(processor)
    sender = Sender(processor, account_id)
    sender.send([point(1, NOW - DAY), point(2, NOW)])
    sender.send([point(3, NOW - DAY)])
    sender.send([point(4, NOW)])
    return account_id


def until_done(work: Callable[[Steps], None]) -> int:
    """Begin the work again and again, stopped one step later each time; how often it was stopped."""
    for number in range(STEPS):
        try:
            work(Steps(number))
        except StoppedError:
            continue
        return number
    raise AssertionError("it never ends")


def test_a_deletion_stopped_at_each_step_erases_what_it_names_once(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    with log_transaction(processor) as tx:
        account = accounts.find_account(tx, log_account)
        conditions = dict.fromkeys(("device_id", "tag_id", "since"))
        row = deletions.order(tx, account, **conditions, before=NOW, trigger="customer")

    def work(steps: Steps) -> None:
        store: Any = Store(processor_worker, steps)
        deletions.carry_out(processor_worker.plane, store, steps.clock, log_account, row.deletion_id)

    assert until_done(work) > 5
    assert [each["i"] for each in stored(processor, log_account)] == [2, 4]
    with log_transaction(processor) as tx:
        done = tx.session.get_one(LogDeletion, (log_account, row.deletion_id))
        assert (done.status, done.points) == ("done", 2)
    named = {chunk.object_key for chunk in chunks_of(processor, log_account)}
    assert named <= objects_of(processor, log_account)


def test_an_export_stopped_at_each_step_is_ready_at_last_with_one_archive(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    with log_transaction(processor) as tx:
        row = exports.order(tx, accounts.find_account(tx, log_account), "ndjson", Selection())
    task = Task(log_account, row.export_id, exports.KIND, row.export_id)

    def work(steps: Steps) -> None:
        store: Any = Store(processor_worker, steps)
        exports.carry_out(processor_worker.plane, store, processor_worker.policy, task, steps.clock)

    assert until_done(work) > 5
    with log_transaction(processor) as tx:
        archive = exports.open_archive(tx, log_account, row.export_id)
    assert b"".join(archive.content(processor.objects)).count(b"\n") == 4
    assert list(processor.objects.keys(f"exports/{log_account}/")) == [archive.row.object_key]


def test_an_export_that_another_worker_took_over_leaves_nothing(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    with log_transaction(processor) as tx:
        row = exports.order(tx, accounts.find_account(tx, log_account), "csv", Selection())
    task = Task(log_account, row.export_id, exports.KIND, row.export_id)

    class Slow(Steps):
        """Another worker does all of it before this one's sixth step."""

        def step(self) -> None:
            """One more step."""
            self.left -= 1
            if self.left == 0:
                carry_out(processor_worker)

    steps = Slow(6)
    store: Any = Store(processor_worker, steps)
    exports.carry_out(processor_worker.plane, store, processor_worker.policy, task, steps.clock)
    with log_transaction(processor) as tx:
        archive = exports.open_archive(tx, log_account, row.export_id)
    assert list(processor.objects.keys(f"exports/{log_account}/")) == [archive.row.object_key]
