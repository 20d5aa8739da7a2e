"""Everything that is to be done at regular times or in every round, each as one function of the services."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from cloudpriv.audit import log as audit_log
from cloudpriv.audit.tiles import LogError
from cloudpriv.bootstrap import Services
from cloudpriv.controller import log_data
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.clock import APART
from cloudpriv.platform.db import Tx, database_time
from cloudpriv.retention import clocks, forecast, holds, notices, runs
from cloudpriv.retention.clocks import Clock
from cloudpriv.retention.duties import DAILY, OFTEN, Slots
from cloudpriv.retention.log_data import is_older, unknown
from cloudpriv.retention.log_data import order_returned as order_again
from cloudpriv.rights import announcements, closure, letters, owners, restriction_ends, telling
from cloudpriv.rights import clocks as clocks_of_rights
from cloudpriv.rights.consents import acts as consents
from workers.sweep import Sweep

log = structlog.get_logger(__name__)

NOTICES_AT_ONCE: Final = 500
PEOPLE_AT_ONCE: Final = 100
CONSENTS_AT_ONCE: Final = 200
OWNERS_AT_ONCE: Final = 500
IDS_TOLD: Final = 20  # of accounts in one line of the log


@dataclass(frozen=True)
class Duty:
    """Something to do once at every slot, however many schedules there are; without slots, by each in every round."""

    name: str
    do: Callable[[Services], object]
    slots: Slots | None = None


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
