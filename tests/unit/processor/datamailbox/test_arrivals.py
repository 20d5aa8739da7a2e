"""Points in the order of arrival: all up to a place, from whatever chunks, and whatever happens to them meanwhile."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor import accounts
from cloudpriv.processor.datamailbox import mailbox, sync
from cloudpriv.processor.datamailbox.arrivals import Arrivals, newer_points
from cloudpriv.processor.datamailbox.mailbox import Asked
from cloudpriv.processor.storage import compaction
from tests.factories import NOW
from tests.logdata import carry_out, log_transaction, make_log_account, reader_actor
from tests.senders import Sender, point

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@pytest.fixture
def log_account(processor: ProcessorServices) -> UUID:
    """An account of the processor plane."""
    return make_log_account(processor)


class Interrupted(ObjectStore):
    """The store, where something happens just before the first object is read."""

    def __init__(self, of: ObjectStore, happens: Callable[[], object]) -> None:
        super().__init__(of._s3, of.bucket)
        self.happens = [happens]

    def get(self, key: str) -> bytes:
        """As ever, after it happened."""
        while self.happens:
            self.happens.pop()()
        return super().get(key)


def compact(worker: ProcessorServices, sender: Sender) -> None:
    """Rewrite a device's chunks, an hour after all was sent."""
    account_id = sender.actor.account_id
    assert account_id is not None
    compaction.carry_out(worker.plane, worker.objects, lambda: NOW + timedelta(hours=1), account_id, sender.device_id)


def read(processor: ProcessorServices, senders: list[Sender], after: int, *, head: int | None = None, most: int = 100,
         rows: int = 100, objects: ObjectStore | None = None) -> Arrivals:  # fmt: skip
    """What came after a place."""
    account_id = senders[0].actor.account_id
    assert account_id is not None
    with log_transaction(processor) as tx:
        account = accounts.find_account(tx, account_id)
        places = {sender.device_id: after for sender in senders}
        upper = account.row.head_seq if head is None else head
        return newer_points(tx, account, objects or processor.objects, places, head=upper, most=most, rows=rows)


def all_in_turn(processor: ProcessorServices, senders: list[Sender], *, most: int, rows: int) -> list[int]:
    """Values of all points, read bit by bit."""
    found, after, more = [], 0, True
    while more:
        arrivals = read(processor, senders, after, most=most, rows=rows)
        found += arrivals.points["i"].to_pylist()
        assert arrivals.up_to > after, "it goes on"
        after, more = arrivals.up_to, arrivals.more
    return found


@pytest.mark.parametrize(("most", "rows"), [(1, 1), (2, 3), (3, 1), (7, 100), (100, 2), (100, 100)])
def test_points_come_in_order_of_arrival_from_batches_and_from_days(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID, most: int, rows: int
) -> None:
    one, other = (Sender(processor, log_account, name) for name in ("one", "other"))
    for first in range(0, 24, 4):  # each batch has points of two days, so that chunks of days overlap in places
        sender = (one, other)[first // 4 % 2]
        sender.send([point(first + place, NOW - place % 2 * DAY - first * MINUTE) for place in range(4)])
    assert all_in_turn(processor, [one, other], most=most, rows=rows) == list(range(24))
    compact(processor_worker, one)
    other.send([point(24, NOW - DAY)])
    assert all_in_turn(processor, [one, other], most=most, rows=rows) == list(range(25))


@pytest.mark.parametrize("most", [1, 5, 8])
def test_points_come_in_order_of_arrival_from_days_of_more_devices_than_are_read_at_once(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID, most: int
) -> None:
    senders = [Sender(processor, log_account, f"pump-{number}") for number in range(6)]
    for value in range(18):
        senders[value % 6].send([point(value, NOW - value * MINUTE)])
    for sender in senders:
        compact(processor_worker, sender)
    assert all_in_turn(processor, senders, most=most, rows=100) == list(range(18))


def test_compaction_between_two_answers_changes_neither(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    sender = Sender(processor, log_account)
    for first in range(0, 12, 4):
        sender.send([point(first + place, NOW - place * DAY) for place in range(4)])
    before = read(processor, [sender], 0, most=5)
    compact(processor_worker, sender)
    after = read(processor, [sender], before.up_to)
    assert (before.points["i"].to_pylist(), after.points["i"].to_pylist()) == ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10, 11])


def test_what_is_committed_after_the_head_was_read_is_left_to_the_next_answer(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    sender = Sender(processor, log_account)
    sender.send([point(1, NOW)])
    sender.send([point(2, NOW - MINUTE)])
    compact(processor_worker, sender)
    arrivals = read(processor, [sender], 0, head=1)
    assert (arrivals.points["i"].to_pylist(), arrivals.up_to, arrivals.more) == ([1], 1, False)


def test_objects_that_go_away_while_they_are_read_are_looked_for_again(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    sender = Sender(processor, log_account)
    sender.send([point(1, NOW), point(2, NOW - DAY)])
    actor = reader_actor(processor, log_account)

    def delete_one() -> None:
        with log_transaction(processor, actor) as tx:
            sync.delete_points(tx, Asked(until=NOW), None)
        carry_out(processor_worker)

    arrivals = read(processor, [sender], 0, objects=Interrupted(processor.objects, delete_one))
    assert arrivals.points["i"].to_pylist() == [1], "its object was written anew meanwhile"

    def delete_rest() -> None:
        with log_transaction(processor, actor) as tx:
            sync.delete_points(tx, Asked(), None)
        carry_out(processor_worker)

    with log_transaction(processor, actor) as tx:
        device = mailbox.find_device(tx, number=None, name="pump-1")
        state = mailbox.state(tx, Interrupted(processor.objects, delete_rest), device)
    assert state.latest == {}


def test_a_count_reads_only_what_a_deletion_takes_a_part_of(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    sender, actor = Sender(processor, log_account), reader_actor(processor, log_account)
    sender.send([point(1, NOW), point(2, NOW - DAY)])
    sender.send([point(3, NOW - 9 * DAY)])
    absent = processor.objects.of_bucket("there-is-no-such-bucket")
    with log_transaction(processor, actor) as tx:
        assert [kept.points for kept in mailbox.status(tx, absent)] == [3]
        sync.delete_points(tx, Asked(until=NOW - 2 * DAY), None)
    with log_transaction(processor, actor) as tx:
        assert [kept.points for kept in mailbox.status(tx, absent)] == [2], "of a chunk that goes whole nothing is read"
        sync.delete_points(tx, Asked(until=NOW), None)
    carried_out = Interrupted(processor.objects, lambda: carry_out(processor_worker))
    with log_transaction(processor, actor) as tx:
        (kept,) = mailbox.status(tx, carried_out)
        assert (kept.points, kept.first, kept.last) == (1, NOW, NOW)
        assert carried_out.happens == [], "it was read, and went away, and was looked for again"
