"""The sweep: wakes workers for what Postgres says is unfinished, so that nothing is lost with Redis."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from redis.exceptions import RedisError
from rq import Queue

from cloudpriv.bootstrap import Services
from cloudpriv.controller import delivery
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane
from cloudpriv.platform.jobs import queue
from cloudpriv.retention import purge
from cloudpriv.rights import export

REWAKE: Final = timedelta(seconds=20)  # a job may wait that long in the queue before it is thought to be lost
ENOUGH: Final = 1000  # jobs in the queue; while nobody takes them, more of the same would fill Redis


class Sweep:
    """Wakes workers for unfinished work, not for the same again within REWAKE."""

    def __init__(self) -> None:
        self._woken: dict[tuple[str, UUID], datetime] = {}

    def __call__(self, services: Services) -> None:
        """Enqueue every unfinished purge, export and mail, unless workers have ENOUGH to do as it is."""
        if waiting(queue(services.redis)) >= ENOUGH:
            return
        now = services.clock()
        with services.controller.transaction(WORKER, now, read_only=True) as tx:
            found = {"purge": purge.unfinished(tx), "export": export.unfinished(tx), "mail": delivery.unfinished(tx)}
        self.wake(services.controller, [(job, each) for job, subjects in found.items() for each in subjects], now)

    def wake(self, plane: Plane, unfinished: Iterable[tuple[str, UUID]], now: datetime) -> None:
        """Enqueue those jobs on their subjects that were not enqueued just before."""
        # A time ahead of now was set by a clock that has been put back since.
        self._woken = {work: at for work, at in self._woken.items() if now - REWAKE < at <= now}
        for work in unfinished:
            if work not in self._woken:
                plane.enqueue(*work)
                self._woken[work] = now


def waiting(jobs: Queue) -> int:
    """How many jobs wait in a queue; 0 while it is away."""
    try:
        return jobs.count
    except RedisError:
        return 0  # the wake-ups will be lost, and logged
