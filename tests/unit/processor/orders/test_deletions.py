"""Deletions: nothing of them is told from the order on, and no object holds it once the worker is through."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.errors import NotFoundError, RateLimitedError
from cloudpriv.platform.ids import new_id
from cloudpriv.processor import accounts, devices
from cloudpriv.processor.order_tables import LogDeletion
from cloudpriv.processor.orders import deletions
from cloudpriv.processor.query import masking, reading
from cloudpriv.processor.storage import chunks, compaction, sweep
from cloudpriv.processor.storage.chunks import Selection
from cloudpriv.processor.tables import LogGarbage
from tests.factories import NOW
from tests.logdata import carry_out, log_transaction, make_log_account
from tests.points import chunks_of, objects_of, send, sender
from tests.senders import Sender, point, read_integers

DAY = timedelta(days=1)


@pytest.fixture
def log_account(processor: ProcessorServices) -> UUID:
    """An account of the processor plane."""
    return make_log_account(processor)


def order(processor: ProcessorServices, account_id: UUID, **conditions: Any) -> UUID:
    """Have points deleted as the customer does."""
    unset = dict.fromkeys(("device_id", "tag_id", "since", "before"))
    with log_transaction(processor) as tx:
        account = accounts.find_account(tx, account_id)
        return deletions.order(tx, account, **{**unset, "trigger": "customer", **conditions}).deletion_id


def found(processor: ProcessorServices, account_id: UUID, deletion_id: UUID) -> LogDeletion:
    """The row of a deletion."""
    with log_transaction(processor) as tx:
        return deletions.find(tx, account_id, deletion_id)


def stored(processor: ProcessorServices, account_id: UUID) -> list[int]:
    """All integers that the account's objects hold, whatever the masks say."""
    with log_transaction(processor) as tx:
        key = accounts.find_account(tx, account_id).key
        look = reading.look_up(tx, account_id, Selection(), 1000)
    objects = {chunk.object_key: chunk for chunk in look.chunks}
    assert set(processor.objects.keys(chunks.prefix_of(account_id))) == set(objects)
    tables = [chunks.load(processor.objects, key, chunk) for chunk in objects.values()]
    return sorted(value for table in tables for value in table["i"].to_pylist())


def test_a_deletion_takes_effect_with_its_order(processor: ProcessorServices, log_account: UUID) -> None:
    Sender(processor, log_account).send([point(1, NOW - DAY), point(2, NOW)])
    order(processor, log_account, before=NOW)
    assert read_integers(processor, log_account) == [2]
    assert stored(processor, log_account) == [1, 2]


