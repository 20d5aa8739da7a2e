"""Sends points as devices do, and looks at what is stored of them, chunk by chunk."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import pyarrow as pa
from sqlalchemy import select, update

from cloudpriv.api.logdata.points_body import read_json
from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.processor import accounts
from cloudpriv.processor.storage import chunks
from cloudpriv.processor.storage.append import Appender, append
from cloudpriv.processor.storage.columns import in_order
from cloudpriv.processor.storage.points import Batch
from cloudpriv.processor.tables import LogAccount, LogChunk
from tests.factories import NOW
from tests.logdata import device_actor, log_transaction


def sender(processor: ProcessorServices, account_id: UUID, device: str = "pump-1", now: datetime = NOW) -> Appender:
    """A device that sends."""
    return Appender(processor.plane, processor.objects, device_actor(processor, account_id, device), now)


def batch_of(rows: list[dict[str, Any]], now: datetime = NOW) -> tuple[Batch, bytes]:
    """Points as they are sent, read; and their body."""
    body = msgspec.json.encode(rows)
    return read_json(body, now), body


def send(to: Appender, *points: tuple[str, datetime, Any]) -> None:
    """Append one batch of points of (tag, time, value), all of which are taken."""
    rows = [{"tag": tag, "time": time, "value": value} for tag, time, value in points]
    assert append(to, batch_of(rows, to.now)[0]).accepted == len(rows)


def put_back(processor: ProcessorServices, account_id: UUID, at: datetime) -> None:
    """Have the account's last point have come then, which otherwise the database's clock says."""
    with log_transaction(processor) as tx:
        tx.session.execute(update(LogAccount).where(LogAccount.account_id == account_id).values(last_point_at=at))


def chunks_of(processor: ProcessorServices, account_id: UUID) -> list[LogChunk]:
    """Rows of the account's chunks, earliest first."""
    with log_transaction(processor) as tx:
        query = select(LogChunk).where(LogChunk.account_id == account_id)
        return list(tx.session.scalars(query.order_by(LogChunk.since, LogChunk.first_seq)))


def stored(processor: ProcessorServices, account_id: UUID) -> list[dict[str, Any]]:
    """Every point that a row leads to, in order of arrival."""
    with log_transaction(processor) as tx:
        key = accounts.find_account(tx, account_id).key
    tables = [chunks.load(processor.objects, key, row) for row in chunks_of(processor, account_id)]
    rows: list[dict[str, Any]] = in_order(pa.concat_tables(tables), "seq").to_pylist() if tables else []
    return rows


def objects_of(processor: ProcessorServices, account_id: UUID) -> set[str]:
    """Keys of all objects of the account's chunks."""
    return set(processor.objects.keys(chunks.prefix_of(account_id)))
