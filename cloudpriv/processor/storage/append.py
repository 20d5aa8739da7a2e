"""Append: a device's batch of points becomes a sealed object, then a row that makes it visible.

What is answered is committed. The object comes first, so a row never leads nowhere; the row, the account's count of points,
the batch's key and the event come in one statement, so there is no half. The sweep finds objects whose rows never came.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import pyarrow as pa

from cloudpriv.platform.actor import Actor
from cloudpriv.platform.db import Plane
from cloudpriv.platform.errors import BusyError, ForbiddenError, IdempotencyMismatchError, NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import DataKey, WrappedKey
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.platform.rejections import Fault, Rejection
from cloudpriv.processor import accounts, devices
from cloudpriv.processor.devices import NewTag
from cloudpriv.processor.storage import chunks
from cloudpriv.processor.storage.chunks import Stored
from cloudpriv.processor.storage.points import KINDS, Batch

BATCH_KEY: Final = "batch key"
BATCH_BODY: Final = "batch body"

NO_ROOM: Final = Fault("too_many_tags", f"tag is new, and a device has {devices.MOST_TAGS} at most")

# Most devices have few tags: all of them come with the key, and then it takes no second look for those of a batch.
LOOK: Final = """
SELECT key.kek_id, key.wrapped, account.closing_until, clock_timestamp() AS looked_at, tags.indexes, tags.ids
FROM log_accounts account JOIN log_keys key USING (account_id), (
  SELECT array_agg(name_index ORDER BY tag_id) AS indexes, array_agg(tag_id ORDER BY tag_id) AS ids FROM (
    SELECT name_index, tag_id FROM log_tags WHERE account_id = %(account_id)s AND device_id = %(device_id)s LIMIT 200
  ) few
) tags
WHERE account.account_id = %(account_id)s AND account.erasing_at IS NULL
"""
LOOK_CLOSER: Final = """
SELECT tags.indexes, tags.ids, batch.body_index, batch.verdict
FROM (
  SELECT array_agg(name_index ORDER BY tag_id) AS indexes, array_agg(tag_id ORDER BY tag_id) AS ids FROM log_tags
  WHERE account_id = %(account_id)s AND device_id = %(device_id)s AND name_index = ANY(%(names)s)
) tags
LEFT JOIN log_batches batch
  ON batch.account_id = %(account_id)s AND batch.device_id = %(device_id)s AND batch.key_index = %(key_index)s
