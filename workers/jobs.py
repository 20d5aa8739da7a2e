"""The jobs, one function per name in `cloudpriv.platform.jobs.JOBS`.

RQ calls them by name with one id; the worker has set what they work with. A job that meets something that is away ends
quietly: its row is unfinished, and the schedule wakes a worker for it again.
"""

from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Final
from uuid import UUID

import structlog

from cloudpriv.bootstrap import Services
from cloudpriv.controller import outbox
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.errors import BusyError
from cloudpriv.retention import notices, purge
from cloudpriv.rights import export

log = structlog.get_logger(__name__)

PURGES_A_JOB: Final = 20
PURGES_AT_ONCE: Final = 2
SERVICES: Final[ContextVar[Services]] = ContextVar("services")


def run_export(export_id: str) -> None:
    """Produce an export's archive."""
    services = SERVICES.get()
    try:
        export.run(services.controller, services.exports, services.policy, UUID(export_id), services.clock)
    except BusyError:
        log.warning("job_interrupted", job="export", subject=export_id)


def run_purge(purge_id: str) -> None:
    """Carry on a purge, and with it others that wait, two at a time: while the database erases for one, the other goes on.

    The jobs of those others then find nothing to do. It is a part only, so that other jobs have their turn.
    """
    services = SERVICES.get()
    try:
        with services.controller.transaction(WORKER, services.clock()) as tx:
            others = purge.waiting(tx, PURGES_A_JOB)
    except BusyError:
        log.warning("job_interrupted", job="purge", subject=purge_id)
        return
    with ThreadPoolExecutor(PURGES_AT_ONCE) as threads:
        for done in [threads.submit(_carry_on, services, each) for each in dict.fromkeys((UUID(purge_id), *others))]:
            done.result()


def _carry_on(services: Services, purge_id: UUID) -> None:
    try:
        purge.run(services.controller, services.stores, services.policy, purge_id, services.clock)
    except BusyError:
        log.warning("job_interrupted", job="purge", subject=str(purge_id))


def run_mail(mail_id: str) -> None:
    """Send a mail."""
    services = SERVICES.get()
    try:
        known = notices.contents(services.policy)
        outbox.deliver(services.controller, services.mailer, UUID(mail_id), services.clock, known)
    except BusyError:
        log.warning("job_interrupted", job="mail", subject=mail_id)
