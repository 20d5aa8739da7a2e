"""The processor plane's schedule: wakes workers for tasks that are unfinished, and does what is to be done again and again.

Several may run at once: each duty does only what is left to do, so that two of them do nothing twice. Nothing of it needs
Redis.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.jobs import PROCESSOR_QUEUE, queue
from cloudpriv.platform.watch import Watch
from cloudpriv.processor import tasks
from cloudpriv.processor.orders import retention
from cloudpriv.processor.storage import compaction, restored
from cloudpriv.processor.storage import sweep as orphans
from cloudpriv.processor.upkeep import clocks, erasure, telling
from workers.schedule import ROUND_SECONDS, reported
from workers.sweep import ENOUGH, Sweep, waiting

log = structlog.get_logger(__name__)

EACH_ROUND: Final = timedelta(0)
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
ACCOUNTS_AT_ONCE: Final = 500


@dataclass(frozen=True)
class Duty:
    """Something that each schedule does when it starts, and again once `every` has passed since."""

    name: str
    do: Callable[[ProcessorServices], object]
    every: timedelta = EACH_ROUND


def wake_workers(services: ProcessorServices, sweep: Sweep) -> None:
    """Enqueue every unfinished task, unless workers have ENOUGH to do as it is."""
    if waiting(queue(services.redis, PROCESSOR_QUEUE)) >= ENOUGH:
        return
    now = services.clock()
    with services.plane.transaction(WORKER, now, read_only=True) as tx:
        unfinished = tasks.unfinished(tx)
    sweep.wake(services.plane, [(tasks.JOB, task_id) for task_id in unfinished], now)


def begin_erasures(services: ProcessorServices) -> None:
    """Have workers carry out the erasures of whole accounts that the controller plane has ordered."""
    with services.plane.transaction(WORKER, services.clock()) as tx:
        erasure.enqueue_ordered(tx)


def tell_traffic(services: ProcessorServices) -> None:
    """Tell the controller plane of the accounts that had points."""
    if services.teller is not None:
        telling.tell(services.plane, services.teller, services.clock)


def remove_returned(services: ProcessorServices) -> None:
    """Remove what a backup of the bucket brought back, or came late, of accounts that were erased."""
    removed = erasure.remove_returned(services.plane, services.objects, services.clock)
    if removed:
        log.warning("returned_objects_removed", accounts=removed)


def keep_rules(services: ProcessorServices) -> None:
    """Have workers erase what is over by customers' own rules, once a day in each account."""
    enqueued = ACCOUNTS_AT_ONCE
    while enqueued == ACCOUNTS_AT_ONCE:
        with services.plane.transaction(WORKER, services.clock()) as tx:
            enqueued = retention.enqueue_due(tx, ACCOUNTS_AT_ONCE)


def erase_kept(services: ProcessorServices) -> None:
    """Erase what the plane keeps for its own working once its time is over, the access log of this host too."""
    folder = services.settings.access_log_dir
    erased = clocks.erase(services.plane, services.policy, services.clock, Path(folder) if folder else None)
    for rule, number in erased.items():
        if number:
            log.info("erased", rule=rule, number=number)


def begin_compactions(services: ProcessorServices) -> None:
    """Have workers compact the devices that are due."""
    with services.plane.transaction(WORKER, services.clock()) as tx:
        compaction.enqueue_due(tx, ACCOUNTS_AT_ONCE)


def begin_sweeps(services: ProcessorServices) -> None:
    """Have workers look for objects without a row, in every account."""
    last: UUID | None = orphans.FIRST
    while last is not None:
        with services.plane.transaction(WORKER, services.clock()) as tx:
            last = orphans.enqueue_due(tx, ACCOUNTS_AT_ONCE, last)


def remove_garbage(services: ProcessorServices) -> None:
    """Remove objects that nothing needs any more."""
    orphans.remove_garbage(services.plane, services.objects, services.clock)


def mark_newest(services: ProcessorServices) -> None:
    """Have the bucket tell how far the database came, by which a restore is known."""
    restored.mark_newest(services.plane, services.objects, services.clock)


def every_duty() -> list[Duty]:
    """Everything that the schedule does."""
    sweep = Sweep()
    return [
        Duty("mark", mark_newest, MINUTE),
        Duty("erasures", begin_erasures),
        Duty("tasks", lambda services: wake_workers(services, sweep)),
        Duty("traffic", tell_traffic, MINUTE),
        Duty("compactions", begin_compactions, MINUTE),
        Duty("garbage", remove_garbage, MINUTE),
        Duty("sweeps", begin_sweeps, DAY),
        Duty("retention", keep_rules, MINUTE),
        Duty("clocks", erase_kept, HOUR),
        Duty("returned_objects", remove_returned, DAY),
    ]


class Schedule:
    """One schedule: its duties, and when it did each last."""

    def __init__(self, duties: list[Duty] | None = None) -> None:
        """`duties` are those of the service where none are given."""
        self._duties = every_duty() if duties is None else duties
        self._done: dict[str, datetime] = {}

    def round(self, services: ProcessorServices) -> None:
        """Do every duty whose time has come. One that fails is reported and tried again in the next round."""
        for duty in self._duties:
            now, last = services.clock(), self._done.get(duty.name)
            # A time ahead of now was set by a clock that has been put back since.
            if last is not None and last <= now < last + duty.every:
                continue
            with reported(duty.name):
                duty.do(services)
                self._done[duty.name] = now


def run(services: ProcessorServices, stopped: threading.Event | None = None) -> None:
    """Keep the schedule until `stopped` is set, for ever without. Raises RestoredError once the database was restored."""
    schedule, watch, end = Schedule(), Watch(), stopped or threading.Event()
    require = partial(restored.require_current, services.plane, services.objects, services.clock)
    while not end.is_set():
        watch.require(require, services.clock())
        schedule.round(services)
        end.wait(ROUND_SECONDS)
