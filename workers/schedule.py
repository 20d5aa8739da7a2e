"""The schedule: wakes workers for what Postgres says is unfinished, and does what is to be done at regular times.

Several may run at once. What has slots is done once for each, by whoever claims it first; the rest does only what is left to
do, so that two of them do nothing twice. Nothing of it needs Redis.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog
from redis.exceptions import RedisError
from rq import Queue

from cloudpriv.audit import log as audit_log
from cloudpriv.audit.tiles import LogError
from cloudpriv.bootstrap import Services
from cloudpriv.controller import log_data, outbox
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.clock import APART
from cloudpriv.platform.db import Plane, Tx, database_time
from cloudpriv.platform.errors import BusyError
from cloudpriv.platform.faults import place
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.jobs import queue
from cloudpriv.retention import clocks, duties, forecast, holds, notices, purge, runs
from cloudpriv.retention.clocks import Clock
from cloudpriv.retention.duties import DAILY, OFTEN, Slots, Standing
from cloudpriv.retention.log_data import is_older, unknown
from cloudpriv.retention.log_data import order_returned as order_again
from cloudpriv.retention.restored import Watch
from cloudpriv.rights import announcements, closure, export, letters, owners, restriction_ends, telling
from cloudpriv.rights import clocks as clocks_of_rights
from cloudpriv.rights.consents import acts as consents

log = structlog.get_logger(__name__)

ROUND_SECONDS: Final = 5.0  # with a lease of 20 s, a stopped worker's work is taken over well within a minute
RENEWAL_SECONDS: Final = 60.0  # of a duty's lease of 5 minutes
REWAKE: Final = timedelta(seconds=20)  # a job may wait that long in the queue before it is thought to be lost
NOTICES_AT_ONCE: Final = 500
PEOPLE_AT_ONCE: Final = 100
CONSENTS_AT_ONCE: Final = 200
OWNERS_AT_ONCE: Final = 500
IDS_TOLD: Final = 20  # of accounts in one line of the log
ENOUGH: Final = 1000  # jobs in the queue; while nobody takes them, more of the same would fill Redis


@dataclass(frozen=True)
class Duty:
    """Something to do once at every slot, however many schedules there are; without slots, by each in every round."""

    name: str
    do: Callable[[Services], object]
    slots: Slots | None = None


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
            found = {"purge": purge.unfinished(tx), "export": export.unfinished(tx), "mail": outbox.unfinished(tx)}
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


def every_clock(services: Services) -> tuple[Clock, ...]:
    """The clock of everything that the service keeps, but for accounts, which go by purges."""
    folder = services.settings.access_log_dir
    access_log = clocks.access_log(Path(folder) if folder else None)
    of_rights = (clocks_of_rights.REQUESTS, clocks_of_rights.SESSIONS, clocks_of_rights.CODES)
    return (clocks_of_rights.archives(services.exports), *of_rights, *clocks.CLOCKS, access_log)


def erase(clock: Clock, services: Services) -> None:
    """Erase what is due by a clock."""
    erased = clock.erase(services.controller, services.policy, services.clock)
    if erased:
        log.info("erased", rule=clock.key, number=erased)


def advance_log(services: Services) -> None:
    """Log pending entries, and publish the tree's checkpoint, where there is a key to sign it. A log at odds waits."""
    if services.proof_key is None:
        return
    base = audit_log.origin_base(services.settings.issuer)
    try:
        audit_log.advance(services.controller, services.ledger, services.proof_key, base, services.clock)
    except LogError as fault:
        log.error("log_stands_still", fault=type(fault).__name__)


def until_done(services: Services, most: int, see_to: Callable[[Tx], int]) -> None:
    """Have `see_to` called in one transaction after the other, until it had less than `most` to do."""
    done = most
    while done == most:
        with services.controller.transaction(WORKER, services.clock()) as tx:
            done = see_to(tx)


def give_notices(services: Services) -> None:
    """Give every notice that is due, unless this host's clock is ahead: no mail that tells what is not so comes back."""
    unreadable: set[UUID] = set()

    def give(tx: Tx) -> int:
        if tx.now > database_time(tx) + APART:
            log.error("notices_not_given", fault="clocks_apart")
            return 0
        return notices.give_due(tx, services.policy, limit=NOTICES_AT_ONCE, unreadable=unreadable)

    until_done(services, NOTICES_AT_ONCE, give)


def erase_held_people(services: Services) -> None:
    """Erase the people whose erasure had to wait for holds that have ended."""
    until_done(services, PEOPLE_AT_ONCE, lambda tx: holds.erase_released(tx, PEOPLE_AT_ONCE))


