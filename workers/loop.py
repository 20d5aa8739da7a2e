"""How a worker of either plane takes jobs from its queue and carries them out, one after another, until it is told to stop.

It runs them in its own process. A child for each job, RQ's default, would have to connect to everything anew, since
connections must not cross a fork; and what a child is for, surviving a job that kills its process, the leases in Postgres do
better: another worker goes on.
"""

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Final

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from sqlalchemy import Engine

from cloudpriv.platform.errors import RestoredError
from workers.faults import UnexpectedError, quieten

log = structlog.get_logger(__name__)

ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
RECONNECT_SECONDS: Final = 2.0
WORKER_TTL: Final = 20  # RQ waits 15 s less for a job, so this is how soon it looks after itself: every 5 s
MAINTENANCE_SECONDS: Final = 60


class _Worker(SimpleWorker):
    """RQ's worker without its remote commands, which we neither send nor wish to obey."""

    max_connection_wait_time = 5.0
    told_to_stop = False
    refusal: RestoredError | None = None

    def look_with(self, require_replayed: Callable[[], None]) -> None:
        """Have this called before each job; when it raises RestoredError, that is the `refusal` with which work ends."""
        self._require_replayed = require_replayed

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Carry out a job, unless the database was restored meanwhile: its row says what is to be done after replay."""
        try:
            self._require_replayed()
        except RestoredError as refusal:
            self.refusal = refusal
            raise StopRequested from None  # RQ's way to end: it swallows whatever else is raised
        super().execute_job(job, queue)

    def _finalize_failure(self, job: Job, queue: Queue, execution: Execution, exc_info: ExcInfo) -> None:
        """Let RQ tell and keep of a failure no more than class and place."""
        fault = exc_info[1]
        if fault is not None:
            known = fault if isinstance(fault, UnexpectedError) else UnexpectedError(fault)
            exc_info = (UnexpectedError, known, None)
        super()._finalize_failure(job, queue, execution, exc_info)

    def subscribe(self) -> None:
        """Listen to no commands."""

    def unsubscribe(self) -> None:
        """There is nothing to end."""

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """End after the running job, if there is one; also when Redis, which RQ tells of it, is away."""
        self.told_to_stop = True
        with suppress(RedisError):
            super().request_stop(signum, frame)  # type: ignore[no-untyped-call]  # RQ leaves it without types


@contextmanager
def closing(redis: Redis, engines: Iterable[Engine]) -> Iterator[None]:
    """Let go of these connections at the end."""
    try:
        yield
    finally:
        for engine in engines:
            engine.dispose()
        redis.close()


def carry_out(waiting: Queue, look: Callable[[], None], *, burst: bool) -> None:
    """Carry out the jobs of a queue, with a `look` before each, until told to stop, or with `burst` until it is empty."""
    quieten("rq")
    while not _work(waiting, look, burst=burst):
        time.sleep(RECONNECT_SECONDS)


def _work(waiting: Queue, look: Callable[[], None], *, burst: bool) -> bool:
    """Work until there is a reason to end, which is True, or Redis goes away in the middle of something, which is False."""
    worker: _Worker | None = None
    with _signals_restored():
        try:
            worker = _Worker(
                [waiting],
                connection=waiting.connection,
                serializer=JSONSerializer,
                worker_ttl=WORKER_TTL,
                maintenance_interval=MAINTENANCE_SECONDS,
                log_job_description=False,
            )
            worker.look_with(look)
            worker.work(burst=burst, logging_level="WARNING")
        except StopRequested:
            return True
        except RedisError as fault:
            log.warning("queue_away", fault=type(fault).__name__)
            return worker is not None and worker.told_to_stop
    if worker.refusal is not None:
        raise worker.refusal
    # RQ logs a fault that it meets between two jobs, such as a broken connection, and ends its work as if it were done.
    return burst or worker.told_to_stop


@contextmanager
def _signals_restored() -> Iterator[None]:
    """RQ leaves its handlers behind, and they act on a worker that is no more."""
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
