"""The sweep: objects without a row go, and no other."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.ids import created_at, new_id
from cloudpriv.processor.storage import sweep
from cloudpriv.processor.storage.append import Appender
from cloudpriv.processor.storage.chunks import prefix_of
from cloudpriv.processor.tables import LogGarbage, LogTask
from tests.factories import NOW
from tests.logdata import log_transaction, make_log_account
from tests.points import objects_of, send, sender, stored

NOTHING = timedelta(0)


@pytest.fixture
def to(processor: ProcessorServices) -> Appender:
    """A device that sends."""
    return sender(processor, make_log_account(processor))


def id_of(time: datetime) -> UUID:
    """An id that was made at a time."""
    return UUID(int=int(time.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62)


def find(processor_worker: ProcessorServices, to: Appender, now: datetime = NOW, age: timedelta = sweep.AGE) -> int:
    """Sweep the account."""
    return sweep.carry_out(processor_worker.plane, processor_worker.objects, lambda: now, to.account_id, age)


def remove(processor_worker: ProcessorServices, now: datetime) -> int:
    """Remove what is garbage at a time."""
    return sweep.remove_garbage(processor_worker.plane, processor_worker.objects, lambda: now)


def test_an_orphan_goes_after_an_hour_and_a_pause(
    processor: ProcessorServices, processor_worker: ProcessorServices, to: Appender
) -> None:
    send(to, ("t", NOW, 1))
    before, kept = stored(processor, to.account_id), objects_of(processor, to.account_id)
    orphan = f"{prefix_of(to.account_id)}{id_of(NOW - sweep.AGE - timedelta(seconds=1))}"
    young = f"{prefix_of(to.account_id)}{id_of(NOW - sweep.AGE + timedelta(seconds=1))}"
    for key in (orphan, young):
        processor.objects.put(key, b"half")
    assert find(processor_worker, to) == 1
    assert remove(processor_worker, NOW + sweep.PAUSE - timedelta(seconds=1)) == 0
    assert remove(processor_worker, NOW + sweep.PAUSE) == 1
    assert objects_of(processor, to.account_id) == kept | {young}
    assert stored(processor, to.account_id) == before


def test_uploads_that_never_ended_and_lost_archives_go_too(
    processor: ProcessorServices, processor_worker: ProcessorServices, to: Appender
) -> None:
    old = id_of(NOW - timedelta(hours=2))
    processor.objects.put(f"exports/{to.account_id}/{old}", b"half")
    begun = f"exports/{to.account_id}/{id_of(NOW - timedelta(hours=3))}"
    client = processor.objects._s3
    client.create_multipart_upload(Bucket=processor.objects.bucket, Key=begun)
    assert find(processor_worker, to) == 2
    remove(processor_worker, NOW + sweep.PAUSE)
    assert list(processor.objects.keys(f"exports/{to.account_id}/")) == []
    assert processor.objects.unfinished(f"exports/{to.account_id}/") == []


def test_a_clock_that_jumped_ahead_makes_nothing_old(
    processor: ProcessorServices, processor_worker: ProcessorServices, to: Appender
) -> None:
    processor.objects.put(f"{prefix_of(to.account_id)}{new_id()}", b"being written")
    assert find(processor_worker, to, datetime.now(UTC) + timedelta(days=365)) == 0


def test_what_got_its_row_in_the_pause_stays(
    processor: ProcessorServices, processor_worker: ProcessorServices, to: Appender
) -> None:
    send(to, ("t", NOW, 1))
    (key,) = objects_of(processor, to.account_id)
    with log_transaction(processor_worker, WORKER) as tx:
        tx.session.add(LogGarbage(account_id=to.account_id, object_key=key, after=NOW))
    assert remove(processor_worker, NOW) == 0
    assert objects_of(processor, to.account_id) == {key}
    with log_transaction(processor_worker, WORKER) as tx:
        assert tx.session.scalars(select(LogGarbage)).all() == []


def test_every_account_is_swept_and_none_twice(processor: ProcessorServices, processor_worker: ProcessorServices) -> None:
    found = {make_log_account(processor) for _ in range(5)}
    for _ in range(2):
        last: UUID | None = sweep.FIRST
        while last is not None:
            with log_transaction(processor_worker, WORKER) as tx:
                last = sweep.enqueue_due(tx, 2, last)
    with log_transaction(processor_worker, WORKER) as tx:
        tasks = tx.session.execute(select(LogTask.account_id, LogTask.kind)).all()
    assert sorted(tasks) == sorted((account_id, sweep.KIND) for account_id in found)


def test_an_id_tells_when_it_was_made() -> None:
    before, found, after = datetime.now(UTC), created_at(new_id()), datetime.now(UTC)
    assert before - timedelta(seconds=5) < found < after + timedelta(seconds=5)