def expire_consents(services: Services) -> None:
    """Write down what was asked about consents and not confirmed in time."""
    some = partial(consents.expire, policy=services.policy, limit=CONSENTS_AT_ONCE, unreadable=set())
    until_done(services, CONSENTS_AT_ONCE, some)


def announce_policy(services: Services) -> None:
    """Announce the policy in force and the next one to every owner who is to be told, where marked as a major change."""
    for policy in services.policies.known(services.clock()):
        some = partial(announcements.announce, policy=policy, limit=OWNERS_AT_ONCE, unreadable=set())
        until_done(services, OWNERS_AT_ONCE, some)


def take_in_traffic(services: Services) -> None:
    """Move the clocks of the accounts that the processor plane told log data's traffic of."""
    until_done(services, log_data.ACCOUNTS_AT_ONCE, log_data.take_in)


def order_returned(services: Services) -> None:
    """Have log data of accounts that are gone erased again, where a backup brought it back."""
    if services.eraser is None:
        return
    returned = order_again(services.controller, services.eraser, services.clock)
    if returned:
        log.warning("log_data_had_returned", accounts=len(returned))


def order_returned_at_once(services: Services) -> None:
    """Do so in the round after log data's database came from a backup, before anything of it is served."""
    if services.eraser is not None and is_older(services.controller, services.eraser, services.clock):
        order_returned(services)


def tell_unknown(services: Services) -> None:
    """Report log data of accounts that this plane does not know, for an operator to decide about."""
    if services.eraser is None:
        return
    found = unknown(services.controller, services.eraser, services.clock)
    if found:
        log.error("log_data_without_account", accounts=len(found), ids=[str(each) for each in found[:IDS_TOLD]])


def close_accounts(services: Services) -> None:
    """Plan the purges of accounts whose cooling-off is over."""
    closure.advance(services.controller, services.policy, services.clock)


def end_restrictions(services: Services) -> None:
    """End restrictions whose end was announced, and has come."""
    restriction_ends.advance(services.controller, services.clock)


def replace_owners(services: Services) -> None:
    """Make those owners whose waiting time is over."""
    owners.advance(services.controller, services.clock)


def tell_of_requests(services: Services) -> None:
    """Mail the privacy address which requests are overdue, nearly due or stuck, if there are any."""
    with services.controller.transaction(WORKER, services.clock()) as tx:
        letters.queue_digest(tx, services.settings.privacy_address)


def settle_notices(services: Services) -> None:
    """Enter how the mails to recipients of data ended; what they did not take is left to staff."""
    until_done(services, telling.AT_ONCE, telling.conclude)


def count_forecast(services: Services) -> None:
    """Count anew what falls due in which month."""
    with services.controller.transaction(WORKER, services.clock()) as tx:
        forecast.count(tx, services.policy)


def plan_due(services: Services) -> None:
    """Plan the erasure of all that is due, where the settings let the service begin erasures by itself."""
    planned = services.settings.purge_automatically
    while planned:
        with services.controller.transaction(WORKER, services.clock()) as tx:
            planned = bool(runs.plan_due(tx, services.terms(tx)))


def every_duty(sweep: Sweep, services: Services) -> Iterator[Duty]:
    """Everything that the schedule does."""
    yield Duty("sweep", sweep)
    yield Duty("log", advance_log)
    yield Duty("log_data_traffic", take_in_traffic)
    yield Duty("log_data_restored", order_returned_at_once)
    for clock in every_clock(services):
        # Each host has its own access log, so each schedule erases it.
        yield Duty(clock.key, partial(erase, clock), OFTEN if clock.shared else None)
    yield Duty("held_people", erase_held_people, OFTEN)
    yield Duty("closings", close_accounts, OFTEN)
    yield Duty("recipients", settle_notices, OFTEN)
    yield Duty("owners", replace_owners, OFTEN)
    yield Duty("restrictions", end_restrictions, OFTEN)
    yield Duty("requests_pressing", tell_of_requests, DAILY)
    yield Duty("notices", give_notices, DAILY)
    yield Duty("consents_expired", expire_consents, DAILY)
    yield Duty("policy_change", announce_policy, DAILY)
    yield Duty("log_data_returned", order_returned, DAILY)
    yield Duty("log_data_unknown", tell_unknown, DAILY)
    yield Duty("plan_due", plan_due, DAILY)
    yield Duty("forecast", count_forecast, DAILY)


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
