"""Compaction: chunks become days, and no point is lost, doubled or changed."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Engine, delete, select

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.processor.storage import chunks, compaction
from cloudpriv.processor.storage.append import Appender
from cloudpriv.processor.storage.chunks import DAY, RAW
from cloudpriv.processor.tables import LogChunk, LogGarbage
from tests.factories import NOW
from tests.logdata import carry_out, log_transaction, make_log_account
from tests.points import chunks_of, objects_of, send, sender, stored

MIDNIGHT = NOW.replace(hour=0)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def to(processor: ProcessorServices) -> Appender:
    """A device that sends."""
    return sender(processor, make_log_account(processor))


def enqueue_due(processor_worker: ProcessorServices, now: datetime = NOW) -> int:
    """How many devices are to be compacted."""
    with log_transaction(processor_worker, WORKER, now) as tx:
        return compaction.enqueue_due(tx, 10)


def compact(processor_worker: ProcessorServices, now: datetime = NOW) -> int:
    """Compact all that is due; how many tasks it took."""
    enqueue_due(processor_worker, now)
    return carry_out(replace(processor_worker, clock=lambda: now))


def levels(processor: ProcessorServices, to: Appender) -> list[int]:
    """Of the account's chunks, earliest first."""
    return [row.level for row in chunks_of(processor, to.account_id)]


def test_batches_become_a_chunk_a_day_with_a_segment_a_tag(
    processor: ProcessorServices, processor_worker: ProcessorServices, to: Appender
) -> None:
    for number in range(compaction.MANY):
        ago = 4 * HOUR - number * HOUR
        send(to, ("b", MIDNIGHT - ago, number), ("a", MIDNIGHT - ago - SECOND, number + 0.5), ("b", MIDNIGHT - ago, "x"))
    before = stored(processor, to.account_id)
    compact(processor_worker)
    assert stored(processor, to.account_id) == before
    yesterday, today = chunks_of(processor, to.account_id)
    assert [(row.level, row.points) for row in (yesterday, today)] == [(DAY, 13), (DAY, 11)]
    assert (yesterday.until, today.since) == (MIDNIGHT - SECOND, MIDNIGHT)
    assert (yesterday.first_seq, yesterday.last_seq, today.first_seq, today.last_seq) == (1, 14, 13, 24)
    assert [segment[2:4] for segment in yesterday.segments] == [[tag, points] for tag, points in zip(
        yesterday.tags, (8, 5) if yesterday.tags[0] == before[0]["tag"] else (5, 8), strict=True)]  # fmt: skip
    assert sum(segment[1] for segment in yesterday.segments) == yesterday.size


def test_few_batches_wait_until_one_is_old(
    processor: ProcessorServices, processor_worker: ProcessorServices, to: Appender
) -> None:
    for number in range(compaction.MANY - 1):
        send(to, ("t", NOW - number * SECOND, 1))
    assert enqueue_due(processor_worker, NOW + compaction.LONG - SECOND) == 0
    assert enqueue_due(processor_worker, NOW + compaction.LONG) == 1
    carry_out(replace(processor_worker, clock=lambda: NOW + compaction.LONG))
    assert levels(processor, to) == [DAY]


def test_a_day_that_is_over_becomes_one_chunk_and_the_current_one_at_last(
    processor: ProcessorServices, processor_worker: ProcessorServices, to: Appender
) -> None:
    for number in range(compaction.MANY - 1):
        later = NOW + (number + 1) * compaction.LONG
        send(to, ("t", MIDNIGHT - SECOND, number), ("t", MIDNIGHT + number * HOUR, number + 0.25))
        compact(processor_worker, later)
        assert len(chunks_of(processor, to.account_id)) == 2 + number
    before = stored(processor, to.account_id)
    send(replace(to, now=NOW + 2 * HOUR), ("t", NOW, "last"))
    compact(processor_worker, NOW + 4 * HOUR)
    assert len(chunks_of(processor, to.account_id)) == 2
    assert stored(processor, to.account_id)[:-1] == before


def test_what_was_replaced_goes_when_no_reader_can_be_at_it(
    processor: ProcessorServices, processor_worker: ProcessorServices, to: Appender
) -> None:
    for number in range(compaction.MANY):
        send(to, ("t", NOW, number))
    old = objects_of(processor, to.account_id)
    compact(processor_worker)
    with log_transaction(processor_worker, WORKER) as tx:
        garbage = tx.session.execute(select(LogGarbage.object_key, LogGarbage.after)).all()
    assert {(key, after) for key, after in garbage} == {(key, NOW + compaction.REPLACED_STAYS) for key in old}
    assert objects_of(processor, to.account_id) > old


class Meddler:
    """The worker's object store; something happens when the first new object is stored."""

    def __init__(self, processor_worker: ProcessorServices, meddle: Callable[[], None]) -> None:
        self._objects, self._meddle = processor_worker.objects, meddle

    def put(self, key: str, content: bytes) -> None:
        """Store, and meddle once."""
        self._objects.put(key, content)
        meddle, self._meddle = self._meddle, lambda: None
        meddle()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)


def compact_meddled(processor_worker: ProcessorServices, to: Appender, meddle: Callable[[], None]) -> None:
    """One run of compaction during which something happens."""
    objects: Any = Meddler(processor_worker, meddle)
    compaction.carry_out(processor_worker.plane, objects, lambda: NOW, to.account_id, to.device_id)


