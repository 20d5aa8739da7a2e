"""Points for tests: made, sent as a device sends them, and read back as plain values."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.processor.append import Appender, Verdict, append
from cloudpriv.processor.points import Point, as_batch
from tests.factories import NOW
from tests.logdata import device_actor


class Sender:
    """A device that sends batches."""

    def __init__(self, processor: ProcessorServices, account_id: UUID, device: str = "pump-1") -> None:
        self.processor = processor
        self.actor = device_actor(processor, account_id, device)

    def send(self, points: Sequence[Point], now: datetime = NOW) -> Verdict:
        """Have a batch taken."""
        to = Appender(self.processor.plane, self.processor.objects, self.actor, now)
        return append(to, as_batch(points, range(len(points)), [], now))


def point(
    value: float | str, time: datetime, tag: str = "speed", quality: str | None = None, unit: str | None = None
) -> Point:
    """A point."""
    return Point(tag, time, value, quality, unit)
