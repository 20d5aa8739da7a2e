"""Faults that nobody expected: told by class and place alone, since their texts and causes may quote personal data (law 6).

RQ would print an exception with its text and causes, and keep it in Redis for whoever looks at failed jobs. So what it gets
to see of one is an UnexpectedError, and what it says itself goes through our log without the values it puts in.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from cloudpriv.platform.faults import place

log = structlog.get_logger(__name__)


class UnexpectedError(Exception):
    """Stands for a fault that nobody expected: its text is the fault's class and place."""

    def __init__(self, fault: BaseException) -> None:
        self.fault, self.place = type(fault).__name__, place(fault)
        super().__init__(f"{self.fault} at {self.place}")


@contextmanager
def told(job: str, subject: str, *, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Have a fault told in one line and go on as an UnexpectedError that has nothing else of it, but for expected ones."""
    try:
        yield
    except UnexpectedError:
        raise
    except Exception as fault:
        if isinstance(fault, but):
            raise
        known = UnexpectedError(fault)
        log.error("job_failed", job=job, subject=subject, fault=known.fault, place=known.place)
        raise known from None


class _Quiet(logging.Handler):
    """What a library says, without the values in it: they may be texts of exceptions."""

    def emit(self, record: logging.LogRecord) -> None:
        fault = record.exc_info[1] if record.exc_info else None
        found = {} if fault is None else {"fault": type(fault).__name__, "place": place(fault)}
        told_as = log.error if record.levelno >= logging.ERROR else log.warning
        said = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        told_as("queue_says", logger=record.name, said=said, **found)


def quieten(name: str) -> None:
    """Have whatever the loggers of a library say come through our log, from warnings on."""
    logger = logging.getLogger(name)
    logger.handlers[:] = [_Quiet(logging.WARNING)]
    logger.propagate = False
