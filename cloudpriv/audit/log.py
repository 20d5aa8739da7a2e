"""The append-only log over audit events and certificates: a Merkle tree in tiles, and its signed checkpoints.

A checkpoint lies in the ledger's bucket, which no restore of the database reaches, before anybody is served it. What the
bucket knows and this database does not, stops the log: another tree of the same log is never signed.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import exists, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from cloudpriv.audit import certificates, events, merkle, notes, tiles
from cloudpriv.audit.events import AuditEvent
from cloudpriv.audit.tables import Certificate, Checkpoint, Log, PendingEntry
from cloudpriv.audit.tiles import LogError
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.objectstore import ObjectStore

BATCH: Final = 10_000  # entries a transaction: a second's work, some 10 MB
TURN: Final = 7_235_002  # any number: whoever changes a log holds this lock
LATEST: Final = "log/latest"
BEHIND: Final = "the ledger's bucket knows more of the log than this database"
BEGUN: Final = "log.begin"
TAKE: Final = text("""
    WITH taken AS (
        DELETE FROM log_pending
        WHERE entry_id = ANY (ARRAY(SELECT entry_id FROM log_pending ORDER BY entry_id LIMIT :batch))
        RETURNING entry_id
    )
    SELECT taken.entry_id, c.body, e.*
    FROM taken
    LEFT JOIN LATERAL (SELECT * FROM audit_events WHERE event_id = taken.entry_id LIMIT 1) e ON true
    LEFT JOIN LATERAL (SELECT body FROM certificates WHERE certificate_id = taken.entry_id LIMIT 1) c ON true
    ORDER BY taken.entry_id
""")


class SplitViewError(LogError):
    """The bucket holds a signed checkpoint of a tree that is not ours."""


class BehindError(LogError):
    """The bucket knows more of the log than this database, which was restored: `begin_anew` comes first."""


def origin_base(issuer: str) -> str:
    """What origins of logs begin with: the API's public URL without its scheme (C2SP tlog-checkpoint)."""
    parts = urlsplit(issuer)
    return f"{parts.netloc}{parts.path}".rstrip("/")


def advance(
    plane: Plane, ledger: ObjectStore, key: Ed25519PrivateKey, origin_base: str, clock: Callable[[], datetime]
) -> int:
    """Log what is pending and publish the tree's checkpoint; how many entries were logged.

    Any number of callers at once, as the worker's role. What a call left when it was stopped, the next makes up for. A key
    other than the last log's begins another log. Raises BehindError, SplitViewError, BusyError.
    """
    logged, taken = 0, BATCH
    while taken == BATCH:
        with plane.transaction(WORKER, clock()) as tx:
            taken = _log_pending(tx, ledger, key, origin_base)
        logged += taken
    with plane.transaction(WORKER, clock()) as tx:
        _publish(tx, ledger, key)
    return logged


def is_behind(tx: Tx, ledger: ObjectStore) -> bool:
    """Whether the bucket has a checkpoint of a larger tree or a later log than this database: it was restored."""
    log = _newest(tx)
    number, size = (log.log, log.size) if log else (0, 0)
    return _any_after(ledger, number, size) or _any_after(ledger, number + 1, 0)


def begin_anew(tx: Tx, ledger: ObjectStore, key: Ed25519PrivateKey, origin_base: str) -> int:
    """Begin the log that follows all that this database and the bucket know; its number. For a restored database."""
    former = _in_turn(tx)
    number = former.log if former else 0
    while _any_after(ledger, number + 1, 0):
        number += 1
    return _begin(tx, former, number + 1, key, origin_base).log


def newest_checkpoint(tx: Tx) -> str | None:
    """The newest published checkpoint, None before the first."""
    query = select(Checkpoint.note).order_by(Checkpoint.log.desc(), Checkpoint.size.desc()).limit(1)
    return tx.session.scalar(query)


def verifier_keys(tx: Tx) -> list[str]:
    """The verifier keys of all logs, the newest first."""
    return list(tx.session.scalars(select(Log.vkey).order_by(Log.log.desc())))


def checkpoint_key(log: int, size: int) -> str:
    """Where a checkpoint lies in the ledger's bucket; in the order of sizes."""
    return f"log/{log}/checkpoints/{size:020d}"


def sizes_in_bucket(ledger: ObjectStore, log: int, after: int) -> Iterator[int]:
    """Sizes over `after` of the checkpoints of a log that lie in the ledger's bucket, in order."""
    last = checkpoint_key(log, after)
    return (int(key.rpartition("/")[2]) for key in ledger.keys_after(last.rpartition("/")[0] + "/", last))


