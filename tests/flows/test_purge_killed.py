"""Servers and workers die in the middle of the purge of a large account: it ends in time, once, wholly, with its proof."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from cloudpriv.embedded import postgres, valkey
from cloudpriv.embedded.credentials import credentials_in
from cloudpriv.embedded.errors import StartFailed
from cloudpriv.embedded.identity import choose
from cloudpriv.embedded.process import Server, await_answer, stop
from cloudpriv.embedded.stack import Stack, running
from cloudpriv.retention.steps import STEPS
from tests.faults.points import Fault
from tests.faults.stage import Stage, sockets_of, staged
from tests.faults.survival import await_workers, ordered, process
from tests.patience import PATIENCE
from tests.stack import fresh_database, migrate_template

OUTAGE = 20.0  # seconds
PASSWORD = "of-this-test-alone"
LOSSES = [*(f"the worker in the step {step}" for step in STEPS), "the queue", "the object store", "the database"]

Outcomes = dict[str, Future[list[str]]]


@pytest.mark.timeout(600)  # where other work leaves it little of the machine
@pytest.mark.parametrize("loss", LOSSES)
def test_a_large_account_is_erased_within_a_minute_of_the_return_of(loss: str, outcomes: Outcomes) -> None:
    assert outcomes[loss].result() == []


@pytest.fixture(scope="module")
def outcomes(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """All losses at once, each of a purge in a database of its own: most of the time is spent waiting for leases to end."""
    folders = {loss: tmp_path_factory.mktemp("loss") for loss in LOSSES}
    with ExitStack() as cleanup:
        own = cleanup.enter_context(running(tmp_path_factory.mktemp("own")))
        migrate_template(own)
        queues = Queues(tmp_path_factory.mktemp("queue"))
        cleanup.callback(queues.stop)
        databases = [cleanup.enter_context(fresh_database(stack)) for _ in LOSSES[:-1]]
        stages = {
            loss: cleanup.enter_context(
                staged(database, folders[loss], number, queues.settings if loss == "the queue" else {})
            )
            for number, (loss, database) in enumerate(zip(LOSSES[:-1], databases, strict=True), start=1)
        }
        threads = cleanup.enter_context(ThreadPoolExecutor(len(LOSSES)))
        yield {
            **{loss: threads.submit(lose_the_worker, stages[loss], step) for loss, step in zip(LOSSES, STEPS, strict=False)},
            "the queue": threads.submit(lose_the_queue, stages["the queue"], queues),
            "the object store": threads.submit(lose_the_store, stages["the object store"]),
            "the database": threads.submit(lose_the_database, own, folders["the database"]),
        }


def lose_the_worker(stage: Stage, step: str) -> list[str]:
    """SIGKILL in the middle of a step; another worker is started."""
    purge = ordered(stage)
    with ExitStack() as children:
        children.enter_context(process("schedule", stage.direct, stage.log))
        worker = children.enter_context(process("worker", stage.environment, stage.log))
        stage.points.kill = worker.kill
        purge.watch(step, lambda: Fault.KILLED_BEFORE)
        purge.await_step()
        assert worker.wait(PATIENCE) == -signal.SIGKILL
        children.enter_context(process("worker", stage.direct, stage.log))
        await_workers(stage, 2)
        return purge.faults_after(time.monotonic())


def lose_the_store(stage: Stage) -> list[str]:
    """500 and 503 for a while, to the worker and to the schedule."""
    purge = ordered(stage)
    ends: list[float] = []

    def refuse(_number: int, label: str) -> Fault | None:
        return Fault.REFUSED if label.startswith("objects:") and time.monotonic() < ends[0] else None

    def begin() -> None:
        ends.append(time.monotonic() + OUTAGE)
        stage.points.decide = refuse

    with process("schedule", stage.environment, stage.log), process("worker", stage.environment, stage.log):
        purge.watch("objects", begin)
        purge.await_step()
        return [*purge.faults_after(ends[0]), *([] if stage.points.failed else ["the store was never asked"])]


class Queues:
    """A Valkey of one test's own, again and again on the same socket; each begins with nothing in it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._started = folder, [self._start(folder)]
        self.settings = {"CLOUDPRIV_REDIS_URL": valkey.url(folder, PASSWORD)}

    def kill(self) -> None:
        """SIGKILL to the present one."""
        self._started[-1].process.kill()

    def start_again(self) -> None:
        """Another, without what the killed one had written."""
        self._started[-1].process.wait(PATIENCE)
        shutil.rmtree(self._folder / "appendonlydir")
        self._started.append(self._start(self._folder))

    def stop(self) -> None:
        """Stop the last one."""
        stop(self._started)

    @staticmethod
    def _start(folder: Path) -> Server:
        server = valkey.start(folder, folder, PASSWORD, durable=True)
        await_answer(server, lambda: valkey.version(valkey.url(folder, PASSWORD)))
        return server


def lose_the_queue(stage: Stage, queues: Queues) -> list[str]:
    """SIGKILL to Valkey, which comes back with nothing in it."""
    purge = ordered(stage)
    with process("schedule", stage.direct, stage.log), process("worker", stage.environment, stage.log):
        purge.watch("queue", queues.kill)
        purge.await_step()
        queues.start_again()
        return purge.faults_after(time.monotonic())


def lose_the_database(stack: Stack, folder: Path) -> list[str]:
    """SIGKILL to PostgreSQL, which is started again on the same files."""
    with ExitStack() as cleanup:
        again: list[Server] = []
        cleanup.callback(stop, again)
        stage = cleanup.enter_context(staged(cleanup.enter_context(fresh_database(stack)), folder, 1))
        purge = ordered(stage)
        cleanup.enter_context(process("schedule", stage.direct, stage.log))
        cleanup.enter_context(process("worker", stage.environment, stage.log))
        purge.watch("rows", lambda: os.kill(stack.pids[postgres.NAME], signal.SIGKILL))
        purge.await_step()
        again.append(started_again(stack))
        for engine in (stage.owner, stage.services.controller.engine):
            engine.dispose()
        return purge.faults_after(time.monotonic())


def started_again(stack: Stack) -> Server:
    """PostgreSQL on the files and at the socket of one that was killed."""
    os.waitpid(stack.pids[postgres.NAME], 0)
    private, secret, identity = (
        sockets_of(stack.environment),
        credentials_in(stack.folder),
        choose(postgres.program(), namespaces=True),
    )
    if identity.is_other_user:
        shutil.rmtree(private / "wheel")  # copied anew at every start
    ends = time.monotonic() + PATIENCE
    while True:
        server = postgres.start(stack.folder / postgres.NAME.lower(), private, secret, identity, durable=True)
        try:
            await_answer(server, lambda: postgres.version(private, secret.owner_password))
        except StartFailed:  # while sessions of the killed one still end
            assert time.monotonic() < ends
            time.sleep(0.2)
        else:
            return server
