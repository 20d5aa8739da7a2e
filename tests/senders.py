"""Devices that send batches of points, and what is read of them as plain values."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from cloudpriv.api.logdata.points_body import read_json
from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.processor.query import reading
from cloudpriv.processor.storage.append import Appender, Verdict, append
from cloudpriv.processor.storage.chunks import Selection
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

    def send(self, points: Sequence[dict[str, Any]], now: datetime = NOW) -> Verdict:
        """Have a batch taken."""
        to = Appender(self.processor.plane, self.processor.objects, self.actor, now)
        return append(to, read_json(msgspec.json.encode(points), now))


def point(value: float | str, time: datetime, tag: str = "speed", quality: str | None = None,
          unit: str | None = None) -> dict[str, Any]:  # fmt: skip
    """A point as it is sent."""
    words = {"quality": quality, "unit": unit}
    return {"tag": tag, "time": time, "value": value} | {name: word for name, word in words.items() if word is not None}


def read_integers(processor: ProcessorServices, account_id: UUID, selection: Selection = ALL, enough: int = 1) -> list[int]:
    """The selected points, which have integers for values, in the order in which they are told."""
    with log_transaction(processor) as tx:
        found = reading.snapshot(tx, account_id, selection)
        return [value for table in found.points(processor.objects, enough) for value in table["i"].to_pylist()]
