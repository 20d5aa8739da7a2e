"""The worker of the controller plane. It loads nothing of log data, which takes memory; workers.loop tells how it works."""

from functools import partial

import cloudpriv.metadata  # noqa: F401  registers every table, so that no erasure overlooks one
from cloudpriv.bootstrap import build
from cloudpriv.config import Settings
from cloudpriv.platform.jobs import queue
from cloudpriv.retention.restored import Watch
from workers import jobs
from workers.loop import carry_out, closing


def run(settings: Settings, *, burst: bool = False) -> None:
    """Carry out jobs until SIGTERM or SIGINT, or with `burst` until the queue is empty; the running job is finished first.

    Redis may go away and come back meanwhile. Any number of workers may run. Raises RestoredError once the database was
    restored from a backup: nothing is done on it before it was replayed.
    """
    services, watch = build(settings), Watch()
    jobs.SERVICES.set(services)
    engines = [plane.engine for plane in (services.controller, services.eraser) if plane is not None]
    look = partial(watch.require_replayed, services.controller, services.ledger, services.clock)
    with closing(services.redis, engines):
        carry_out(queue(services.redis), look, burst=burst)
