"""A job that fails on what nobody expected: neither the worker's log nor the queue has the text of the fault (law 6)."""

import base64
import binascii
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from cloudpriv.bootstrap import ProcessorServices, Services
from cloudpriv.platform import jobs
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.jobs import PROCESSOR_QUEUE, QUEUE
from tests.patience import PATIENCE
from tests.rawsearch import shapes, unpacked
from tests.stack import TestDatabase

CANARY = "canary5f0e2b"
# A worker as it is started, but for one thing that its jobs call: it fails with somebody's address in the text.
STAGED = """
import sys

def fail(*_, **__):
    try:
        raise KeyError("{canary}@example.com")
    except KeyError as fault:
        raise {kind}("Anna {canary}") from fault

{planted}
"""
CONTROLLED = """
from workers.__main__ import main
main()
"""
PROCESSED = """
from cloudpriv.config import load_processor
from cloudpriv.platform.logs import configure_logging
from workers import processor_main
configure_logging("INFO")
processor_main.run(load_processor("worker"), burst=True)
"""
CONTROLLER = "from workers import jobs\njobs.delivery.deliver = jobs.purge.run = jobs.export.run = fail"
PROCESSOR = "from workers import processor\nprocessor.tasks.carry_out = fail"
OF_RQ = "from rq.job import Job\nJob.perform = fail"
BETWEEN_JOBS = "from rq import SimpleWorker\nSimpleWorker.execute_job = fail"


def work(environment: dict[str, str], planted: str, run: str = CONTROLLED, *, kind: str = "ValueError") -> list[str]:
    """Start a staged worker that ends when its queue is empty; the lines of its output."""
    program = STAGED.format(planted=planted, canary=CANARY, kind=kind) + run
    command = [sys.executable, "-c", program, "--burst"]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return (done.stdout + done.stderr).decode().splitlines()


def of_queue(redis: Redis) -> Iterator[bytes]:
    """Every key and value of the queue, packed or not."""
    for key in redis.scan_iter():
        yield key
        for value in _values(redis, key):
            yield from unpacked(value)
            try:
                yield from unpacked(base64.b64decode(value, validate=True))
            except binascii.Error:
                continue


def _values(redis: Redis, key: bytes) -> list[bytes]:
    read: dict[Any, Any] = {
        b"string": lambda: [redis.get(key)],
        b"hash": lambda: [part for pair in redis.hgetall(key).items() for part in pair],
        b"list": lambda: redis.lrange(key, 0, -1),
        b"set": lambda: redis.smembers(key),
        b"zset": lambda: redis.zrange(key, 0, -1),
        b"stream": lambda: [part for _, entry in redis.xrange(key) or [] for pair in (entry or {}).items() for part in pair],
    }
    return list(read[redis.type(key)]())


def assert_untold(redis: Redis, lines: list[str]) -> None:
    contents = [*of_queue(redis), "\n".join(lines).encode()]
    sought = shapes(CANARY)
    assert [name for content in contents for name, shape in sought.items() if shape in content] == []


def failures(redis: Redis, queue: str) -> list[str]:
    """What the queue keeps of its failed jobs."""
    registry = jobs.queue(redis, queue).failed_job_registry
    found = [Job.fetch(each, connection=redis, serializer=JSONSerializer).latest_result() for each in registry.get_job_ids()]
    return [result.exc_string or "" for result in found if result is not None]


def told(lines: list[str]) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, lines) if line["event"] == "job_failed"]


@pytest.mark.parametrize("job", ["mail", "purge", "export"])
def test_of_a_fault_that_no_job_expects_log_and_queue_have_class_and_place(
    services: Services, database: TestDatabase, job: str
) -> None:
    subject = new_id()
    jobs.Waker(services.redis)(job, subject)
    lines = work(database.environment("controller"), CONTROLLER)
    assert_untold(services.redis, lines)
    [line] = told(lines)
    assert (line["job"], line["subject"], line["fault"]) == (job, str(subject), "ValueError")
    assert line["place"].startswith("workers.jobs:")
    [kept] = failures(services.redis, QUEUE)
    assert kept == f"workers.faults.UnexpectedError: ValueError at {line['place']}\n"


def test_so_it_is_in_the_processor_plane(processor: ProcessorServices, database: TestDatabase) -> None:
    jobs.Waker(processor.redis, PROCESSOR_QUEUE)("task", new_id())
    lines = work(database.environment("processor"), PROCESSOR, PROCESSED)
    assert_untold(processor.redis, lines)
    assert [line["fault"] for line in told(lines)] == ["ValueError"]
    assert len(failures(processor.redis, PROCESSOR_QUEUE)) == 1


@pytest.mark.parametrize("kind", ["ValueError", "SystemExit", "KeyboardInterrupt"])
def test_nor_have_they_more_of_a_fault_outside_the_job(services: Services, database: TestDatabase, kind: str) -> None:
    jobs.Waker(services.redis)("mail", new_id())
    lines = work(database.environment("controller"), OF_RQ, kind=kind)
    assert_untold(services.redis, lines)
    [kept] = failures(services.redis, QUEUE)
    assert kept.startswith(f"workers.faults.UnexpectedError: {kind} at ")


def test_nor_of_one_between_two_jobs(services: Services, database: TestDatabase) -> None:
    jobs.Waker(services.redis)("mail", new_id())
    lines = work(database.environment("controller"), BETWEEN_JOBS)
    assert_untold(services.redis, lines)
    assert [json.loads(line)["fault"] for line in lines if "queue_says" in line] == ["ValueError"]
