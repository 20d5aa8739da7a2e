"""Tasks: each is done by one worker at a time, to its end, however often it is asked for."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.errors import BusyError
from cloudpriv.platform.ids import new_id
from cloudpriv.processor import accounts, tasks
from cloudpriv.processor.tasks import LEASE, LaterError, Task
from tests.factories import NOW

SUBJECT = new_id()


@pytest.fixture
def account_id(processor: ProcessorServices) -> UUID:
    """An account with log data."""
    found = new_id()
    with processor.plane.transaction(WORKER, NOW) as tx:
        accounts.open_account(tx, found)
    return found


def enqueue(services: ProcessorServices, account_id: UUID, now: datetime = NOW) -> UUID:
    """A task on SUBJECT."""
    with services.plane.transaction(WORKER, now) as tx:
        return tasks.enqueue(tx, "compact", account_id, SUBJECT)


def unfinished(services: ProcessorServices, now: datetime = NOW) -> list[UUID]:
    """What is to be done at this time."""
    with services.plane.transaction(WORKER, now) as tx:
        return tasks.unfinished(tx)


def carry_out(services: ProcessorServices, task_id: UUID, do: Callable[[Task], None], now: datetime = NOW) -> None:
    """Do a task at this time."""
    tasks.carry_out(services.plane, task_id, do, lambda: now)


def test_a_task_is_done_once_and_gone(processor_worker: ProcessorServices, account_id: UUID) -> None:
    done: list[Task] = []
    task_id = enqueue(processor_worker, account_id)
    carry_out(processor_worker, task_id, done.append)
    carry_out(processor_worker, task_id, done.append)
    assert [(task.account_id, task.kind, task.subject_id) for task in done] == [(account_id, "compact", SUBJECT)]
    assert unfinished(processor_worker) == []


def test_asked_for_twice_it_is_one_task(processor_worker: ProcessorServices, account_id: UUID) -> None:
    assert enqueue(processor_worker, account_id) == enqueue(processor_worker, account_id)
    done: list[Task] = []
    carry_out(processor_worker, unfinished(processor_worker)[0], done.append)
    assert (len(done), unfinished(processor_worker)) == (1, [])


def test_asked_for_while_it_is_being_done_it_is_done_once_more(
    processor_worker: ProcessorServices, account_id: UUID
) -> None:
    task_id = enqueue(processor_worker, account_id)
    carry_out(processor_worker, task_id, lambda _: assert_same(task_id, enqueue(processor_worker, account_id)))
    assert unfinished(processor_worker) == [task_id]
    carry_out(processor_worker, task_id, lambda _: None)
    assert unfinished(processor_worker) == []


def assert_same(one: UUID, other: UUID) -> None:
    """Both are one task."""
    assert one == other


def test_what_somebody_does_nobody_else_does_before_the_lease_is_over(
    processor_worker: ProcessorServices, account_id: UUID
) -> None:
    done: list[str] = []
    task_id = enqueue(processor_worker, account_id)

    def meanwhile(_: Task) -> None:
        assert unfinished(processor_worker, NOW + LEASE / 2) == []
        carry_out(processor_worker, task_id, lambda _: done.append("too early"), NOW + LEASE / 2)
        assert unfinished(processor_worker, NOW + LEASE) == [task_id]
        carry_out(processor_worker, task_id, lambda _: done.append("taken over"), NOW + LEASE)

    carry_out(processor_worker, task_id, meanwhile)
    assert done == ["taken over"]
    assert unfinished(processor_worker, NOW + 2 * LEASE) == []


def test_what_fails_is_tried_again_later_and_later(processor_worker: ProcessorServices, account_id: UUID) -> None:
    task_id, now = enqueue(processor_worker, account_id), NOW

    def fail(_: Task) -> None:
        raise BusyError

    for pause in (5, 10, 20, 40):
        with pytest.raises(BusyError):
            carry_out(processor_worker, task_id, fail, now)
        assert unfinished(processor_worker, now + timedelta(seconds=pause - 1)) == []
        now += timedelta(seconds=pause)
        assert unfinished(processor_worker, now) == [task_id]


def test_a_task_with_nothing_to_do_yet_waits_until_it_says_and_asked_for_again_it_does_not_wait(
    processor_worker: ProcessorServices, account_id: UUID
) -> None:
    task_id, day = enqueue(processor_worker, account_id), timedelta(days=1)

    def wait(_: Task) -> None:
        raise LaterError(NOW + day)

    carry_out(processor_worker, task_id, wait)
    assert unfinished(processor_worker, NOW + day / 2) == []
    assert unfinished(processor_worker, NOW + day) == [task_id]
    assert enqueue(processor_worker, account_id) == task_id
    assert unfinished(processor_worker) == [task_id]


def test_what_failed_keeps_its_pause_when_it_is_asked_for_again(
    processor_worker: ProcessorServices, account_id: UUID
) -> None:
    task_id = enqueue(processor_worker, account_id)

    def fail(_: Task) -> None:
        raise BusyError

    with pytest.raises(BusyError):
        carry_out(processor_worker, task_id, fail)
    assert enqueue(processor_worker, account_id) == task_id
    assert unfinished(processor_worker) == []
    assert unfinished(processor_worker, NOW + tasks.PAUSE) == [task_id]
