"""Puts points with given times into an account of the processor plane as its devices would, and takes them out again."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.processor.query import reading
from cloudpriv.processor.storage.chunks import Selection
from tests.factories import NOW
from tests.logdata import log_transaction
from tests.points import send, sender


def put_points(processor: ProcessorServices, account_id: UUID, device: str, tag: str, times: Iterable[datetime],
               now: datetime = NOW) -> UUID:  # fmt: skip
    """One batch of points of a tag, at these times, with their places as values; the device's id."""
    to = sender(processor, account_id, device, now)
    send(to, *((tag, time, place) for place, time in enumerate(times)))
    return to.device_id


def times_of(processor: ProcessorServices, account_id: UUID, selection: Selection | None = None) -> list[datetime]:
    """The times of all points that a reader sees, earliest first."""
    with log_transaction(processor) as tx:
        found = reading.snapshot(tx, account_id, selection or Selection()).points(processor.objects)
        return [time for points in found for time in points["time"].to_pylist()]