def test_two_compactions_at_once_double_nothing(
    processor: ProcessorServices, processor_worker: ProcessorServices, to: Appender
) -> None:
    for number in range(compaction.MANY):
        send(to, ("t", NOW, number))
    before = stored(processor, to.account_id)
    compact_meddled(processor_worker, to, lambda: compact_meddled(processor_worker, to, lambda: None))
    assert stored(processor, to.account_id) == before
    assert len(objects_of(processor, to.account_id)) == compaction.MANY + 1


def test_a_chunk_that_a_deletion_took_meanwhile_does_not_come_back(
    processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine, to: Appender
) -> None:
    for number in range(compaction.MANY):
        send(to, ("t", NOW, number))
    gone = chunks_of(processor, to.account_id)[3].chunk_id

    def take() -> None:
        with processor_owner.begin() as connection:
            connection.execute(delete(LogChunk).where(LogChunk.chunk_id == gone))

    compact_meddled(processor_worker, to, take)
    assert [row["i"] for row in stored(processor, to.account_id)] == [0, 1, 2, 4, 5, 6, 7]
    assert set(levels(processor, to)) == {RAW}


def test_points_scattered_over_many_days_share_objects(
    processor: ProcessorServices, processor_worker: ProcessorServices, to: Appender
) -> None:
    for number in range(compaction.MANY):
        send(to, *(("t", MIDNIGHT - timedelta(days=day * compaction.MANY + number), day) for day in range(200)))
    before = stored(processor, to.account_id)
    compact(processor_worker)
    rows = chunks_of(processor, to.account_id)
    assert len(rows) <= compaction.MOST_OBJECTS
    assert all(one.until < next_one.since for one, next_one in pairwise(rows))
    assert stored(processor, to.account_id) == before


def test_a_lost_object_is_told_and_not_passed_over(
    processor: ProcessorServices, processor_worker: ProcessorServices, to: Appender
) -> None:
    for number in range(compaction.MANY):
        send(to, ("t", NOW, number))
    processor.objects.delete_below(chunks_of(processor, to.account_id)[2].object_key)
    with pytest.raises(NotFoundError):
        compact(processor_worker)


def test_days_that_are_over_and_have_few_points_become_one_chunk(
    processor: ProcessorServices, processor_worker: ProcessorServices, to: Appender
) -> None:
    days = compaction.MANY
    for number in range(days):
        send(to, *(("t", MIDNIGHT - timedelta(days=day) + number * SECOND, number) for day in range(days + 1)))
    before = stored(processor, to.account_id)
    compact(processor_worker)
    assert [row.points for row in chunks_of(processor, to.account_id)] == [days * days, days]
    assert stored(processor, to.account_id) == before


def test_a_run_that_was_stopped_for_long_writes_no_row_of_an_object_that_may_be_gone(
    processor: ProcessorServices, processor_worker: ProcessorServices, to: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(compaction.MANY):
        send(to, ("t", NOW, number))
    before = stored(processor, to.account_id)
    monkeypatch.setattr(chunks, "FENCE", timedelta(0))
    compaction.carry_out(processor_worker.plane, processor_worker.objects, lambda: NOW, to.account_id, to.device_id)
    assert stored(processor, to.account_id) == before
    assert len(objects_of(processor, to.account_id)) == compaction.MANY


def test_a_device_that_cannot_be_compacted_holds_up_no_others(
    processor: ProcessorServices, processor_worker: ProcessorServices, to: Appender
) -> None:
    other = replace(sender(processor, make_log_account(processor)), now=NOW + SECOND)
    for number in range(compaction.MANY):
        send(to, ("t", NOW, number))
        send(other, ("t", NOW, number))
    processor.objects.delete_below(chunks_of(processor, to.account_id)[2].object_key)

    def compact_one(now: datetime) -> None:
        with log_transaction(processor_worker, WORKER, now) as tx:
            assert compaction.enqueue_due(tx, 1) == 1
        with suppress(NotFoundError):
            carry_out(replace(processor_worker, clock=lambda: now))

    compact_one(NOW + SECOND)
    compact_one(NOW + 2 * SECOND)
    assert levels(processor, other) == [DAY]


def test_days_of_large_texts_do_not_keep_others_from_becoming_one_chunk(
    processor: ProcessorServices, processor_worker: ProcessorServices, to: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "BYTES_AT_ONCE", 100_000)
    monkeypatch.setattr(compaction, "MANY", 2)
    for day in (5, 4):
        for number in range(4):
            value = "x" * 8000 if day == 5 else "x"
            midnight = MIDNIGHT - timedelta(days=day)
            send(to, *(("t", midnight + (number * 100 + each) * SECOND, value) for each in range(10)))
            if number % 2:
                compact(processor_worker)
    before = stored(processor, to.account_id)
    compact(processor_worker, NOW + HOUR)
    assert [(row.since.day, row.points) for row in chunks_of(processor, to.account_id)] == [
        ((MIDNIGHT - timedelta(days=5)).day, 20),
        ((MIDNIGHT - timedelta(days=5)).day, 20),
        ((MIDNIGHT - timedelta(days=4)).day, 40),
    ]
    assert stored(processor, to.account_id) == before
