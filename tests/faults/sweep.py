"""A fault at every single message of a purge in turn, each with an account of its own, and what became of them all."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event
from typing import Final
from uuid import UUID

from sqlalchemy import text

from tests.faults.canary import Mould, Planted, mould, plant
from tests.faults.outcome import faults_left, others
from tests.faults.points import Decide, Fault, let_through
from tests.faults.stage import Proxied, Stage
from tests.patience import PATIENCE

# SIGKILL before a message is the same as after the one before it, but for the first.
FAULTS: Final = (Fault.REFUSED, Fault.LOST, Fault.KILLED_AFTER)
STORE: Final = "objects:"


@dataclass(frozen=True)
class Case:
    """The fault of one message: the so-manieth of its purge."""

    number: int
    label: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.fault} at {self.number} ({self.label})"

    @property
    def decide(self) -> Decide:
        """A store that refuses once refuses from then on, since its client asks again by itself."""
        lasts = self.fault is Fault.REFUSED and self.label.startswith(STORE)
        return lambda number, label: self.fault if self._meets(number, label, lasts=lasts) else None

    def _meets(self, number: int, label: str, *, lasts: bool) -> bool:
        return number == self.number or (lasts and number > self.number and label.startswith(STORE))


@dataclass(frozen=True)
class Swept:
    """A purge that met a fault and was tried once more: how its two workers ended."""

    case: Case | None
    planted: Planted
    purge_id: UUID
    labels: tuple[str, ...]  # of all messages of the first
    codes: tuple[int, ...]
    was_met: bool

    def surprises(self) -> Iterator[str]:
        """What went otherwise than the case has it."""
        expected = (-signal.SIGKILL if self.case and self.case.fault.kills else 0, 0)
        if not self.was_met:
            yield "was not met"
        if self.codes != expected:
            yield f"ended its workers with {self.codes}"


class Runner:
    """Does the work of a stage, each piece in a process that is forked for it and can be killed."""

    def __init__(self, stage: Proxied, module: str = "tests.faults.runner") -> None:
        command = [sys.executable, "-m", module]
        with stage.log.open("wb") as stderr:
            self._process = subprocess.Popen(
                command, env=stage.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        self._stage, self._started, self._child = stage, Event(), 0
        stage.points.kill = self.kill

    def run(self, work: UUID | str, decide: Decide = let_through) -> int:
        """Have a piece of work done, with these faults; its exit code. All that it left unfinished is rolled back."""
        self._stage.points.restart(decide)
        code = self._code_of(work)
        for proxy in self._stage.proxies:
            proxy.settle()
        return code

    def _code_of(self, work: UUID | str) -> int:
        assert self._process.stdin is not None
        self._started.clear()
        self._process.stdin.write(f"{work}\n")
        self._process.stdin.flush()
        self._child = self._told()
        self._started.set()
        return self._told()

    def kill(self) -> None:
        """SIGKILL to the process that runs."""
        assert self._started.wait(PATIENCE)
        os.kill(self._child, signal.SIGKILL)

    def close(self) -> None:
        """End it all."""
        self._process.kill()
        self._process.communicate(timeout=PATIENCE)

    def _told(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@dataclass(frozen=True, eq=False)
class Sweep:
    """Purges on one stage, one after another, each of a new account; an account that stays beside them is `spared`."""

    stage: Stage
    runner: Runner
    mould: Mould
    spared: Planted
    before: dict[str, object]
    swept: list[Swept]

    def purge(self, case: Case | None) -> Swept:
        """Have an account erased by a worker that meets the fault, and by another once the lease of the first is over."""
        planted, purge_id = self.mould.cast(self.stage)
        first = self.runner.run(purge_id, case.decide if case else let_through)
        points = self.stage.points
        labels, was_met = tuple(points.labels), case is None or case.number in points.failed
        _end_lease(self.stage, purge_id)
        self.swept.append(Swept(case, planted, purge_id, labels, (first, self.runner.run(purge_id)), was_met))
        return self.swept[-1]

    def faults_found(self) -> list[str]:
        """Whatever is not as it has to be after all of these purges, in words."""
        found = [f"{each.case} {what}" for each in self.swept for what in each.surprises()]
        purges = {each.purge_id: each.planted for each in self.swept}
        found += faults_left(self.stage, purges, self.spared, self.before)
        with self.stage.owner.connect() as connection:
            if len(counted := connection.execute(text("SELECT DISTINCT counts FROM purges")).scalars().all()) != 1:
                found.append(f"accounts that are all the same were counted differently: {counted}")
        cases = {str(each.purge_id): str(each.case) for each in self.swept}
        return [f"{line} ({cases.get(line[:36], '')})" for line in found]


@contextmanager
def begun(stage: Stage) -> Iterator[Sweep]:
    """A sweep on a fresh stage, whose runner has done its first purge."""
    planted, model = mould(stage)
    spared = plant(stage.services, stage.owner)
    before = others(stage, [planted.account_id])
    runner = Runner(stage)
    try:
        first = Swept(None, planted, model.purge_id, (), (runner.run(model.purge_id), 0), was_met=True)
        yield Sweep(stage, runner, model, spared, before, [first])
    finally:
        runner.close()


def cases(labels: Sequence[str], beginning: str = "") -> list[Case]:
    """Every fault at every message whose label begins so."""
    found = [Case(number, label, fault) for number, label in enumerate(labels) for fault in FAULTS]
    before = [Case(0, label, Fault.KILLED_BEFORE) for label in labels[:1]]
    return [case for case in (*before, *found) if case.label.startswith(beginning)]


def share(sweeps: Sequence[Sweep], some: Iterable[Case], threads: Executor) -> list[Future[None]]:
    """Carry out the cases, one at a time in each sweep and the sweeps side by side."""
    queue: SimpleQueue[Case] = SimpleQueue()
    for case in some:
        queue.put(case)
    return [threads.submit(_take_all, each, queue) for each in sweeps]


def _take_all(sweep: Sweep, queue: "SimpleQueue[Case]") -> None:
    with suppress(Empty):
        while True:
            sweep.purge(queue.get_nowait())


def _end_lease(stage: Stage, purge_id: UUID) -> None:
    """As 31 s without its worker do."""
    statement = "UPDATE purges SET lease_until = lease_until - interval '31 s' WHERE purge_id = :id"
    with stage.owner.begin() as connection:
        connection.execute(text(statement), {"id": purge_id})
