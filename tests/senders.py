"""Devices that send batches of points, and what is read of them as plain values."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.processor import reading
from cloudpriv.processor.append import Appender, Verdict, append
from cloudpriv.processor.chunks import Selection
from cloudpriv.processor.points import Point, as_batch
from tests.factories import NOW
from tests.logdata import device_actor, log_transaction

ALL = Selection()


class Sender:
    """A device that sends batches."""

    def __init__(self, processor: ProcessorServices, account_id: UUID, device: str = "pump-1") -> None:
        self.processor = processor
        self.actor = device_actor(processor, account_id, device)
        assert self.actor.device_id is not None
        self.device_id = self.actor.device_id

    def send(self, points: Sequence[Point], now: datetime = NOW) -> Verdict:
        """Have a batch taken."""
        to = Appender(self.processor.plane, self.processor.objects, self.actor, now)
        return append(to, as_batch(points, range(len(points)), []))


def point(
    value: float | str, time: datetime, tag: str = "speed", quality: str | None = None, unit: str | None = None
) -> Point:
    """A point."""
    return Point(tag, time, value, quality, unit)


def read_integers(processor: ProcessorServices, account_id: UUID, selection: Selection = ALL, enough: int = 1) -> list[int]:
    """The selected points, which have integers for values, in the order in which they are told."""
    with log_transaction(processor) as tx:
        found = reading.snapshot(tx, account_id, selection)
        return [value for table in found.points(processor.objects, enough) for value in table["i"].to_pylist()]