"""
# The account's row is locked first, by one UPDATE, and all else follows from it: nothing is written for an account that is
# closing, nor twice for one batch key, nor by a process that was stopped for so long that the sweep may have taken its
# object. To lock the row and then update it, in one statement, would deadlock with those who share its lock. Of two batches
# of one key at once, the later one's places stay empty.
# When points came is told by the database's clock, as the account's life hangs on it: hosts are many, and one may be wrong.
OPEN: Final = """
WITH open AS (
  UPDATE log_accounts
  SET head_seq = head_seq + %(points)s, last_point_at = greatest(last_point_at, clock_timestamp())
  WHERE account_id = %(account_id)s AND erasing_at IS NULL AND (closing_until IS NULL OR closing_until <= clock_timestamp())
    AND clock_timestamp() < %(fence)s
  RETURNING account_id, head_seq
), """
OPEN_ONLY: Final = """
WITH open AS (
  SELECT account_id, head_seq FROM log_accounts
  WHERE account_id = %(account_id)s AND erasing_at IS NULL AND (closing_until IS NULL OR closing_until <= clock_timestamp())
    AND clock_timestamp() < %(fence)s
  FOR NO KEY UPDATE
), """
KEYED: Final = """batch AS (
  INSERT INTO log_batches (account_id, device_id, key_index, body_index, verdict, received_at)
  SELECT account_id, %(device_id)s, %(key_index)s, %(body_index)s, %(verdict)s::jsonb, %(now)s FROM open
  ON CONFLICT DO NOTHING RETURNING account_id
), taken AS (SELECT account_id, head_seq FROM open JOIN batch USING (account_id)), """
UNKEYED: Final = "taken AS (SELECT account_id, head_seq FROM open), "
POINTS: Final = """device AS (
  UPDATE log_devices device SET last_point_at = clock_timestamp()
  FROM taken WHERE device.account_id = taken.account_id AND device.device_id = %(device_id)s
), chunk AS (
  INSERT INTO log_chunks (account_id, chunk_id, device_id, level, object_key, tags, segments, since, until, first_seq,
                          last_seq, points, size, created_at)
  SELECT account_id, %(chunk_id)s, %(device_id)s, 0, %(object_key)s, %(tags)s::int[], %(segments)s::jsonb,
         %(since)s, %(until)s, head_seq - %(points)s + 1, head_seq, %(points)s, %(size)s, %(now)s FROM taken
), """
DONE: Final = """event AS (
  INSERT INTO log_events (event_id, at, actor_kind, actor_id, action, account_id, subject_id, fields, request_id)
  SELECT %(event_id)s, %(now)s, %(actor_kind)s, %(actor_id)s, 'points.append', account_id, %(device_id)s, '{}',
         %(request_id)s FROM taken
)
SELECT (SELECT count(*) FROM open) AS open, (SELECT count(*) FROM taken) AS taken
"""
BRACKETS: Final = {(True, True): OPEN + KEYED + POINTS + DONE, (True, False): OPEN_ONLY + KEYED + DONE,
                   (False, True): OPEN + UNKEYED + POINTS + DONE}  # fmt: skip


class Verdict(msgspec.Struct, frozen=True):
    """What became of a batch: how many points were taken, and each that was not, in order of their indexes."""

    accepted: int
    rejected: list[Rejection]


@dataclass(frozen=True)
class BatchKey:
    """The key under which its sender sends a batch, and the body that it sends: what is the same is taken once."""

    text: str
    body: bytes


@dataclass(frozen=True)
class _Look:
    key: DataKey
    looked_at: datetime
    tags: dict[str, int]
    key_index: bytes = b""
    body_index: bytes = b""
    earlier: Verdict | None = None


@dataclass(frozen=True)
class Appender:
    """What a batch is taken with: database and bucket of the plane, who sends it, and when it came."""

    plane: Plane
    objects: ObjectStore
    actor: Actor
    now: datetime
    request_id: UUID | None = None

    @property
    def account_id(self) -> UUID:
        """The account of the sender. Raises ForbiddenError for who is no device."""
        if self.actor.account_id is None:
            raise ForbiddenError
        return self.actor.account_id

    @property
    def device_id(self) -> UUID:
        """The device that sends. Raises ForbiddenError for who is none."""
        if self.actor.device_id is None:
            raise ForbiddenError
        return self.actor.device_id


def append(to: Appender, batch: Batch, key: BatchKey | None = None) -> Verdict:
    """Take a batch of the acting device; committed when this returns, or not at all.

    Under a key it is taken once: the same again gets the same answer. Raises IdempotencyMismatchError for another body under
    a key, BusyError while the account may be erased or a server is away, NotFoundError when it is gone.
    """
    look = _look(to, batch, key)
    if look.earlier is not None:
        return look.earlier
    tags = look.tags if look.tags.keys() >= batch.names else _with_new_tags(to, batch)
    kept = batch if tags.keys() >= batch.names else batch.without(batch.names - tags.keys(), NO_ROOM)
    verdict = Verdict(len(kept.tags), kept.rejected)
    if key is None and not kept.tags:
        return verdict
    stored = _store(to, kept, tags, look.key) if kept.tags else None
    if _bracketed(to, look, stored, verdict, keyed=key is not None):
        return verdict
    return _answered_before(to, batch, key)


def _look(to: Appender, batch: Batch, key: BatchKey | None) -> _Look:
    with to.plane.statement(to.actor, to.now) as tx:
        found = tx.fetch_one(LOOK, {"account_id": to.account_id, "device_id": to.device_id})
        if found is None:
            raise NotFoundError
        if found.closing_until is not None and found.closing_until > found.looked_at:
            raise BusyError
        data_key = tx.keys.data_key(to.account_id, WrappedKey(found.kek_id, found.wrapped))
    names = {devices.tag_index(data_key, to.device_id, name): name for name in batch.names}
    look = _Look(data_key, found.looked_at, _known(names, found))
    return look if key is None and len(look.tags) == len(names) else _look_closer(to, look, names, key)


def _look_closer(to: Appender, look: _Look, names: dict[bytes, str], key: BatchKey | None) -> _Look:
    """With the tags among many, and with what was answered before."""
    key_index = b"" if key is None else look.key.blind_index(BATCH_KEY, key.text)
    body_index = b"" if key is None else look.key.blind_index(BATCH_BODY, hashlib.sha256(key.body).hexdigest())
    values = {"account_id": to.account_id, "device_id": to.device_id, "names": list(names), "key_index": key_index}
    with to.plane.statement(to.actor, to.now) as tx:
        found: Any = tx.fetch_one(LOOK_CLOSER, values)
    if found.body_index not in (None, body_index):
        raise IdempotencyMismatchError
    earlier = None if found.verdict is None else msgspec.convert(found.verdict, Verdict)
    return _Look(look.key, look.looked_at, _known(names, found), key_index, body_index, earlier)


def _known(names: dict[bytes, str], found: Any) -> dict[str, int]:
    ids = zip(found.indexes or (), found.ids or (), strict=True)
    return {names[index]: tag_id for index, tag_id in ids if index in names}


def _store(to: Appender, batch: Batch, tags: dict[str, int], key: DataKey) -> Stored:
    ids = pa.array(list(map(tags.__getitem__, batch.tags)), pa.int32())
    return chunks.store(to.objects, key, [(chunks.ALL_TAGS, batch.values.append_column("tag", ids))])


def _with_new_tags(to: Appender, batch: Batch) -> dict[str, int]:
    first: dict[str, int] = {}
    for place, tag in enumerate(batch.tags):
        first.setdefault(tag, place)
    rows = batch.values.take(list(first.values()))
    tags = {name: _new_tag(row) for name, row in zip(first, rows.to_pylist(), strict=True)}
    with to.plane.transaction(to.actor, to.now, request_id=to.request_id) as tx:
        return devices.ensure_tags(tx, accounts.find_account(tx, to.account_id), to.device_id, tags)


def _new_tag(row: dict[str, Any]) -> NewTag:
    value = next(row[name] for name in ("f", "i", "b", "s") if row.get(name) is not None)
    return NewTag(KINDS[type(value)], row["unit"])


def _bracketed(to: Appender, look: _Look, stored: Stored | None, verdict: Verdict, *, keyed: bool) -> bool:
    """Write all rows of the batch at once. False when another of the same key came first; then nothing was written."""
    values = _about(to, look) | {"verdict": msgspec.json.encode(verdict).decode()}
    if stored is not None:
        values |= vars(stored) | {"segments": msgspec.json.encode(stored.segments).decode()}
    with to.plane.statement(to.actor, to.now) as tx:
        done: Any = tx.fetch_one(BRACKETS[keyed, stored is not None], values)
    if stored is not None and not done.taken:
        chunks.discard(to.objects, stored)
    if not done.open:
        _say_why(to)
    return bool(done.taken)


def _about(to: Appender, look: _Look) -> dict[str, Any]:
    return {
        "account_id": to.account_id,
        "device_id": to.device_id,
        "now": to.now,
        "fence": look.looked_at + chunks.FENCE,
        "key_index": look.key_index,
        "body_index": look.body_index,
        "event_id": new_id(),
        "actor_kind": to.actor.kind,
        "actor_id": to.actor.id,
        "request_id": to.request_id,
    }


def _say_why(to: Appender) -> None:
    with to.plane.transaction(to.actor, to.now) as tx:
        accounts.lock_account(tx, to.account_id)
    raise BusyError  # it took too long, or the account is open again


def _answered_before(to: Appender, batch: Batch, key: BatchKey | None) -> Verdict:
    earlier = _look(to, batch, key).earlier
    if earlier is None:
        raise BusyError
    return earlier
