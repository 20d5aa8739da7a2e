"""What was found for a data subject: an archive of JSON lines, sealed in frames, that is kept as long as any export.

It lies below the account's exports, with an export's row, so that whatever removes those removes it too. A frame is sealed
with its number, the last one as the last: an archive that was cut short or rearranged does not open.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec
import pyarrow as pa

from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.keys import DataKey, KeyFault
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.policy.register import Policy
from cloudpriv.processor import devices
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.columns import VALUES
from cloudpriv.processor.devices import Tag
from cloudpriv.processor.identities import Subject
from cloudpriv.processor.tables import LogExport, LogRequest

MEDIA_TYPE: Final = "application/x-ndjson"
RULE: Final = "log_exports"
FRAME_BYTES: Final = 1024 * 1024
ROWS_AT_ONCE: Final = 5_000
HEAD_BYTES: Final = 4  # before each frame, its length


@dataclass(frozen=True)
class Archive:
    """Where an archive lies and what seals it."""

    key: DataKey
    export_id: UUID

    @property
    def object_key(self) -> str:
        """Its key in the bucket."""
        return f"exports/{self.key.account_id}/{self.export_id}"

    def name_of(self, frame: int, *, is_last: bool) -> str:
        """What a frame is sealed as."""
        return f"{self.object_key}#{frame}{'.' if is_last else ''}"


@dataclass(frozen=True)
class Known:
    """How devices and tags are called in an archive."""

    devices: Mapping[UUID, str]
    tags: Mapping[int, Tag]

    def of_tag(self, tag_id: int) -> dict[str, Any]:
        """A tag and its device by name."""
        tag = self.tags[tag_id]
        return {"device": self.devices[tag.device_id], "tag": tag.name}


@dataclass
class Written:
    """What an archive came to, known when it is written."""

    points: int = 0
    size: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    @property
    def sha256(self) -> bytes:
        """Of the content, before it is sealed."""
        digest: bytes = self._digest.digest()
        return digest

    def take(self, block: bytes, points: int) -> None:
        """Count a part of the content, which tells of so many points."""
        self.points += points
        self.size += len(block)
        self._digest.update(block)


def announce(tx: Tx, archive: Archive, row: LogRequest) -> None:
    """Have a row lead to the archive before there is one: what a stopped worker leaves behind is found by it."""
    if tx.session.get(LogExport, (row.account_id, archive.export_id)) is None:
        tx.session.add(
            LogExport(
                account_id=row.account_id,
                export_id=archive.export_id,
                format="ndjson",
                selection={},
                status="pending",
                object_key=archive.object_key,
                trigger_id=row.request_id,
                requested_by="opendsr",
                requested_at=row.received_at,
            )
        )


def finish(tx: Tx, archive: Archive, written: Written, policy: Policy) -> None:
    """The archive is there, for as long as the policy has exports kept."""
    row = tx.session.get(LogExport, (archive.key.account_id, archive.export_id))
    if row is None:
        raise NotFoundError
    row.status, row.ready_at = "ready", tx.now
    row.points, row.size, row.sha256 = written.points, written.size, written.sha256
    row.expires_at = policy.rule_for(RULE).erasable_from(tx.now)


def known(tx: Tx, account: OpenedLogAccount) -> Known:
    """How all devices and tags of the account are called."""
    of_devices = {device.device_id: device.name for device in devices.list_devices(tx, account)}
    return Known(of_devices, {tag.tag_id: tag for tag in devices.list_tags(tx, account)})


def write(
    objects: ObjectStore, archive: Archive, content: Iterable[tuple[bytes, int]], confirm: Callable[[], None]
) -> Written:
    """Store the archive in constant memory, whole or not at all. Raises BusyError, and what `confirm` raises to stop it."""
    written = Written()
    objects.put_stream(archive.object_key, _sealed(archive, content, written), confirm=confirm)
    return written


def read(objects: ObjectStore, archive: Archive) -> Iterator[bytes]:
    """The content of an archive. Raises NotFoundError at once, KeyFault where it was altered."""
    _, blocks = objects.get_stream(archive.object_key)
    return _opened(archive, blocks)


def lines(called: Known, subject: Subject, found: Iterable[tuple[UUID, pa.Table]]) -> Iterator[tuple[bytes, int]]:
    """What is found, in blocks of whole lines, each with how many points it tells of: first devices and tags, then points.

    A device and a tag are there when their name is an identity. Points are as they were appended.
    """
    for device_id in sorted(subject.device_ids):
        yield _line({"device": called.devices[device_id]}), 0
    for tag_id in sorted(subject.tag_ids):
        yield _line(called.of_tag(tag_id)), 0
    for _, points in found:
        for batch in points.to_batches(max_chunksize=ROWS_AT_ONCE):
            rows = batch.to_pylist()
            yield b"".join(_line(_point(called, row)) for row in rows), len(rows)


def _point(called: Known, row: dict[str, Any]) -> dict[str, Any]:
    value = next(row[name] for name in VALUES if row[name] is not None)
    told = {"time": row["time"].isoformat().replace("+00:00", "Z"), "value": value}
    return called.of_tag(row["tag"]) | told | {name: row[name] for name in ("quality", "unit") if row[name] is not None}


def _line(told: dict[str, Any]) -> bytes:
    return msgspec.json.encode(told) + b"\n"


def _sealed(archive: Archive, content: Iterable[tuple[bytes, int]], written: Written) -> Iterator[bytes]:
    frame, number = bytearray(), 0
    for block, points in content:
        written.take(block, points)
        frame += block
        if len(frame) >= FRAME_BYTES:
            yield _with_head(archive.key.seal_object(archive.name_of(number, is_last=False), bytes(frame)))
            frame, number = bytearray(), number + 1
    yield _with_head(archive.key.seal_object(archive.name_of(number, is_last=True), bytes(frame)))


def _with_head(frame: bytes) -> bytes:
    return len(frame).to_bytes(HEAD_BYTES, "big") + frame


def _opened(archive: Archive, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The frames' content; one is handed out when it is known whether another follows."""
    before: bytes | None = None
    number = 0
    for frame in _frames(blocks):
        if before is not None:
            yield archive.key.open_object(archive.name_of(number, is_last=False), before)
            number += 1
        before = frame
    if before is None:
        raise KeyFault("an archive is empty")
    yield archive.key.open_object(archive.name_of(number, is_last=True), before)


def _frames(blocks: Iterable[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for block in blocks:
        held += block
        while len(held) >= HEAD_BYTES and len(held) >= (end := HEAD_BYTES + int.from_bytes(held[:HEAD_BYTES], "big")):
            yield bytes(held[HEAD_BYTES:end])
            del held[:end]
    if held:
        raise KeyFault("an archive ends within a frame")