def test_the_worker_erases_what_is_deleted_and_keeps_the_rest(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    sender = Sender(processor, log_account)
    sender.send([point(1, NOW - DAY), point(2, NOW)])
    sender.send([point(3, NOW - DAY)])
    sender.send([point(4, NOW)])
    deletion_id = order(processor, log_account, before=NOW)
    carry_out(processor_worker)
    assert stored(processor, log_account) == [2, 4] == read_integers(processor, log_account)
    assert found(processor, log_account, deletion_id).status == "done"
    assert found(processor, log_account, deletion_id).points == 2


def test_what_comes_after_the_order_stays(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    sender = Sender(processor, log_account)
    sender.send([point(1, NOW)])
    order(processor, log_account)
    sender.send([point(2, NOW)])
    assert read_integers(processor, log_account) == [2]
    carry_out(processor_worker)
    assert stored(processor, log_account) == [2]


def test_one_tag_of_one_device_is_deleted(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    first, second = Sender(processor, log_account, "one"), Sender(processor, log_account, "two")
    first.send([point(1, NOW, "a"), point(2, NOW, "b")])
    second.send([point(3, NOW, "a"), point(4, NOW, "b")])
    with log_transaction(processor) as tx:
        account = accounts.find_account(tx, log_account)
        tags = devices.find_tags(tx, account, first.device_id, ["a"])
    order(processor, log_account, device_id=first.device_id, tag_id=tags["a"])
    assert read_integers(processor, log_account) == [2, 3, 4]
    carry_out(processor_worker)
    assert stored(processor, log_account) == [2, 3, 4]


def test_a_point_that_is_kept_keeps_its_place(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    Sender(processor, log_account).send([point(1, NOW), point(2, NOW - DAY), point(3, NOW)])
    order(processor, log_account, before=NOW)
    carry_out(processor_worker)
    assert read_integers(processor, log_account, Selection(after_seq=1)) == [3]


def test_a_deletion_is_no_other_accounts(processor: ProcessorServices, log_account: UUID) -> None:
    deletion_id = order(processor, log_account)
    with log_transaction(processor) as tx, pytest.raises(NotFoundError):
        deletions.find(tx, new_id(), deletion_id)


def test_a_place_bounds_what_is_deleted(processor: ProcessorServices, log_account: UUID) -> None:
    Sender(processor, log_account).send([point(1, NOW), point(2, NOW)])
    order(processor, log_account, up_to_seq=1)
    assert read_integers(processor, log_account) == [2]


def test_a_deletion_that_is_done_left_its_points_in_no_object_that_compaction_replaced(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    compact(processor, processor_worker, log_account)
    assert objects_of(processor, log_account) > {chunk.object_key for chunk in chunks_of(processor, log_account)}
    deletion_id = order(processor, log_account)
    carry_out(processor_worker)
    assert found(processor, log_account, deletion_id).status == "done"
    assert objects_of(processor, log_account) == set()


def test_a_deletion_waits_for_the_pause_of_what_may_be_an_orphan_with_its_points(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    orphan = f"{chunks.prefix_of(log_account)}{new_id()}"
    processor.objects.put(orphan, b"of a worker that was killed")
    with log_transaction(processor_worker, WORKER) as tx:
        tx.session.add(LogGarbage(account_id=log_account, object_key=orphan, after=NOW + sweep.PAUSE))
    deletion_id = order(processor, log_account)
    carry_out(replace(processor_worker, clock=lambda: NOW))
    assert found(processor, log_account, deletion_id).status == "pending"
    carry_out(replace(processor_worker, clock=lambda: NOW + sweep.PAUSE))
    assert found(processor, log_account, deletion_id).status == "done"
    assert objects_of(processor, log_account) == set()


def compact(processor: ProcessorServices, processor_worker: ProcessorServices, account_id: UUID) -> None:
    """Have a device send as many batches as are worth rewriting, and a worker rewrite them."""
    to = sender(processor, account_id)
    for number in range(compaction.MANY):
        send(to, ("t", NOW - timedelta(seconds=number), number))
    with log_transaction(processor_worker, WORKER) as tx:
        assert compaction.enqueue_due(tx, 10) == 1
    carry_out(replace(processor_worker, clock=lambda: NOW))


def test_deletions_that_wait_are_bounded(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletions, "MOST_PENDING", 2)
    for _ in range(2):
        order(processor, log_account, before=NOW)
    with pytest.raises(RateLimitedError):
        order(processor, log_account, before=NOW)
    order(processor, log_account, before=NOW, trigger="retention")
    carry_out(processor_worker)
    order(processor, log_account, before=NOW)


def test_masks_of_tags_of_one_device_and_span_are_one() -> None:
    device, other = new_id(), new_id()
    masks = [Selection([device], [tag], until=NOW, up_to_seq=5) for tag in (3, 1, 2)]
    apart = [Selection([other], [4], until=NOW, up_to_seq=5), Selection([device], [5], up_to_seq=5)]
    assert masking.folded([*masks, *apart]) == [
        Selection((device,), [1, 2, 3], until=NOW, up_to_seq=5),
        Selection((other,), [4], until=NOW, up_to_seq=5),
        Selection((device,), [5], up_to_seq=5),
    ]
    assert masking.folded([*masks, Selection([device], until=NOW, up_to_seq=5)]) == [
        Selection((device,), until=NOW, up_to_seq=5)
    ]
