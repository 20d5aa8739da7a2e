"""A fault at every single message of a purge in turn, each with an account of its own, and what became of them all."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from signal import SIGKILL
from typing import Final
from uuid import UUID

from sqlalchemy import text

from cloudpriv.retention import erase
from tests.faults.canary import Planted, left, plant
from tests.faults.points import Decide, Fault, let_through
from tests.faults.stage import Stage
from tests.purges import checksums_of_others, close

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


def without_fault(stage: Stage) -> Swept:
    """A purge that nothing happens to."""
    return _purged(stage, None)


def cases(labels: Sequence[str], wanted: Callable[[str], bool] = bool) -> list[Case]:
    """Every fault at every message whose label is wanted."""
    found = [Case(number, label, fault) for number, label in enumerate(labels) for fault in FAULTS if wanted(label)]
    return [*found, *(Case(0, label, Fault.KILLED_BEFORE) for label in labels[:1] if wanted(label))]


def sweep(work: Iterable[tuple[Sequence[Stage], Iterable[Case]]]) -> dict[Stage, list[Swept]]:
    """Carry out all cases: each group of stages shares its cases, one at a time on each stage, all stages side by side."""
    with ThreadPoolExecutor(64) as threads:
        running = {}
        for stages, some in work:
            queue: SimpleQueue[Case] = SimpleQueue()
            for case in some:
                queue.put(case)
            running.update({stage: threads.submit(_take, stage, queue) for stage in stages})
        return {stage: done.result() for stage, done in running.items()}


def faults_found(stage: Stage, swept: Sequence[Swept], spared: Planted) -> Iterator[str]:
    """Whatever is not as it has to be after all of these purges, in words; `spared` is an account that stays."""
    with stage.owner.connect() as connection:
        done = dict(connection.execute(text("SELECT purge_id, status FROM purges")).tuples().all())
        proved = set(connection.execute(text("SELECT account_hash FROM ledger")).scalars())
        certified = list(connection.execute(text("SELECT purge_id FROM certificates")).scalars())
    for each in swept:
        expected = (-SIGKILL, 0) if each.case and each.case.fault.kills else (0, 0)
        checks = {
            "was not met": each.was_met,
            f"ended its workers with {each.codes}": each.codes == expected,
            f"left the purge {done[each.purge_id]}": done[each.purge_id] == "done",
            "has no entry in the ledger": erase.hash_of(each.planted.account_id) in proved,
            f"has {certified.count(each.purge_id)} certificates": certified.count(each.purge_id) == 1,
        }
        yield from (f"{each.case} {what}" for what, holds in checks.items() if not holds)
    if len(proved) != len(swept):
        yield f"{len(proved)} entries in the ledger for {len(swept)} purges"
    yield from (f"{mark} is left in {place}" for place, mark in left(stage, [each.planted for each in swept], [spared]))


def others(stage: Stage, swept: Iterable[Swept]) -> dict[str, object]:
    """All that is of other accounts: checksums of their rows, and the keys of their objects."""
    gone = [each.planted.account_id for each in swept]
    kept = [key for key in stage.services.exports.keys("") if not any(str(each) in key for each in gone)]
    return {**checksums_of_others(stage.owner, *gone), "objects": kept}


def _take(stage: Stage, queue: "SimpleQueue[Case]") -> list[Swept]:
    swept = []
    try:
        while True:
            swept.append(_purged(stage, queue.get_nowait()))
    except Empty:
        return swept


def _purged(stage: Stage, case: Case | None) -> Swept:
    """Have a new account erased by a worker that meets the fault, and by another once the lease of the first is over."""
    planted = plant(stage.services, stage.owner)
    purge_id = close(stage.services, planted.account_id)
    first = stage.run(purge_id, case.decide if case else let_through)
    labels, was_met = tuple(stage.points.labels), case is None or case.number in stage.points.failed
    stage.let_lease_end(purge_id)
    return Swept(case, planted, purge_id, labels, (first, stage.run(purge_id)), was_met)
