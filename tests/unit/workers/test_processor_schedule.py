"""The processor plane's schedule: unfinished tasks are woken, and no duty that fails keeps another from being done."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Event
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.db import Plane
from cloudpriv.platform.errors import BusyError
from cloudpriv.platform.jobs import PROCESSOR_QUEUE, QUEUE, queue
from cloudpriv.processor import tasks
from cloudpriv.processor.upkeep import erasure
from tests.factories import NOW
from tests.logdata import log_transaction, make_log_account
from workers import processor_schedule
from workers.processor_schedule import Duty, Schedule, every_duty
from workers.sweep import ENOUGH, REWAKE

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


@dataclass
class Workplace:
    """A worker's services with a clock that is set by hand, and the jobs that were woken."""

    services: ProcessorServices
    now: datetime = NOW
    woken: list[tuple[str, UUID]] = field(default_factory=list)

    def __post_init__(self) -> None:
        plane = self.services.plane
        recorded = Plane(plane.engine, plane.keys, lambda job, subject: self.woken.append((job, subject)))
        self.services = replace(self.services, plane=recorded, clock=lambda: self.now)


@pytest.fixture
def workplace(processor_worker: ProcessorServices) -> Workplace:
    return Workplace(processor_worker)


def ordered(processor: ProcessorServices) -> UUID:
    """A task of which nobody was told."""
    account_id = make_log_account(processor)
    with log_transaction(processor) as tx:
        task_id = tasks.enqueue(tx, erasure.TASK, account_id)
        tx.wake.clear()
    return task_id


def waking() -> Schedule:
    """A schedule that only wakes workers: other duties have work of their own."""
    return Schedule([duty for duty in every_duty() if duty.name == "tasks"])


def woken_tasks(schedule: Schedule, workplace: Workplace) -> list[UUID]:
    """The tasks for which one round wakes workers."""
    workplace.woken.clear()
    schedule.round(workplace.services)
    return [subject for job, subject in workplace.woken if job == tasks.JOB]


def test_an_unfinished_task_is_woken_and_not_so_soon_again(processor: ProcessorServices, workplace: Workplace) -> None:
    task_id, kept = ordered(processor), waking()
    assert woken_tasks(kept, workplace) == [task_id]
    workplace.now = NOW + REWAKE - SECOND
    assert woken_tasks(kept, workplace) == []
    workplace.now = NOW + REWAKE
    assert woken_tasks(kept, workplace) == [task_id]


def test_a_clock_that_was_put_back_keeps_nothing_from_being_woken(
    processor: ProcessorServices, workplace: Workplace
) -> None:
    task_id, kept = ordered(processor), waking()
    workplace.now = NOW + HOUR
    assert woken_tasks(kept, workplace) == [task_id]
    workplace.now = NOW
    assert woken_tasks(kept, workplace) == [task_id]


def test_while_workers_have_enough_to_do_nothing_is_added(processor: ProcessorServices, workplace: Workplace) -> None:
    ordered(processor)
    waiting = queue(workplace.services.redis, PROCESSOR_QUEUE)
    waiting.enqueue_many([waiting.prepare_data("workers.processor.run_task", ("x",)) for _ in range(ENOUGH)])
    assert woken_tasks(waking(), workplace) == []
    workplace.services.redis.flushdb()
    assert len(woken_tasks(waking(), workplace)) == 1


def test_a_task_is_woken_in_the_queue_of_its_own_plane(
    processor_worker: ProcessorServices, processor: ProcessorServices
) -> None:
    ordered(processor)
    waking().round(replace(processor_worker, clock=lambda: NOW))
    assert queue(processor_worker.redis, PROCESSOR_QUEUE).count == 1
    assert queue(processor_worker.redis, QUEUE).count == 0


def test_a_duty_that_fails_is_reported_and_tried_again_while_the_others_go_on(workplace: Workplace) -> None:
    done: list[str] = []

    def fail(_: ProcessorServices) -> None:
        done.append("failed")
        raise (BusyError() if len(done) < 4 else ValueError("wrong"))

    kept = Schedule([Duty("ailing", fail, HOUR), Duty("well", lambda _: done.append("well"), HOUR)])
    with capture_logs() as told:
        for _ in range(3):
            kept.round(workplace.services)
    assert done == ["failed", "well", "failed", "failed"]
    assert [(line["event"], line["duty"], line["fault"]) for line in told] == [
        ("duty_postponed", "ailing", "BusyError"),
        ("duty_postponed", "ailing", "BusyError"),
        ("duty_failed", "ailing", "ValueError"),
    ]


def test_a_duty_is_done_again_once_its_time_has_come(workplace: Workplace) -> None:
    done: list[datetime] = []
    kept = Schedule([Duty("hourly", lambda services: done.append(services.clock()), HOUR)])
    for now in (NOW, NOW + HOUR - SECOND, NOW + HOUR, NOW - HOUR):
        workplace.now = now
        kept.round(workplace.services)
    assert done == [NOW, NOW + HOUR, NOW - HOUR], "put back, a clock says nothing of when it was done"


def test_duties_have_names_of_their_own() -> None:
    names = [duty.name for duty in processor_schedule.every_duty()]
    assert len(names) == len(set(names))


def test_the_schedule_ends_when_it_is_told_to(workplace: Workplace) -> None:
    stopped = Event()
    stopped.set()
    processor_schedule.run(workplace.services, stopped)
