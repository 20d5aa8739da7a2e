"""The processor plane's schedule: wakes workers for tasks that are unfinished, and does what is to be done again and again.

Several may run at once: each duty does only what is left to do, so that two of them do nothing twice. Nothing of it needs
Redis.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.jobs import PROCESSOR_QUEUE, queue
from cloudpriv.processor import tasks
from workers.schedule import ENOUGH, ROUND_SECONDS, Sweep, reported, waiting

EACH_ROUND: Final = timedelta(0)


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


def every_duty() -> list[Duty]:
    """Everything that the schedule does."""
    sweep = Sweep()
    return [
        Duty("tasks", lambda services: wake_workers(services, sweep)),
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
    """Keep the schedule until `stopped` is set, for ever without."""
    schedule, end = Schedule(), stopped or threading.Event()
    while not end.is_set():
        schedule.round(services)
        end.wait(ROUND_SECONDS)
