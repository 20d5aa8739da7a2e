"""What was found for a data subject: an archive of JSON lines, an export like any other, and kept as long.

Its row is there before it, so that what a stopped worker leaves behind is found and removed as that of any export.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import msgspec
import pyarrow as pa

from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import DataKey
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.policy.register import Policy
from cloudpriv.processor import devices
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.order_tables import LogExport, LogRequest
from cloudpriv.processor.orders import exports
from cloudpriv.processor.query import formats
from cloudpriv.processor.query.formats import Names
from cloudpriv.processor.storage import frames
from cloudpriv.processor.subjects.identities import Subject

FORMAT: Final = "ndjson"


@dataclass
class Archive:
    """An attempt to write an archive: where it lies, what seals it, and what it came to once it is written."""

    key: DataKey
    export_id: UUID
    object_key: str
    earlier: str | None
    points: int = 0
    size: int = 0
    digest: Any = field(default_factory=sha256)


def begin(tx: Tx, account: OpenedLogAccount, row: LogRequest) -> Archive:
    """A new attempt, which the row of the export names from now on instead of an earlier one."""
    if row.results_id is None:
        raise NotFoundError
    object_key = f"exports/{row.account_id}/{new_id()}"
    known = tx.session.get(LogExport, (row.account_id, row.results_id))
    earlier = None if known is None else known.object_key
    if known is None:
        tx.session.add(
            LogExport(
                account_id=row.account_id,
                export_id=row.results_id,
                format=FORMAT,
                selection={},
                status="pending",
                object_key=object_key,
                trigger_id=row.request_id,
                requested_by=row.type,
                requested_at=row.received_at,
            )
        )
    else:
        known.object_key = object_key
    return Archive(account.key, row.results_id, object_key, earlier)


def is_current(tx: Tx, archive: Archive) -> bool:
    """Whether it is still this attempt that the export's row names."""
    row = tx.session.get(LogExport, (archive.key.account_id, archive.export_id))
    return row is not None and row.status == "pending" and row.object_key == archive.object_key


def finish(tx: Tx, archive: Archive, policy: Policy) -> None:
    """The archive is there, for as long as the policy has exports kept."""
    row = tx.session.get_one(LogExport, (archive.key.account_id, archive.export_id))
    row.status, row.ready_at = "ready", tx.now
    row.points, row.size, row.sha256 = archive.points, archive.size, archive.digest.digest()
    row.expires_at = policy.rule_for(exports.RULE).erasable_from(tx.now)


def write(objects: ObjectStore, archive: Archive, content: Iterable[tuple[bytes, int]], confirm: Callable[[], None]) -> None:
    """Store the archive in constant memory, whole or not at all. Raises BusyError, and what `confirm` raises to stop it."""
    if archive.earlier is not None:
        objects.delete_below(archive.earlier)
    sealed = frames.sealed(archive.key, archive.object_key, _measured(archive, content))
    objects.put_stream(archive.object_key, sealed, confirm=confirm)


def told_first(tx: Tx, account: OpenedLogAccount, subject: Subject, names: Names) -> list[dict[str, str]]:
    """The devices and tags whose names are identities."""
    called = [device.name for device in devices.list_devices(tx, account) if device.device_id in subject.device_ids]
    tagged = [names[tag_id] for tag_id in sorted(subject.tag_ids)]
    return [*({"device": name} for name in called), *({"device": device, "tag": tag} for device, tag in tagged)]


def lines(first: list[dict[str, str]], names: Names, found: Iterable[tuple[UUID, pa.Table]]) -> Iterator[tuple[bytes, int]]:
    """An archive's content: a line of JSON for each device, tag and point; with each part, how many points it tells of."""
    yield b"".join(msgspec.json.encode(each) + b"\n" for each in first), 0
    for _, points in found:
        yield formats.as_ndjson(points, names), len(points)


def _measured(archive: Archive, content: Iterable[tuple[bytes, int]]) -> Iterator[bytes]:
    for part, points in content:
        archive.points += points
        archive.size += len(part)
        archive.digest.update(part)
        yield part
