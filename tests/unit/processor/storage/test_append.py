"""Append: what is answered is stored once, and nothing else is."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from itertools import cycle
from typing import Any
from uuid import UUID

import msgspec
import pyarrow as pa
import pytest
from sqlalchemy import Engine, select, update

from cloudpriv.api.logdata.points_body import read_json
from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.clock import utc_now
from cloudpriv.platform.errors import BusyError, IdempotencyMismatchError, NotFoundError
from cloudpriv.platform.rejections import Rejection
from cloudpriv.processor import accounts, devices
from cloudpriv.processor.orders import deletions
from cloudpriv.processor.storage import chunks, compaction
from cloudpriv.processor.storage.append import Appender, BatchKey, Verdict, append
from cloudpriv.processor.storage.points import Batch, Sent, read_times
from cloudpriv.processor.tables import LogAccount, LogChunk, LogEvent
from tests.factories import NOW
from tests.logdata import device_actor, log_transaction, make_log_account


def sender(processor: ProcessorServices, account_id: UUID, device: str = "pump-1", now: datetime = NOW) -> Appender:
    """A device that sends."""
    return Appender(processor.plane, processor.objects, device_actor(processor, account_id, device), now)


def sent(*points: tuple[str, int, Any], now: datetime = NOW) -> tuple[Batch, bytes]:
    """A batch of points of (tag, seconds before now, value), and its body."""
    rows = [{"tag": tag, "time": now - timedelta(seconds=ago), "value": value, "unit": "°C"} for tag, ago, value in points]
    body = msgspec.json.encode(rows)
    return read_json(body, now), body


def stored(processor: ProcessorServices, account_id: UUID) -> pa.Table:
    """All points of the account, by place."""
    with log_transaction(processor) as tx:
        key = accounts.find_account(tx, account_id).key
        rows = list(
            tx.session.scalars(select(LogChunk).where(LogChunk.account_id == account_id).order_by(LogChunk.first_seq))
        )
        return pa.concat_tables([chunks.load(processor.objects, key, row) for row in rows]) if rows else None


@pytest.fixture
def account_id(processor: ProcessorServices) -> UUID:
    """An account with log data."""
    return make_log_account(processor)


def test_what_is_accepted_is_stored_as_it_came(processor: ProcessorServices, account_id: UUID) -> None:
    to = sender(processor, account_id)
    batch, _ = sent(("t", 5, 1.5), ("n", 4, 7), ("on", 3, True), ("say", 2, 'grüezi " \n'), ("t", 1, 3))
    assert append(to, batch) == Verdict(5, [])
    assert append(to, sent(("t", 0, -0.0))[0]) == Verdict(1, [])
    found = stored(processor, account_id).to_pylist()
    with log_transaction(processor) as tx:
        names = {tag.tag_id: tag for tag in devices.list_tags(tx, accounts.find_account(tx, account_id), to.device_id)}
    assert [(names[row["tag"]].name, row["seq"], row["f"], row["i"], row["b"], row["s"]) for row in found] == [
        ("t", 1, 1.5, None, None, None),
        ("n", 2, None, 7, None, None),
        ("on", 3, None, None, True, None),
        ("say", 4, None, None, None, 'grüezi " \n'),
        ("t", 5, None, 3, None, None),
        ("t", 6, -0.0, None, None, None),
    ]
    assert [row["time"] for row in found] == [NOW - timedelta(seconds=ago) for ago in (5, 4, 3, 2, 1, 0)]
    assert {(tag.name, tag.kind, tag.unit) for tag in names.values()} == {
        ("t", "float", "°C"), ("n", "int", "°C"), ("on", "bool", "°C"), ("say", "text", "°C")
    }  # fmt: skip


def test_a_batch_of_a_key_is_taken_once(processor: ProcessorServices, account_id: UUID) -> None:
    to = sender(processor, account_id)
    batch, body = sent(("t", 5, 1.5), ("t", -3600, 1.5))
    first = append(to, batch, BatchKey("k", body))
    assert first == Verdict(1, [Rejection(1, "in_the_future", "time lies more than five minutes ahead")])
    later = sender(processor, account_id, now=NOW + timedelta(hours=2))
    assert append(later, read_json(body, later.now), BatchKey("k", body)) == first
    assert len(stored(processor, account_id)) == 1
    with pytest.raises(IdempotencyMismatchError):
        append(to, *_keyed(sent(("t", 5, 1.6)), "k"))
    assert append(sender(processor, account_id, "pump-2"), batch, BatchKey("k", body)).accepted == 1


def test_a_key_of_nothing_acceptable_is_spent_too(processor: ProcessorServices, account_id: UUID) -> None:
    to = sender(processor, account_id)
    batch, body = sent(("t", -3600, 1.5))
    first = append(to, batch, BatchKey("k", body))
    later = sender(processor, account_id, now=NOW + timedelta(hours=2))
    assert append(later, read_json(body, later.now), BatchKey("k", body)) == first
    assert stored(processor, account_id) is None


def test_an_account_that_may_go_takes_nothing(
    processor: ProcessorServices, processor_owner: Engine, account_id: UUID
) -> None:
    to = sender(processor, account_id)
    append(to, sent(("t", 5, 1.5))[0])
    with processor_owner.begin() as connection:
        connection.execute(update(LogAccount).values(closing_until=utc_now() + timedelta(minutes=5)))
    with pytest.raises(BusyError):
        append(to, sent(("t", 4, 1.5))[0])
    with pytest.raises(BusyError):
        append(sender(processor, account_id, now=utc_now() + timedelta(days=1)), sent(("t", 4, 1.5))[0])
    with processor_owner.begin() as connection:
        connection.execute(update(LogAccount).values(closing_until=utc_now()))
    assert append(to, sent(("t", 4, 1.5))[0]).accepted == 1
    with processor_owner.begin() as connection:
        connection.execute(update(LogAccount).values(erasing_at=NOW))
    with pytest.raises(NotFoundError):
        append(to, sent(("t", 3, 1.5))[0])


def test_the_account_and_the_customer_see_that_points_came(processor: ProcessorServices, account_id: UUID) -> None:
    to, before = sender(processor, account_id), utc_now()
    append(to, sent(("t", 5, 1.5), ("t", 4, 2.5))[0])
    with log_transaction(processor) as tx:
        row = accounts.find_account(tx, account_id).row
        device = devices.get_device(tx, accounts.find_account(tx, account_id), to.device_id)
        assert row.head_seq == 2
        for at in (row.last_point_at, device.last_point_at):
            assert at is not None
            assert before <= at <= utc_now(), "by the database's clock"
        event = tx.session.scalars(select(LogEvent).where(LogEvent.action == "points.append")).one()
    assert (event.account_id, event.subject_id, event.actor_kind, event.actor_id) == (
        account_id, to.device_id, "device", to.actor.id
    )  # fmt: skip


def _keyed(batch: tuple[Batch, bytes], key: str) -> tuple[Batch, BatchKey]:
    return batch[0], BatchKey(key, batch[1])


def test_a_device_that_makes_up_tags_is_told_when_there_are_enough(
    processor: ProcessorServices, account_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "MOST_TAGS", 2)
    to = sender(processor, account_id)
    verdict = append(to, sent(("a", 4, 1), ("b", 3, 2), ("c", 2, 3), ("a", 1, 4))[0])
    assert (verdict.accepted, [(each.index, each.code) for each in verdict.rejected]) == (3, [(2, "too_many_tags")])
    assert append(to, sent(("c", 2, 3))[0]).accepted == 0
    assert [row["i"] for row in stored(processor, account_id).to_pylist()] == [1, 2, 4]


def test_no_append_fails_while_others_append_delete_and_compact(
    processor: ProcessorServices, processor_worker: ProcessorServices, account_id: UUID
) -> None:
    senders = [sender(processor, account_id, f"pump-{number}") for number in range(8)]
    batches = [sent(("t", 5, number)) for number in range(40)]
    append(senders[0], batches[0][0])
    with ThreadPoolExecutor(len(senders) + 2) as pool:
        keyed = [BatchKey(str(number), body) if number % 2 else None for number, (_, body) in enumerate(batches)]

        def send_all(to: Appender) -> int:
            return sum(append(to, batch, key).accepted for (batch, _), key in zip(batches, keyed, strict=True))

        appending = [pool.submit(send_all, to) for to in senders]

        def meddle(do: Callable[[Appender], None]) -> None:
            for to in cycle(senders):
                do(to)
                if all(each.done() for each in appending):
                    return

        meddling = [pool.submit(meddle, partial(do, processor_worker)) for do in (compact, delete)]
        assert sum(each.result() for each in appending) == len(senders) * len(batches)
        assert [each.result() for each in meddling] == [None, None]


def compact(worker: ProcessorServices, to: Appender) -> None:
    """Compact the device's chunks."""
    compaction.carry_out(worker.plane, worker.objects, worker.clock, to.account_id, to.device_id)


