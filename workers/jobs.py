"""The jobs, one function per name in `cloudpriv.platform.jobs.JOBS`.

RQ calls them by name with one id; the worker has set what they work with. A job that meets something that is away, or wrong
in keys or ledger, ends with a line in the log: its row is unfinished, and the schedule wakes a worker for it again. So does
one that meets what nobody expected, and it is a failed job to RQ, which learns class and place of the fault alone.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final
from uuid import UUID

import structlog

from cloudpriv.bootstrap import Services
from cloudpriv.controller import delivery
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.errors import BusyError, NotFoundError
from cloudpriv.platform.keys import KeyFault
from cloudpriv.retention import purge
from cloudpriv.retention.ledger import LedgerError
from cloudpriv.rights import export, mail
from workers import faults

log = structlog.get_logger(__name__)

PURGES_A_JOB: Final = 20
PURGES_AT_ONCE: Final = 4
FAULTS: Final = (LedgerError, NotFoundError, KeyFault)  # an object, a bucket or a key is not as it has to be
SERVICES: Final[ContextVar[Services]] = ContextVar("services")


@contextmanager
def _reported(job: str, subject: str) -> Iterator[None]:
    """What stops a job, which nobody waits for, is told in one line; its row is unfinished, and it is begun again."""
    try:
        with faults.told(job, subject, but=(BusyError, *FAULTS)):
            yield
    except BusyError:
        log.warning("job_interrupted", job=job, subject=subject)
    except FAULTS as fault:
        log.error("job_failed", job=job, subject=subject, fault=type(fault).__name__)


def run_export(export_id: str) -> None:
    """Produce an export's archive."""
    with _reported("export", export_id):
        services = SERVICES.get()
        key = services.require_proof_key()
        export.run(services.controller, services.exports, services.policy, UUID(export_id), services.clock, key=key)


def run_purge(purge_id: str) -> None:
    """Carry on a purge, and with it others that wait, up to four at a time: while servers work for some, others go on.

    The jobs of those others then find nothing to do. It is a part only, so that other jobs have their turn.
    """
    with _reported("purge", purge_id):
        services, chosen = SERVICES.get(), [UUID(purge_id)]
    with _reported("purge", purge_id), services.controller.transaction(WORKER, services.clock()) as tx:
        chosen += purge.waiting(tx, PURGES_A_JOB)
    # Each may need two connections, one of them to renew its lease, and the pool has one for each of these threads.
    at_once = max(1, min(PURGES_AT_ONCE, services.settings.web_threads // 2))
    with ThreadPoolExecutor(at_once) as threads:
        for done in [threads.submit(_carry_on, services, each) for each in dict.fromkeys(chosen)]:
            done.result()


def _carry_on(services: Services, purge_id: UUID) -> None:
    with _reported("purge", str(purge_id)):
        purge.run(services.controller, services.stores, services.policy, purge_id, services.clock)


def run_mail(mail_id: str) -> None:
    """Send a mail."""
    with _reported("mail", mail_id):
        services = SERVICES.get()
        known = mail.writers(services.post)
        delivery.deliver(services.controller, services.mailer, UUID(mail_id), services.clock, known)
