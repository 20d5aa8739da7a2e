"""Reading points: what is selected, in order, once each, whatever happens to the objects meanwhile."""

from datetime import timedelta
from uuid import UUID

import pytest

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.processor.query import reading
from cloudpriv.processor.storage.chunks import Selection
from tests.factories import NOW
from tests.logdata import log_transaction, make_log_account
from tests.senders import Sender, point, read_integers

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@pytest.fixture
def log_account(processor: ProcessorServices) -> UUID:
    """An account of the processor plane."""
    return make_log_account(processor)


def test_points_are_told_by_time_and_then_by_arrival(processor: ProcessorServices, log_account: UUID) -> None:
    sender = Sender(processor, log_account)
    sender.send([point(3, NOW), point(1, NOW - DAY)])
    sender.send([point(4, NOW), point(2, NOW - DAY + MINUTE)])
    assert read_integers(processor, log_account) == [1, 2, 3, 4]


def test_what_comes_later_is_not_told(processor: ProcessorServices, log_account: UUID) -> None:
    sender = Sender(processor, log_account)
    sender.send([point(1, NOW - DAY)])
    with log_transaction(processor) as tx:
        found = reading.snapshot(tx, log_account, Selection())
        sender.send([point(2, NOW)])
        assert [len(table) for table in found.points(processor.objects)] == [1]


def test_an_account_without_log_data_is_not_found(processor: ProcessorServices) -> None:
    with log_transaction(processor) as tx, pytest.raises(NotFoundError):
        reading.snapshot(tx, new_id(), Selection())