def _log_pending(tx: Tx, ledger: ObjectStore, key: Ed25519PrivateKey, base: str) -> int:
    """Append a batch of what is pending."""
    log = _in_turn(tx)
    waits = tx.session.scalar(select(exists(select(PendingEntry))))
    if not waits and (log is None or log.size == _published(tx, log)):
        return 0
    if is_behind(tx, ledger):
        raise BehindError(BEHIND)
    if log is None or log.vkey != notes.verifier_key(log.origin, key).text:
        log = _begin(tx, log, log.log + 1 if log else 1, key, base)
    rows = tx.session.execute(TAKE, {"batch": BATCH}).mappings().all()
    first = log.size
    tiles.append(tx, log, [(row["entry_id"], _leaf(row)) for row in rows])
    _place_certificates(tx, log, {row["entry_id"]: first + at for at, row in enumerate(rows) if row["body"] is not None})
    return len(rows)


def _leaf(row: Mapping[Any, Any]) -> bytes:
    if row["body"] is not None:
        return bytes(row["body"])
    if row["event_id"] is None:
        raise LogError(f"event {row['entry_id']} is to be logged and is not there")
    return events.leaf(row)


def _publish(tx: Tx, ledger: ObjectStore, key: Ed25519PrivateKey) -> None:
    """Sign the tree as committed, put it into the bucket, then have it served."""
    log = _in_turn(tx)
    if log is None or log.vkey != notes.verifier_key(log.origin, key).text:
        return
    published = _published(tx, log)
    if log.size == published:
        return
    read = tiles.reader(tx, log.log)

    def signed(size: int) -> str:
        return notes.sign(notes.Checkpoint(log.origin, size, merkle.root(size, read)).text, log.origin, key)

    known = _agreed(ledger, log, published, signed)
    if log.size not in known:
        known[log.size] = _put(ledger, log, signed(log.size))
    ledger.put(LATEST, json.dumps({"log": log.log, "size": log.size}).encode())
    rows = [{"log": log.log, "size": size, "note": note, "signed_at": tx.now} for size, note in known.items()]
    tx.session.execute(insert(Checkpoint), rows)
    certificates.keep(tx, ledger, log.log, published)


def _put(ledger: ObjectStore, log: Log, note: str) -> str:
    if ledger.put_new(checkpoint_key(log.log, log.size), note.encode()) != note.encode():
        raise SplitViewError(f"another tree of size {log.size} of log {log.log} has been signed")
    return note


def _agreed(ledger: ObjectStore, log: Log, published: int, signed: Callable[[int], str]) -> dict[int, str]:
    """Checkpoints of the bucket that are new to us, by size, once each is what we would have signed (Ed25519 repeats)."""
    found = {}
    for size in sizes_in_bucket(ledger, log.log, published):
        if size > log.size:
            raise BehindError(BEHIND)
        found[size] = ledger.get(checkpoint_key(log.log, size)).decode()
        if found[size] != signed(size):
            raise SplitViewError(f"another tree of size {size} of log {log.log} has been signed")
    return found


def _any_after(ledger: ObjectStore, log: int, size: int) -> bool:
    return next(sizes_in_bucket(ledger, log, size), None) is not None


def _in_turn(tx: Tx) -> Log | None:
    """The newest log, when nobody else changes any until this transaction ends."""
    tx.session.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": TURN})
    return _newest(tx)


def _newest(tx: Tx) -> Log | None:
    return tx.session.scalar(select(Log).order_by(Log.log.desc()).limit(1))


def _published(tx: Tx, log: Log) -> int:
    """The size of the log's newest checkpoint."""
    query = select(Checkpoint.size).where(Checkpoint.log == log.log).order_by(Checkpoint.size.desc()).limit(1)
    return tx.session.scalar(query) or 0


def _begin(tx: Tx, former: Log | None, number: int, key: Ed25519PrivateKey, base: str) -> Log:
    """A log whose first entry tells of its beginning."""
    if former is not None:
        _retire(tx, former)
    origin = f"{base}/log/{number}"
    log = Log(log=number, origin=origin, vkey=notes.verifier_key(origin, key).text, size=0, begun_at=tx.now)
    tx.session.add(log)
    event = events.event_of(tx, BEGUN, None)
    tx.session.execute(insert(AuditEvent).values(event))
    tiles.append(tx, log, [(event["event_id"], events.leaf(event))])
    return log


def _retire(tx: Tx, log: Log) -> None:
    """End a log with its last checkpoint: what came after it can no longer be proved there and is pending again."""
    published = _published(tx, log)
    number, kept = divmod(published, merkle.WIDTH)
    again: list[UUID] = []
    while published + len(again) < log.size:
        again += tiles.entries(tx, log.log, number)[kept:]
        number, kept = number + 1, 0
    if again:
        rows = [{"entry_id": entry} for entry in again[: log.size - published]]
        tx.session.execute(upsert(PendingEntry).on_conflict_do_nothing(), rows)
    log.size = published


def _place_certificates(tx: Tx, log: Log, places: Mapping[UUID, int]) -> None:
    for certificate_id, index in places.items():
        found = update(Certificate).where(Certificate.certificate_id == certificate_id)
        tx.session.execute(found.values(log=log.log, leaf_index=index))
