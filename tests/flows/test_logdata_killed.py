"""Every message of an append and of a compaction fails once, in every way: each acknowledged point is there, and once."""

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from uuid import UUID

import pytest

from cloudpriv.embedded.stack import Stack
from cloudpriv.platform.clock import utc_now
from cloudpriv.processor.storage import compaction, sweep
from cloudpriv.processor.storage.chunks import DAY
from tests.faults.log_runner import REFUSED
from tests.faults.log_stage import LogStage, staged
from tests.faults.points import let_through
from tests.faults.sweep import Case, Runner, cases
from tests.logdata import device_token, make_log_account
from tests.points import chunks_of, objects_of, send, sender, stored
from tests.stack import fresh_database

STAGES = 3
NOTHING = timedelta(0)
POINTS = 3  # of a batch
numbers = count()


@dataclass
class Swept:
    """Cases on one stage: what was not as it has to be, and how many orphans were found."""

    stage: LogStage
    runner: Runner
    faults: list[str] = field(default_factory=list)
    orphans: int = 0
    labels: list[str] = field(default_factory=list)  # of all messages of what was done last, before it was done again

    def send(self, case: Case | None) -> None:
        """A device sends a batch, which meets the fault, and sends it again if it was not acknowledged."""
        account_id = make_log_account(self.stage.api, utc_now())
        values = [f"{next(numbers)}-{place}" for place in range(POINTS)]
        asked = json.dumps({
            "token": device_token(self.stage.api, account_id, now=utc_now()),
            "key": str(account_id),
            "body": [{"tag": f"t{place % 2}", "time": "2026-01-01T12:00:00Z", "value": each}
                     for place, each in enumerate(values)],
        })  # fmt: skip
        for again in (False, True):
            code = self._again(asked) if again else self._run(asked, case)
            seen = [row["s"] for row in stored(self.stage.api, account_id)]
            if seen not in (([], values) if code else (values,)):
                self.faults.append(f"{case}: ended with {code}, and has {seen} for {values}")
        self._sweep(case, account_id)

    def compact(self, case: Case | None) -> None:
        """A worker compacts a device, meets the fault, and does it again."""
        account_id = make_log_account(self.stage.api, utc_now())
        to = sender(self.stage.api, account_id, now=utc_now())
        for number in range(compaction.MANY):
            send(to, *((f"t{place}", to.now - timedelta(hours=24 * place + number), number) for place in range(2)))
        before = stored(self.stage.api, account_id)
        asked = json.dumps({"account": str(account_id), "device": str(to.device_id)})
        for again in (False, True):
            code = self._again(asked) if again else self._run(asked, case)
            if stored(self.stage.api, account_id) != before:
                self.faults.append(f"{case}: ended with {code}, and has other points")
        if {row.level for row in chunks_of(self.stage.api, account_id)} != {DAY}:
            self.faults.append(f"{case}: was not compacted in the end")
        self._sweep(case, account_id)

    def _again(self, asked: str) -> int:
        code = self.runner.run(asked)
        if code:
            self.faults.append(f"ended with {code} without a fault")
        return code

    def _run(self, asked: str, case: Case | None) -> int:
        code = self.runner.run(asked, case.decide if case else let_through)
        self.labels = list(self.stage.points.labels)
        killed = case is not None and case.fault.kills
        expected = [-signal.SIGKILL] if killed else [0, REFUSED] if case else [0]
        if code not in expected or (case and case.number not in self.stage.points.failed):
            self.faults.append(f"{case}: ended with {code}, or was not met")
        return code

    def _sweep(self, case: Case | None, account_id: UUID) -> None:
        """The sweep, as if an hour had passed, and the removal of garbage a month later; then each object has its row."""
        worker = self.stage.worker
        before = stored(self.stage.api, account_id)
        self.orphans += sweep.carry_out(worker.plane, worker.objects, utc_now, account_id, NOTHING)
        sweep.remove_garbage(worker.plane, worker.objects, lambda: utc_now() + timedelta(days=30))
        left = objects_of(worker, account_id) ^ {row.object_key for row in chunks_of(self.stage.api, account_id)}
        if left or stored(self.stage.api, account_id) != before:
            self.faults.append(f"{case}: {len(left)} objects without a row, or rows without an object, are left")


@pytest.fixture
def all_swept(stack: Stack, tmp_path: Path) -> Iterator[list[Swept]]:
    """Stages side by side, each with a process that has done an append and a compaction without faults."""
    with ExitStack() as cleanup:
        made = []
        for number in range(STAGES):
            folder = tmp_path / str(number)
            folder.mkdir()
            stage = cleanup.enter_context(staged(cleanup.enter_context(fresh_database(stack)), folder))
            runner = Runner(stage, "tests.faults.log_runner")
            cleanup.callback(runner.close)
            made.append(Swept(stage, runner))
        yield made


def take_all(swept: Swept, queue: "SimpleQueue[tuple[str, Case]]") -> None:
    """Do the cases that no other stage has taken."""
    with suppress(Empty):
        while True:
            work, case = queue.get_nowait()
            swept.send(case) if work == "append" else swept.compact(case)


@pytest.mark.timeout(600)  # where other work leaves it little of the machine
def test_after_a_fault_at_any_message_every_acknowledged_point_is_there_once(
    all_swept: list[Swept], capsys: pytest.CaptureFixture[str]
) -> None:
    began, queue = time.monotonic(), SimpleQueue[tuple[str, Case]]()
    with ThreadPoolExecutor(STAGES) as threads:
        list(threads.map(warm_up, all_swept))
        first = all_swept[0]
        found = {"append": cases(messages(first, first.send)), "compaction": cases(messages(first, first.compact))}
        for work, some in found.items():
            for case in some:
                queue.put((work, case))
        list(threads.map(take_all, all_swept, [queue] * STAGES))
    assert [fault for swept in all_swept for fault in swept.faults] == []
    # Where the process ended between the object and its row, and only there.
    assert sum(swept.orphans for swept in all_swept) > 0
    for work, some in found.items():
        kinds = dict(Counter(str(case.fault) for case in some))
        with capsys.disabled():
            print(f"\n{work}: {len({case.number for case in some})} messages, {kinds}")  # noqa: T201  it is a result
    with capsys.disabled():
        print(f"in {time.monotonic() - began:.0f} s")  # noqa: T201  it is a result


def warm_up(swept: Swept) -> None:
    """What is done first is done by the process that forks."""
    swept.send(None)
    swept.compact(None)


def messages(swept: Swept, work: Callable[[Case | None], None]) -> list[str]:
    """All messages of work that meets no fault."""
    work(None)
    return swept.labels
