"""The schedule: does every duty whose time has come, and what is to be done in every round.

Several may run at once. What has slots is done once for each, by whoever claims it first; the rest does only what is left to
do, so that two of them do nothing twice. Nothing of it needs Redis.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.errors import BusyError
from cloudpriv.platform.faults import place
from cloudpriv.platform.ids import new_id
from cloudpriv.retention import duties
from cloudpriv.retention.duties import Standing
from cloudpriv.retention.restored import Watch
from workers.duties import Duty, every_duty
from workers.sweep import Sweep

log = structlog.get_logger(__name__)

ROUND_SECONDS: Final = 5.0  # with a lease of 20 s, a stopped worker's work is taken over well within a minute
RENEWAL_SECONDS: Final = 60.0  # of a duty's lease of 5 minutes


@contextmanager
def reported(duty: str) -> Iterator[None]:
    """What stops a duty is told in one line; it is tried again in the next round."""
    try:
        yield
    except (BusyError, OSError) as fault:
        log.warning("duty_postponed", duty=duty, fault=type(fault).__name__)
    except Exception as fault:  # noqa: BLE001  whatever ails one duty, the erasures of the others are promised too
        log.error("duty_failed", duty=duty, fault=type(fault).__name__)


class Schedule:
    """One schedule: what it knows of its duties, and its name in the leases that it takes."""

    def __init__(self, listed: Callable[[Services], Iterable[Duty]] | None = None) -> None:
        """`listed` gives the duties of a round, every one of the service where none is given."""
        self._owner = new_id()
        self._listed = listed or partial(every_duty, Sweep())
        self._settled: dict[str, datetime] = {}  # the slot of each duty that is known to be done: nothing to ask for

    def round(self, services: Services) -> None:
        """Do every duty whose time has come and that nobody else does.

        One that meets a server away waits a round. One that fails otherwise is reported, and tried again in the next round
        too; the others go on.
        """
        for duty in self._listed(services):
            with reported(duty.name):
                self._do(duty, services)

    def _do(self, duty: Duty, services: Services) -> None:
        if duty.slots is None:
            duty.do(services)
            return
        now = services.clock()
        slot = duty.slots.latest(now)
        if self._settled.get(duty.name) == slot:
            return
        with services.controller.transaction(WORKER, now) as tx:
            standing = duties.claim(tx, duty.name, duty.slots, self._owner)
        if standing is Standing.DONE or (standing is Standing.OURS and self._do_slot(duty, slot, services)):
            self._settled[duty.name] = slot

    def _do_slot(self, duty: Duty, slot: datetime, services: Services) -> bool:
        """Do a claimed slot; whether it was still ours in the end."""
        try:
            with self._leased(duty, services):
                duty.do(services)
        except (BusyError, OSError):
            with suppress(BusyError), services.controller.transaction(WORKER, services.clock()) as tx:
                duties.release(tx, duty.name, self._owner)
            raise
        with services.controller.transaction(WORKER, services.clock()) as tx:
            finished = duties.finish(tx, duty.name, slot, self._owner)
        if not finished:
            log.warning("duty_taken_over", duty=duty.name)
        return finished

    @contextmanager
    def _leased(self, duty: Duty, services: Services) -> Iterator[None]:
        """Renew the duty's lease beside it for as long as the block lasts."""
        ended = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(duty, services, ended), name="duty")
        renewal.start()
        try:
            yield
        finally:
            ended.set()
            renewal.join()

    def _renew(self, duty: Duty, services: Services, ended: threading.Event) -> None:
        while not ended.wait(RENEWAL_SECONDS):
            try:
                with services.controller.transaction(WORKER, services.clock()) as tx:
                    duties.renew(tx, duty.name, self._owner)
            except BusyError:
                log.warning("lease_not_renewed", duty=duty.name)
            except Exception as fault:  # noqa: BLE001  the thread would die of it, and print its text
                log.error("lease_not_renewed", duty=duty.name, fault=type(fault).__name__, place=place(fault))


def run(services: Services, stopped: threading.Event | None = None) -> None:
    """Keep the schedule until `stopped` is set, for ever without. Raises RestoredError once the database was restored."""
    schedule, watch, end = Schedule(), Watch(), stopped or threading.Event()
    while not end.is_set():
        watch.require_replayed(services.controller, services.ledger, services.clock)
        schedule.round(services)
        end.wait(ROUND_SECONDS)
