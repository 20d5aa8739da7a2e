"""What an answer takes of the process that all customers share: as little as its points, whatever is stored."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest
from sqlalchemy import Engine, event, text

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor import accounts
from cloudpriv.processor.datamailbox.latest import latest_points
from cloudpriv.processor.query import merging, reading
from cloudpriv.processor.storage.chunks import Selection
from tests.factories import NOW
from tests.logdata import log_transaction, make_log_account
from tests.points import chunks_of, send, sender

MILLISECOND = timedelta(milliseconds=1)
TEXT = "x" * 8_000
BATCHES = 40


@pytest.fixture
def hour_of_texts(processor: ProcessorServices) -> UUID:
    """An account with 320 MB of texts in an hour, which compress to nothing."""
    account_id = make_log_account(processor)
    to = sender(processor, account_id)
    for batch in range(BATCHES):
        send(to, *(("t", NOW + (batch * 1000 + place) * MILLISECOND, TEXT) for place in range(1000)))
    assert sum(chunk.size for chunk in chunks_of(processor, account_id)) < 1024 * 1024
    return account_id


def test_texts_that_compress_to_nothing_take_little_memory(processor: ProcessorServices, hour_of_texts: UUID) -> None:
    peak_of_memory()
    before = peak_of_memory()
    with log_transaction(processor) as tx:
        found = reading.snapshot(tx, hour_of_texts, Selection())
        assert len(reading.page(found, processor.objects, None, 1)) == 1
        assert peak_of_memory() - before < 100, "MB for a page of one point"
        sizes = [(len(points), points.nbytes) for points in found.points(processor.objects)]
    assert sum(count for count, _ in sizes) == BATCHES * 1000
    assert max(size for _, size in sizes) <= merging.MOST_BYTES


def peak_of_memory() -> float:
    """The most memory that this process has had since the last call, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return peak


@dataclass
class Rearranged:
    """A bucket whose objects are away for some reads, as while a deletion rewrites one chunk after another."""

    objects: ObjectStore
    away: int

    def get(self, key: str) -> bytes:
        """As that of the bucket."""
        if self.away:
            self.away -= 1
            raise NotFoundError
        return self.objects.get(key)


def test_a_reader_waits_while_objects_go_away_again_and_again(processor: ProcessorServices) -> None:
    account_id = make_log_account(processor)
    to = sender(processor, account_id)
    send(to, ("t", NOW, 1))
    rearranged = cast(ObjectStore, Rearranged(processor.objects, 6))
    with log_transaction(processor) as tx:
        assert len(reading.page(reading.snapshot(tx, account_id, Selection()), rearranged, None, 1)) == 1
        account = accounts.find_account(tx, account_id)
        assert len(latest_points(tx, account, rearranged, to.device_id, [chunks_of(processor, account_id)[0].tags[0]])) == 1


def test_a_tag_without_points_is_not_sought_in_every_chunk(processor: ProcessorServices, processor_owner: Engine) -> None:
    account_id = make_log_account(processor)
    to = sender(processor, account_id)
    send(to, ("a", NOW, 1))
    tag = chunks_of(processor, account_id)[0].tags[0]
    copy_chunks(processor_owner, account_id, 2_000)
    rows: list[int] = []
    with log_transaction(processor) as tx:
        account = accounts.find_account(tx, account_id)
        event.listen(tx.session, "loaded_as_persistent", lambda *_: rows.append(1))
        assert list(latest_points(tx, account, processor.objects, to.device_id, [tag, tag + 1])) == [tag]
    assert len(rows) < 200, "rows of chunks that were looked at"


def copy_chunks(owner: Engine, account_id: UUID, count: int) -> None:
    """Rows of `count` chunks more, an hour each, that lead nowhere."""
    with owner.begin() as connection:
        copied = """
            INSERT INTO log_chunks SELECT account_id, gen_random_uuid(), device_id, level, 'nowhere', tags, segments,
              since - n * interval '1 hour', until - n * interval '1 hour', first_seq, last_seq, points, size, created_at
            FROM log_chunks, generate_series(1, :count) n WHERE account_id = :account_id"""
        connection.execute(text("SET LOCAL search_path = processor"))
        connection.execute(text(copied), {"account_id": account_id, "count": count})
