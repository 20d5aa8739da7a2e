"""The schedule: wakes workers for what Postgres says is unfinished, and keeps the clocks of what the service itself holds.

Several may run at once: every duty does only what is left to do, so that two of them do nothing twice.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from redis.exceptions import RedisError

from cloudpriv.bootstrap import Services
from cloudpriv.controller import idempotency, outbox
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.errors import BusyError
from cloudpriv.platform.jobs import queue
from cloudpriv.retention import purge
from cloudpriv.rights import export

log = structlog.get_logger(__name__)

ROUND_SECONDS: Final = 5.0  # with a lease of 30 s, a stopped worker's work is taken over well within a minute
REWAKE: Final = timedelta(seconds=20)  # a job may wait that long in the queue before it is thought to be lost
PLANNED_AT_ONCE: Final = 1000
ENOUGH: Final = 1000  # jobs in the queue; while nobody takes them, more of the same would fill Redis

Duty = Callable[[Services], None]


class Sweep:
    """Wakes workers for unfinished work, not for the same again within REWAKE."""

    def __init__(self) -> None:
        self._woken: dict[tuple[str, UUID], datetime] = {}

    def __call__(self, services: Services) -> None:
        """Enqueue every unfinished purge, export and mail, unless workers have ENOUGH to do as it is."""
        if _waiting(services) >= ENOUGH:
            return
        now = services.clock()
        with services.controller.transaction(WORKER, now, read_only=True) as tx:
            found = {"purge": purge.unfinished(tx), "export": export.unfinished(tx), "mail": outbox.unfinished(tx)}
        unfinished = [(job, each) for job, subjects in found.items() for each in subjects]
        # A time ahead of now was set by a clock that has been put back since.
        self._woken = {work: at for work, at in self._woken.items() if now - REWAKE < at <= now}
        for work in unfinished:
            if work not in self._woken:
                services.controller.enqueue(*work)
                self._woken[work] = now


def _waiting(services: Services) -> int:
    try:
        return queue(services.redis).count
    except RedisError:
        return 0  # the wake-ups will be lost, and logged


def forget_answers(services: Services) -> None:
    """Erase answers kept for idempotency keys once their day is over."""
    with services.controller.transaction(WORKER, services.clock()) as tx:
        idempotency.forget_expired(tx)


def forget_mails(services: Services) -> None:
    """Erase what is left of mails that ended long ago."""
    with services.controller.transaction(WORKER, services.clock()) as tx:
        outbox.forget_finished(tx)


def expire_exports(services: Services) -> None:
    """Erase archives whose days are over."""
    export.expire(services.controller, services.exports, services.clock)


def plan_due(services: Services, at_once: int = PLANNED_AT_ONCE) -> None:
    """Plan the erasure of all that is due, where the settings let the service begin erasures by itself."""
    more = services.settings.purge_automatically
    while more:
        with services.controller.transaction(WORKER, services.clock()) as tx:
            more = len(purge.plan_due(tx, services.policy, limit=at_once)) == at_once


class Schedule:
    """The duties, each at its interval by the services' clock; one that meets a server away is tried again next round."""

    def __init__(self) -> None:
        self._duties: dict[str, tuple[Duty, timedelta]] = {
            "sweep": (Sweep(), timedelta(0)),
            "forget_answers": (forget_answers, timedelta(minutes=10)),
            "forget_mails": (forget_mails, timedelta(hours=1)),
            "expire_exports": (expire_exports, timedelta(minutes=10)),
            "plan_due": (plan_due, timedelta(days=1)),
        }
        self._done: dict[str, datetime] = {}

    def round(self, services: Services) -> None:
        """Do every duty whose time has come."""
        for name, (duty, interval) in self._duties.items():
            done = self._done.get(name)
            if done is None or not done <= services.clock() < done + interval:  # also after the clock was put back
                self._do(name, duty, services)

    def _do(self, name: str, duty: Duty, services: Services) -> None:
        begun = services.clock()
        try:
            duty(services)
        except BusyError:
            log.warning("duty_postponed", duty=name)
        else:
            self._done[name] = begun


def run(services: Services, stopped: threading.Event | None = None) -> None:
    """Keep the schedule until `stopped` is set, for ever without."""
    schedule, end = Schedule(), stopped or threading.Event()
    while not end.is_set():
        schedule.round(services)
        end.wait(ROUND_SECONDS)
