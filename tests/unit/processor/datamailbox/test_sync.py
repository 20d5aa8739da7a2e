"""Transactions of the DataMailbox API: every point once, whatever is appended, compacted or filtered meanwhile."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.actor import Actor
from cloudpriv.platform.errors import InvalidError, NotFoundError
from cloudpriv.processor.datamailbox import mailbox, sync
from cloudpriv.processor.datamailbox.mailbox import Asked
from cloudpriv.processor.datamailbox.sync import START, Positions
from tests.factories import NOW
from tests.logdata import log_transaction, make_log_account, reader_actor
from tests.senders import Sender, point

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@pytest.fixture
def log_account(processor: ProcessorServices) -> UUID:
    """An account of the processor plane."""
    return make_log_account(processor)


class Mailbox:
    """A reader that goes on from its latest transaction."""

    def __init__(self, processor: ProcessorServices, account_id: UUID) -> None:
        self.processor = processor
        self.actor: Actor = reader_actor(processor, account_id)
        self.last: int | None = None

    def read(self, *numbers: int, most: int = 1000, now: datetime = NOW) -> list[int]:
        """The values of the next answer, of these devices or of all, and go on from it."""
        found = self.look(self.last, numbers or None, most=most, now=now)
        self.last = found.transaction_id
        return values_of(found)

    def look(self, last: int | None, numbers: Sequence[int] | None = None, *, most: int = 1000, create: bool = True,
             now: datetime = NOW) -> sync.Synced:  # fmt: skip
        """What comes after a transaction."""
        with log_transaction(self.processor, self.actor, now) as tx:
            return sync.sync(tx, self.processor.objects, last=last, numbers=numbers, create=create, most=most)


def values_of(found: sync.Synced) -> list[int]:
    """All values, in the order of values."""
    return sorted(value for read in found.devices for _, points in read.tags for value in points["i"].to_pylist())


def number_of(processor: ProcessorServices, account_id: UUID, device: str) -> int:
    """The number of a device."""
    with log_transaction(processor, reader_actor(processor, account_id)) as tx:
        return mailbox.find_device(tx, number=None, name=device).number


def test_a_transaction_sends_what_came_since_the_one_before_it(processor: ProcessorServices, log_account: UUID) -> None:
    sender, inbox = Sender(processor, log_account), Mailbox(processor, log_account)
    sender.send([point(1, NOW)])
    assert inbox.read() == [1]
    sender.send([point(2, NOW - DAY), point(3, NOW)])
    assert inbox.read() == [2, 3], "also what is older than all that was sent"
    assert inbox.read() == []


def test_an_answer_is_bounded_and_says_that_there_is_more(processor: ProcessorServices, log_account: UUID) -> None:
    sender, inbox = Sender(processor, log_account), Mailbox(processor, log_account)
    for first in range(0, 10, 5):
        sender.send([point(first + place, NOW - place * MINUTE) for place in range(5)])
    sent, last = [], None
    for more in (True, True, True, False):
        found = inbox.look(last, most=3)
        assert found.more is more
        sent.append(values_of(found))
        last = found.transaction_id
    assert sent == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


def test_the_same_transaction_can_be_gone_on_from_twice(processor: ProcessorServices, log_account: UUID) -> None:
    sender, inbox = Sender(processor, log_account), Mailbox(processor, log_account)
    sender.send([point(1, NOW)])
    first = inbox.look(None).transaction_id
    sender.send([point(2, NOW)])
    one, other = inbox.look(first), inbox.look(first)
    assert values_of(one) == values_of(other) == [2], "an answer that was lost is asked for again"
    assert one.transaction_id != other.transaction_id


def test_an_answer_with_nothing_new_keeps_its_transaction(processor: ProcessorServices, log_account: UUID) -> None:
    inbox = Mailbox(processor, log_account)
    Sender(processor, log_account).send([point(1, NOW)])
    inbox.read()
    last = inbox.last
    assert inbox.read() == []
    assert inbox.last == last, "a poller makes no row a minute"


def test_without_create_transaction_there_is_none(processor: ProcessorServices, log_account: UUID) -> None:
    Sender(processor, log_account).send([point(1, NOW)])
    found = Mailbox(processor, log_account).look(None, create=False)
    assert (values_of(found), found.transaction_id) == ([1], None)


def test_devices_that_a_filter_left_out_go_on_from_where_they_were(processor: ProcessorServices, log_account: UUID) -> None:
    one, other = Sender(processor, log_account, "one"), Sender(processor, log_account, "other")
    number = number_of(processor, log_account, "one")
    inbox = Mailbox(processor, log_account)
    one.send([point(1, NOW)])
    other.send([point(11, NOW)])
    assert inbox.read(number) == [1]
    one.send([point(2, NOW)])
    other.send([point(12, NOW)])
    assert inbox.read(most=2) == [2, 11]
    assert inbox.read() == [12]
    assert inbox.read() == []


def test_a_device_that_is_new_is_sent_from_its_first_point(processor: ProcessorServices, log_account: UUID) -> None:
    one, inbox = Sender(processor, log_account, "one"), Mailbox(processor, log_account)
    one.send([point(1, NOW)])
    assert inbox.read() == [1]
    Sender(processor, log_account, "other").send([point(2, NOW - DAY)])
    assert inbox.read() == [2]


def test_unknown_transactions_and_devices_are_refused(processor: ProcessorServices, log_account: UUID) -> None:
    inbox = Mailbox(processor, log_account)
    with pytest.raises(InvalidError):
        inbox.look(1)
    with pytest.raises(NotFoundError, match="No eWON found for id '99'"):
        inbox.look(None, [99])


def test_a_transaction_of_another_account_is_unknown(processor: ProcessorServices, log_account: UUID) -> None:
    Sender(processor, log_account).send([point(1, NOW)])
    mine = Mailbox(processor, log_account)
    mine.read()
    with pytest.raises(InvalidError):
        Mailbox(processor, make_log_account(processor)).look(mine.last)


def test_numbers_of_transactions_grow_and_are_exact_in_javascript(processor: ProcessorServices, log_account: UUID) -> None:
    with log_transaction(processor) as tx:
        numbers = [sync.open_transaction(tx, log_account, START) for _ in range(3)]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] < 2**53


def test_forgotten_transactions_give_their_numbers_to_none(processor: ProcessorServices, log_account: UUID) -> None:
    Sender(processor, log_account).send([point(1, NOW)])
    inbox = Mailbox(processor, log_account)
    inbox.read()
    before = inbox.last
    with log_transaction(processor, inbox.actor) as tx:
        sync.forget_transactions(tx, None)
    with pytest.raises(InvalidError):
        inbox.look(before)
    inbox.last = None
    assert inbox.read(now=NOW + MINUTE) == [1], "who begins anew gets everything"
    assert inbox.last != before


def test_transactions_that_nobody_uses_are_erased_and_others_stay(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    other_account = make_log_account(processor)
    with log_transaction(processor) as tx:
        unused, used = (sync.open_transaction(tx, log_account, START) for _ in range(2))
        newest = sync.open_transaction(tx, other_account, Positions(1))
    with log_transaction(processor, now=NOW + 20 * DAY) as tx:
        sync.find_transaction(tx, log_account, used)
        newest_of_this = sync.open_transaction(tx, log_account, START)
    with log_transaction(processor_worker, now=NOW + 40 * DAY) as tx:
        assert sync.forget_old(tx, NOW + 10 * DAY, 10) == 1
    with log_transaction(processor, now=NOW + 40 * DAY) as tx:
        with pytest.raises(InvalidError):
            sync.find_transaction(tx, log_account, unused)
        assert sync.find_transaction(tx, log_account, used) == sync.find_transaction(tx, log_account, newest_of_this)
        assert sync.find_transaction(tx, other_account, newest) == Positions(1), "an account's newest stays"


def test_what_a_transaction_sent_can_be_deleted_and_nothing_later(processor: ProcessorServices, log_account: UUID) -> None:
    one, other = Sender(processor, log_account, "one"), Sender(processor, log_account, "other")
    inbox = Mailbox(processor, log_account)
    one.send([point(1, NOW)])
    other.send([point(11, NOW)])
    inbox.read()
    one.send([point(2, NOW)])
    other.send([point(12, NOW)])
    assert inbox.read(number_of(processor, log_account, "one")) == [2]
    with log_transaction(processor, inbox.actor) as tx:
        sync.delete_points(tx, Asked(), inbox.last)
    assert values_of(inbox.look(None)) == [12]


def test_of_what_a_transaction_sent_one_device_can_be_deleted(processor: ProcessorServices, log_account: UUID) -> None:
    one, other = Sender(processor, log_account, "one"), Sender(processor, log_account, "other")
    inbox = Mailbox(processor, log_account)
    one.send([point(1, NOW)])
    other.send([point(11, NOW)])
    inbox.read()
    with log_transaction(processor, inbox.actor) as tx:
        sync.delete_points(tx, Asked(number=number_of(processor, log_account, "other")), inbox.last)
    assert values_of(inbox.look(None)) == [1]


@given(
    st.lists(st.tuples(st.none() | st.sets(st.integers(1, 4), min_size=1), st.integers(1, 9)), max_size=12),
    st.integers(0, 3),
)
@settings(max_examples=300)
def test_positions_are_those_of_each_device_by_itself(reads: list[tuple[set[int] | None, int]], step: int) -> None:
    """A plain model: every device has a position of its own, and one that nobody named yet has that of all."""
    positions, model, rest = START, dict.fromkeys(range(1, 5), 0), 0
    for numbers, to in reads:
        positions = positions.moved(numbers, to * step)
        model |= {number: max(model[number], to * step) for number in (model if numbers is None else numbers)}
        rest = max(rest, to * step) if numbers is None else rest
        assert {number: positions.of(number) for number in model} == model
        assert positions.of(99) == rest
        assert all(place > positions.rest for place in positions.further.values()), "none is kept that says nothing"


def test_a_first_reading_takes_the_latest_points_from_those_read(processor: ProcessorServices, log_account: UUID) -> None:
    for number in range(5):
        Sender(processor, log_account, f"pump-{number}").send([point(number, NOW)])
    statements: list[str] = []
    with log_transaction(processor, reader_actor(processor, log_account)) as tx:
        event.listen(tx.connection, "before_cursor_execute", lambda *call: statements.append(call[2]))
        found = sync.sync(tx, processor.objects, last=None, numbers=None, create=False)
    assert [point["i"].to_pylist() for read in found.devices for point in read.latest.values()] == [[0], [1], [2], [3], [4]]
    assert sum("FROM log_chunks" in statement for statement in statements) == 1
