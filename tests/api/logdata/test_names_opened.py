"""A page opens no more names than it tells: opening those of 10,000 tags takes a second."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.processor.tables import LogTag
from tests.factories import NOW
from tests.logdata import Caller
from tests.points import send, sender


def test_a_page_opens_the_names_of_its_own_tags_only(processor: ProcessorServices, reader: Caller) -> None:
    send(sender(processor, reader.account_id), *((f"tag {place}", NOW, place) for place in range(300)))
    opened: list[LogTag] = []
    with listening(lambda _, row: opened.append(row) if isinstance(row, LogTag) else None):
        for path in ("points?limit=1", "points?limit=1&tag=tag%205", "tags?limit=1"):
            answer = reader.get(f"/v1/logdata/{path}")
            assert answer.json is not None
            assert len(answer.json["items"]) == 1
    assert len(opened) < 10


@contextmanager
def listening(told: Callable[[Any, Any], None]) -> Iterator[None]:
    """Has every row told of that is loaded."""
    event.listen(Session, "loaded_as_persistent", told)
    try:
        yield
    finally:
        event.remove(Session, "loaded_as_persistent", told)
