"""What an answer takes of the process that all customers share: as little as its points, whatever is stored."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.processor import merging, reading
from cloudpriv.processor.chunks import Selection
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
