"""A purge by a real worker, with a real schedule, that something happens to in the middle: does it end, and as it has to?"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from cloudpriv.audit import certificates
from cloudpriv.platform.errors import BusyError, NotReadyError
from tests.exports import make_sessions
from tests.factories import transaction
from tests.faults.canary import Planted, plant
from tests.faults.outcome import faults_left, others
from tests.faults.points import Fault
from tests.faults.stage import Stage
from tests.patience import PATIENCE
from tests.purges import close, device_of
from workers import duties

RECORDS: Final = 50_000
RECOVERY: Final = 60.0
PAUSE: Final = 0.1
# A step that no commit shows while all goes well is known by a statement that no other has.
UNSEEN: Final = {"verify": "sql: SELECT r.relname FROM pg_class"}

Process = subprocess.Popen[bytes]


@dataclass
class Survival:
    """The purge of an account with many records; `watch` waits for the moment at which something befalls it."""

    stage: Stage
    planted: Planted
    spared: Planted
    before: dict[str, object]
    purge_id: UUID
    reached: Event = field(default_factory=Event)

    def watch(self, step: str, befalls: Callable[[], Fault | None]) -> None:
        """Once a worker is in the middle of `step`, and about to send the next message, do what befalls it, once."""

        def decide(_number: int, label: str) -> Fault | None:
            if self.reached.is_set() or not self._is_in(step, label):
                return None
            self.reached.set()
            return befalls()

        self.stage.points.restart(decide)

    def await_step(self) -> None:
        """Wait for that moment."""
        assert self.reached.wait(PATIENCE), "the worker never came to that step"

    def faults_after(self, recovered: float) -> list[str]:
        """Wait for the end, for at most RECOVERY seconds from when everything was back; whatever is not as it has to be."""
        while not self._is_over():
            if time.monotonic() > recovered + RECOVERY:
                return [f"not done after {RECOVERY:.0f} s, but {self._state()}"]
            time.sleep(PAUSE)
        found = list(faults_left(self.stage, {self.purge_id: self.planted}, self.spared, self.before))
        return [*found, *_certificate_faults(self.stage, self.purge_id)]

    def _is_in(self, step: str, label: str) -> bool:
        """Whether a worker has the purge locked in this step; of one that is done, nobody needs a lock."""
        if step in UNSEEN:
            return label.startswith(UNSEEN[step])
        found, locked = self._state()
        return found == step and (locked or step == "done")

    def _is_over(self) -> bool:
        try:
            with self.stage.owner.connect() as connection:
                step = connection.scalar(text("SELECT step FROM purges WHERE purge_id = :id"), {"id": self.purge_id})
        except OperationalError:
            return False
        return bool(step == "done")

    def _state(self) -> tuple[str, bool]:
        read = text("SELECT step FROM purges WHERE purge_id = :id")
        lock = text("SELECT FROM purges WHERE purge_id = :id FOR UPDATE SKIP LOCKED")
        with self.stage.owner.connect() as connection:
            locked = not connection.execute(lock, {"id": self.purge_id}).all()
            return connection.execute(read, {"id": self.purge_id}).scalar_one(), locked


def ordered(stage: Stage) -> Survival:
    """An account with RECORDS records and everything else, beside another, that is to be erased."""
    spared = plant(stage.services, stage.owner)
    _do_what_is_open(stage)
    before = others(stage, [])
    planted = plant(stage.services, stage.owner)
    make_sessions(stage.owner, planted.account_id, device_of(stage.owner, planted.account_id), RECORDS)
    return Survival(stage, planted, spared, before, close(stage.services, planted.account_id))


def _do_what_is_open(stage: Stage) -> None:
    """Do what worker and schedule would do to the spared account: its mail is sent, and much of it is of some time ago."""
    with stage.owner.begin() as connection:
        connection.execute(text("UPDATE outbox SET status = 'sent'"))
    services = replace(stage.services, controller=replace(stage.services.controller, engine=stage.owner))
    duties.take_in_traffic(services)
    for clock in duties.every_clock(services):
        duties.erase(clock, services)


@contextmanager
def process(command: str, environment: Mapping[str, str], log: Path) -> Iterator[Process]:
    """A worker or a schedule, killed in the end if it is still there."""
    with log.open("ab") as stderr:
        started = subprocess.Popen([sys.executable, "-m", "cloudpriv.cli", command], env=environment, stderr=stderr)
    try:
        yield started
    finally:
        started.kill()
        started.wait(PATIENCE)


def await_workers(stage: Stage, number: int) -> None:
    """Wait until so many workers, dead ones among them, have reported to the queue."""
    ends = time.monotonic() + PATIENCE
    while len(stage.services.redis.smembers("rq:workers")) < number:
        assert time.monotonic() < ends, "no worker came up"
        time.sleep(PAUSE)


def _certificate_faults(stage: Stage, purge_id: UUID) -> Iterator[str]:
    """Wait for the schedule to enter the certificate in the log; that it is valid, by the log's public key alone."""
    ends = time.monotonic() + RECOVERY
    with stage.owner.connect() as connection:
        query = text("SELECT certificate_id FROM certificates WHERE purge_id = :id")
        certificate_id = connection.execute(query, {"id": purge_id}).scalar_one()
    while time.monotonic() < ends:
        try:
            with transaction(stage.services) as tx:
                document = certificates.document(tx, certificate_id)
        except (NotReadyError, BusyError):
            time.sleep(PAUSE)
            continue
        with stage.owner.connect() as connection:
            vkeys = "\n".join(connection.execute(text("SELECT vkey FROM logs")).scalars())
        certificates.verify(document, vkeys)
        return
    yield "its certificate is in no published checkpoint"