def delete(worker: ProcessorServices, to: Appender) -> None:
    """Delete what there is of the device."""
    with log_transaction(worker, WORKER) as tx:
        account = accounts.find_account(tx, to.account_id)
        unset = dict.fromkeys(("tag_id", "since", "before"))
        row = deletions.order(tx, account, device_id=to.device_id, **unset, trigger="customer")
    deletions.carry_out(worker.plane, worker.objects, worker.clock, to.account_id, row.deletion_id)


def test_a_sender_that_was_stopped_for_long_writes_no_row_of_an_object_that_may_be_gone(
    processor: ProcessorServices, account_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = sender(processor, account_id)
    monkeypatch.setattr(chunks, "FENCE", timedelta(0))
    with pytest.raises(BusyError):
        append(to, sent(("t", 5, 1.5))[0])
    assert stored(processor, account_id) is None
    assert list(processor.objects.keys(chunks.prefix_of(account_id))) == []


@pytest.mark.parametrize("time", ["2026-01-31T12:01:00.123456+01", "2026-01-31T12:01:00+01:00"])
def test_a_time_is_read_alone_as_among_others(time: str) -> None:
    def accepted(*times: str) -> bool:
        try:
            return len(read_times([Sent("t", each, 1) for each in times])) == len(times)
        except msgspec.ValidationError:
            return False

    assert accepted(time) == accepted(time, "2026-01-31T12:01:00.1Z") == time.endswith(":00")
