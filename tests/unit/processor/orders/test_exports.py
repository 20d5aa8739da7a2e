"""Exports: one sealed archive of what was asked for, made whole by whichever worker comes to it."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.errors import GoneError, NotReadyError
from cloudpriv.processor import accounts
from cloudpriv.processor.order_tables import LogExport
from cloudpriv.processor.orders import exports
from cloudpriv.processor.storage.chunks import Selection
from tests.factories import NOW
from tests.logdata import carry_out, log_transaction, make_log_account
from tests.senders import Sender, point

DAY = timedelta(days=1)


@pytest.fixture
def log_account(processor: ProcessorServices) -> UUID:
    """An account of the processor plane with points of each kind of value."""
    account_id = make_log_account(processor)
    sender = Sender(processor, account_id)
    sender.send([point(1, NOW - DAY, quality="good"), point(2.0, NOW, "=level", unit="m"), point(-5, NOW)])
    sender.send([point("=1+1", NOW, "note"), point(True, NOW, "on"), point(0.1, NOW - DAY, "level")])
    return account_id


def ask(processor: ProcessorServices, account_id: UUID, kind: str, selection: Selection | None = None) -> UUID:
    """Order an export as the customer does."""
    with log_transaction(processor) as tx:
        return exports.order(tx, accounts.find_account(tx, account_id), kind, selection or Selection()).export_id


def row_of(processor: ProcessorServices, account_id: UUID, export_id: UUID) -> LogExport:
    """The row of an export."""
    with log_transaction(processor) as tx:
        return exports.find(tx, account_id, export_id)


def archive_of(processor: ProcessorServices, account_id: UUID, export_id: UUID) -> bytes:
    """The archive of a ready export."""
    with log_transaction(processor) as tx:
        archive = exports.open_archive(tx, account_id, export_id)
    return b"".join(archive.content(processor.objects))


EXPECTED: Sequence[Any] = (
    ("speed", 1, "good", None),
    ("level", 0.1, None, None),
    ("=level", 2.0, None, "m"),
    ("speed", -5, None, None),
    ("note", "=1+1", None, None),
    ("on", True, None, None),
)


def test_lines_of_json_have_every_value_exactly(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    export_id = ask(processor, log_account, "ndjson")
    carry_out(processor_worker)
    lines = map(json.loads, archive_of(processor, log_account, export_id).splitlines())
    told = [(each["tag"], each["value"], each.get("quality"), each.get("unit")) for each in lines]
    assert told == list(EXPECTED)
    assert [type(value) for _, value, *_ in told] == [type(value) for _, value, *_ in EXPECTED]


def test_a_csv_has_no_formula(processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID) -> None:
    export_id = ask(processor, log_account, "csv")
    carry_out(processor_worker)
    rows = list(csv.DictReader(io.StringIO(archive_of(processor, log_account, export_id).decode())))
    assert [(row["tag"], row["kind"], row["value"]) for row in rows] == [
        ("speed", "int", "1"),
        ("level", "float", "0.1"),
        ("'=level", "float", "2.0"),
        ("speed", "int", "-5"),
        ("note", "text", "'=1+1"),
        ("on", "bool", "true"),
    ]


def test_a_parquet_file_has_one_column_for_each_kind(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    export_id = ask(processor, log_account, "parquet")
    carry_out(processor_worker)
    rows = pq.read_table(io.BytesIO(archive_of(processor, log_account, export_id))).to_pylist()
    values = [[row[f"value_{kind}"] for kind in ("int", "float", "text", "bool")] for row in rows]
    assert [[each for each in found if each is not None] for found in values] == [[value] for _, value, *_ in EXPECTED]


def test_the_row_tells_size_digest_and_when_it_ends(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    export_id = ask(processor, log_account, "csv", Selection(since=NOW))
    assert row_of(processor, log_account, export_id).status == "pending"
    with log_transaction(processor) as tx, pytest.raises(NotReadyError):
        exports.open_archive(tx, log_account, export_id)
    carry_out(processor_worker)
    row, content = row_of(processor, log_account, export_id), archive_of(processor, log_account, export_id)
    assert (row.status, row.points, row.size, row.sha256) == ("ready", 4, len(content), sha256(content).digest())
    assert row.ready_at is not None
    assert row.expires_at is not None
    assert row.expires_at - row.ready_at >= timedelta(days=7)
    with log_transaction(processor, now=row.expires_at) as tx, pytest.raises(GoneError):
        exports.open_archive(tx, log_account, export_id)


def test_points_that_come_after_the_order_are_not_in_it(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    export_id = ask(processor, log_account, "ndjson")
    Sender(processor, log_account).send([point(99, NOW)])
    carry_out(processor_worker)
    assert row_of(processor, log_account, export_id).points == len(EXPECTED)


def test_nothing_of_an_archive_lies_in_the_bucket_in_plain_text(
    processor: ProcessorServices, processor_worker: ProcessorServices, log_account: UUID
) -> None:
    export_id = ask(processor, log_account, "ndjson")
    carry_out(processor_worker)
    sealed = processor.objects.get(row_of(processor, log_account, export_id).object_key)
    assert b"speed" not in sealed
