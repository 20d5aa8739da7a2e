"""A restored database of log data: nobody serves or sweeps it before it is accepted, and no acknowledged point goes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.actor import OPERATOR, WORKER
from cloudpriv.platform.errors import NotFoundError, RestoredError
from cloudpriv.processor import tokens
from cloudpriv.processor.events import list_events
from cloudpriv.processor.orders import instructions
from cloudpriv.processor.orders.instructions import Wanted
from cloudpriv.processor.storage import compaction, restored, sweep
from cloudpriv.processor.storage.append import Appender
from cloudpriv.processor.upkeep import acceptance
from tests import backups
from tests.factories import NOW
from tests.logdata import carry_out, log_transaction, make_log_account, reader_actor, reader_token
from tests.points import objects_of, send, sender, stored
from tests.stack import TestDatabase
from workers import processor_schedule

DAY = timedelta(days=1)


@pytest.fixture
def to(processor: ProcessorServices) -> Appender:
    """A device that has sent."""
    found = sender(processor, make_log_account(processor))
    send(found, ("t", NOW, 0))
    return found


def require_current(services: ProcessorServices) -> None:
    restored.require_current(services.plane, services.objects, services.clock)


def mark(worker: ProcessorServices) -> None:
    restored.mark_newest(worker.plane, worker.objects, worker.clock)


def lose_newest_event(owner: Engine) -> None:
    """What a restore of an older backup comes to."""
    with owner.begin() as connection:
        newest = "(SELECT event_id FROM log_events ORDER BY event_id DESC LIMIT 1)"
        assert connection.execute(text(f"DELETE FROM log_events WHERE event_id = {newest}")).rowcount == 1  # noqa: S608  our own


def accept(processor: ProcessorServices, *, revoke_tokens: bool = False) -> tuple[int, int]:
    return acceptance.accept(processor.plane, processor.objects, processor.clock, OPERATOR, revoke_tokens=revoke_tokens)


def test_a_new_installation_and_one_that_goes_on_are_current(
    processor: ProcessorServices, processor_worker: ProcessorServices
) -> None:
    require_current(processor)
    mark(processor_worker)
    to = sender(processor, make_log_account(processor))
    send(to, ("t", NOW, 1))
    require_current(processor)
    mark(processor_worker)
    send(to, ("t", NOW, 2))
    require_current(processor)


def test_a_database_without_the_event_that_the_bucket_names_was_restored(
    processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine, to: Appender
) -> None:
    mark(processor_worker)
    lose_newest_event(processor_owner)
    for look in (require_current, mark):
        with pytest.raises(RestoredError, match="older than its bucket"):
            look(processor_worker)
    with pytest.raises(RestoredError, match="older than its bucket"):
        require_current(processor)  # so nothing wrote the mark anew


def test_an_emptied_bucket_is_no_bucket_of_this_database(processor: ProcessorServices, to: Appender) -> None:
    require_current(processor)
    processor.objects.delete_below("chunks/")
    with pytest.raises(RestoredError, match="wrong bucket"):
        require_current(processor)


def test_an_absent_bucket_tells_of_no_restore(processor: ProcessorServices) -> None:
    with pytest.raises(NotFoundError):
        require_current(replace(processor, objects=processor.objects.of_bucket("absent")))


def test_the_schedule_ends_when_the_database_is_restored_beneath_it(
    processor_worker: ProcessorServices, processor_owner: Engine, to: Appender
) -> None:
    mark(processor_worker)
    lose_newest_event(processor_owner)
    with pytest.raises(RestoredError, match="older than its bucket"):
        processor_schedule.run(processor_worker)


def test_an_accepted_restore_withdraws_what_support_may_read_and_is_told_to_the_customer(
    processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine, to: Appender
) -> None:
    actor = reader_actor(processor, to.account_id)
    with log_transaction(processor, actor) as tx:
        given = instructions.give(tx, to.account_id, Wanted("support_read", until=NOW + 90 * DAY)).row.instruction_id
    mark(processor_worker)
    lose_newest_event(processor_owner)
    assert accept(replace(processor, clock=lambda: NOW)) == (1, 0)
    require_current(processor)
    with log_transaction(processor, actor) as tx:
        assert instructions.read(tx, to.account_id, given).status == "withdrawn"
        told = [event.action for event in list_events(tx, to.account_id, after=None, limit=100)]
    assert {"instruction.withdraw", "restore.accept"} <= set(told)


def test_tokens_are_revoked_when_the_operator_says_so(processor: ProcessorServices) -> None:
    token = reader_token(processor, make_log_account(processor))
    for revoke, is_known in ((False, True), (True, False)):
        accept(processor, revoke_tokens=revoke)
        with log_transaction(processor) as tx:
            assert (tokens.find_token(tx, token) is not None) is is_known


def test_nothing_is_swept_for_two_days_after_a_restore_was_accepted(
    processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine, to: Appender
) -> None:
    with processor_owner.begin() as connection:
        connection.execute(text("DELETE FROM log_chunks"))
    at = replace(processor, clock=lambda: NOW)
    found = acceptance.look(processor.plane, processor.objects, processor.clock)
    assert (found.chunks_without_object, found.objects_without_chunk) == (0, 1)
    accept(at)
    note, remove = sweep.carry_out, sweep.remove_garbage
    worker = processor_worker
    assert note(worker.plane, worker.objects, lambda: NOW, to.account_id, -10_000 * DAY) == 1
    over = NOW + restored.UNSWEPT
    assert remove(worker.plane, worker.objects, lambda: over - timedelta(seconds=1)) == 0
    assert remove(worker.plane, worker.objects, lambda: over) == 1
    assert objects_of(processor, to.account_id) == set()


def test_points_that_compaction_moved_since_the_backup_survive_a_restore(
    database: TestDatabase, processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine,
    tmp_path: Path, to: Appender,
) -> None:  # fmt: skip
    for number in range(1, compaction.MANY):
        send(to, ("t", NOW - timedelta(seconds=number), number))
    before = stored(processor, to.account_id)
    let_go = release(processor, processor_worker, processor_owner)
    let_go()
    backups.dump(database, tmp_path / "backup")
    worker = replace(processor_worker, clock=lambda: NOW)
    with log_transaction(worker, WORKER) as tx:
        assert compaction.enqueue_due(tx, 10) == 1
    carry_out(worker)
    assert stored(processor, to.account_id) == before
    almost = NOW + compaction.REPLACED_STAYS - timedelta(seconds=1)
    assert sweep.remove_garbage(worker.plane, worker.objects, lambda: almost) == 0
    let_go()
    backups.restore(database, tmp_path / "backup")
    assert stored(processor, to.account_id) == before
    assert acceptance.look(processor.plane, processor.objects, processor.clock).chunks_without_object == 0


def release(processor: ProcessorServices, worker: ProcessorServices, owner: Engine) -> Callable[[], None]:
    """What lets go of every connection."""
    engines = [processor.plane.engine, worker.plane.engine, owner]
    engines += [] if worker.teller is None else [worker.teller.engine]

    def let_go() -> None:
        for engine in engines:
            engine.dispose()

    return let_go
