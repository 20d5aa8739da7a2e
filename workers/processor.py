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
from cloudpriv.platform.errors import BusyError, NotFoundError
from cloudpriv.platform.keys import KeyFault
from cloudpriv.processor import tasks
from cloudpriv.processor.tasks import Task

log = structlog.get_logger(__name__)

SERVICES: Final[ContextVar[ProcessorServices]] = ContextVar("processor_services")
HANDLERS: Final[dict[str, Callable[[ProcessorServices, Task], None]]] = {}


def run_task(task_id: str) -> None:
    """Do a task. What stops it, which nobody waits for, is told in one line, and it is begun again."""
    try:
        carry_out(SERVICES.get(), UUID(task_id))
    except BusyError:
        log.warning("task_interrupted", task=task_id)
    except (NotFoundError, KeyFault) as fault:
        log.error("task_failed", task=task_id, fault=type(fault).__name__)


def carry_out(services: ProcessorServices, task_id: UUID) -> None:
    """Do a task with the handler of its kind. What stops it comes out."""
    tasks.carry_out(services.plane, task_id, lambda task: HANDLERS[task.kind](services, task), services.clock)
