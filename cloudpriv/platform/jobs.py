"""Jobs: RQ only wakes workers; what is to be done stands in Postgres (law 3).

A job's payload is its name and one id. Losing a wake-up costs nothing but time: the sweep enqueues whatever Postgres says is
unfinished. The serializer is JSON, since unpickling what lies in Redis would run it.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from cloudpriv.platform.errors import BusyError

log = structlog.get_logger(__name__)

QUEUE: Final = "cloudpriv"
PROCESSOR_QUEUE: Final = "cloudpriv-processor"
JOBS: Final[dict[str, str]] = {
    "export": "workers.jobs.run_export",
    "purge": "workers.jobs.run_purge",
    "mail": "workers.jobs.run_mail",
    "task": "workers.processor.run_task",
}
SUBJECTS: Final = {"export": ("exports", "export_id"), "mail": ("outbox", "mail_id")}  # whose jobs go with an account
TIMEOUT: Final = timedelta(hours=6)  # longer than the largest export; a stopped worker is found by its lease long before
KEPT: Final = timedelta(hours=1)  # RQ keeps failed jobs for a year by default


def connect(url: str) -> Redis:
    """A client of Redis or Valkey that gives up quickly."""
    return Redis.from_url(url, socket_connect_timeout=2, socket_timeout=5)


def queue(redis: Redis, name: str = QUEUE) -> Queue:
    """The one queue of a plane."""
    return Queue(name, connection=redis, serializer=JSONSerializer)


class Waker:
    """Enqueues wake-ups; a lost one is logged and left to the sweep."""

    def __init__(self, redis: Redis, name: str = QUEUE) -> None:
        self._queue = queue(redis, name)

    def __call__(self, job: str, subject: UUID) -> None:
        """Wake a worker for `job` (a key of JOBS) on `subject`. Never raises for a queue that is away."""
        options: dict[str, Any] = {
            "timeout": int(TIMEOUT.total_seconds()),
            "result_ttl": 0,
            "failure_ttl": int(KEPT.total_seconds()),
        }
        try:
            self._queue.enqueue_call(JOBS[job], args=(str(subject),), description=f"{job} {subject}", **options)
        except RedisError as fault:
            log.warning("wake_up_lost", job=job, subject=str(subject), fault=type(fault).__name__)


def forget(redis: Redis, subjects: Collection[UUID]) -> None:
    """Take every job on one of `subjects` out of Redis, waiting or failed. Raises BusyError when Redis is away."""
    if not subjects:
        return
    named = {str(subject) for subject in subjects}
    waiting = queue(redis)
    try:
        for job_id in [*waiting.job_ids, *waiting.failed_job_registry.get_job_ids()]:
            subject = redis.hget(Job.key_for(job_id), "description")
            if isinstance(subject, bytes) and subject.decode().rpartition(" ")[2] in named:
                _delete(redis, job_id)
    except RedisError:
        raise BusyError("The queue does not answer.") from None


def _delete(redis: Redis, job_id: str) -> None:
    try:
        job = Job.fetch(job_id, connection=redis, serializer=JSONSerializer)
    except NoSuchJobError:  # a worker has just taken it
        return
    with redis.pipeline(transaction=True) as together:  # without its place in the queue, nobody would find the rest again
        job.delete(pipeline=together)
        together.execute()
