"""The tasks of the processor plane's workers, one handler per kind.

RQ calls `run_task` with one id; the worker has set what it works with. A task that meets something that is away, or wrong in
keys or objects, ends with a line in the log: its row is there still, and the schedule wakes a worker for it again.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final
from uuid import UUID

import structlog

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform import outbound
from cloudpriv.platform.errors import BusyError, NotFoundError
from cloudpriv.platform.keys import KeyFault
from cloudpriv.processor import tasks
from cloudpriv.processor.orders import deletions, exports, retention
from cloudpriv.processor.storage import compaction, sweep
from cloudpriv.processor.subjects import callbacks, fulfilment, opendsr
from cloudpriv.processor.subjects.callbacks import Teller
from cloudpriv.processor.subjects.fulfilment import Fulfilment
from cloudpriv.processor.tasks import Task
from cloudpriv.processor.upkeep import erasure
from workers import faults

log = structlog.get_logger(__name__)

SERVICES: Final[ContextVar[ProcessorServices]] = ContextVar("processor_services")


def _erase(services: ProcessorServices, task: Task) -> None:
    erasure.carry_out(services.plane, services.objects, task.account_id, services.clock)


def _compact(services: ProcessorServices, task: Task) -> None:
    compaction.carry_out(services.plane, services.objects, services.clock, task.account_id, _subject(task))


def _sweep(services: ProcessorServices, task: Task) -> None:
    noted = sweep.carry_out(services.plane, services.objects, services.clock, task.account_id)
    if noted:
        log.warning("orphans_found", account=str(task.account_id), objects=noted)


def _delete(services: ProcessorServices, task: Task) -> None:
    deletions.carry_out(services.plane, services.objects, services.clock, task.account_id, _subject(task))
    fulfilment.go_on_after(services.plane, services.clock, task.account_id, _subject(task))


def _retain(services: ProcessorServices, task: Task) -> None:
    retention.enforce(services.plane, task.account_id, services.clock)


def _export(services: ProcessorServices, task: Task) -> None:
    exports.carry_out(services.plane, services.objects, services.policy, task, services.clock)


def _fulfil(services: ProcessorServices, task: Task) -> None:
    work = Fulfilment(services.plane, services.objects, services.policy, services.settings.url, services.clock)
    fulfilment.carry_out(work, task)


def _call_back(services: ProcessorServices, task: Task) -> None:
    if services.certificate is None:
        raise KeyFault("no certificate signs callbacks: set CLOUDPRIV_PROCESSOR_CERTIFICATE_FILE")
    also = outbound.networks(services.settings.opendsr_callback_networks)
    callbacks.deliver(services.plane, Teller(services.certificate, also), task, services.clock)


def _subject(task: Task) -> UUID:
    if task.subject_id is None:
        raise NotFoundError
    return task.subject_id


HANDLERS: Final[dict[str, Callable[[ProcessorServices, Task], None]]] = {
    callbacks.TASK: _call_back,
    opendsr.TASK: _fulfil,
    compaction.KIND: _compact,
    deletions.KIND: _delete,
    exports.KIND: _export,
    retention.TASK: _retain,
    sweep.KIND: _sweep,
    erasure.TASK: _erase,
}


def run_task(task_id: str) -> None:
    """Do a task. What stops it, which nobody waits for, is told in one line, and it is begun again."""
    try:
        with faults.told("task", task_id, but=(BusyError, NotFoundError, KeyFault)):
            carry_out(SERVICES.get(), UUID(task_id))
    except BusyError:
        log.warning("task_interrupted", task=task_id)
    except (NotFoundError, KeyFault) as fault:
        log.error("task_failed", task=task_id, fault=type(fault).__name__)


def carry_out(services: ProcessorServices, task_id: UUID) -> None:
    """Do a task with the handler of its kind. What stops it comes out."""
    tasks.carry_out(services.plane, task_id, lambda task: HANDLERS[task.kind](services, task), services.clock)
