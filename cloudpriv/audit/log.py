"""The append-only log over audit events and certificates: a Merkle tree in tiles, and its signed checkpoints.

A checkpoint lies in the ledger's bucket, which no restore of the database reaches, before anybody is served it. What the
bucket knows and this database does not, stops the log, and so does a tree that does not begin with the one signed before:
whoever may change the whole database gets no second history signed.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import exists, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from cloudpriv.audit import checkpoints, events, merkle, notes, tiles
from cloudpriv.audit.checkpoints import BEHIND, BehindError
from cloudpriv.audit.events import AuditEvent
from cloudpriv.audit.tables import Certificate, Log, PendingEntry
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.objectstore import ObjectStore

reports = structlog.get_logger(__name__)

REPORTED: Final = 10  # missing entries a call: one is as bad as many
BATCH: Final = 10_000  # entries a transaction: a second's work, some 10 MB
TURN: Final = 7_235_002  # any number: whoever changes a log holds this lock
BEGUN: Final = "log.begin"
# What is pending and names nothing stays so: it holds up nothing that comes after it.
TAKE: Final = text("""
    WITH due AS (
        SELECT p.entry_id, c.body, e.*
        FROM log_pending p
        LEFT JOIN LATERAL (SELECT * FROM audit_events WHERE event_id = p.entry_id LIMIT 1) e ON true
        LEFT JOIN LATERAL (SELECT body FROM certificates WHERE certificate_id = p.entry_id LIMIT 1) c ON true
        WHERE e.event_id IS NOT NULL OR c.body IS NOT NULL
        ORDER BY p.entry_id LIMIT :batch
    ), taken AS (
        DELETE FROM log_pending WHERE entry_id = ANY (ARRAY(SELECT entry_id FROM due))
    )
    SELECT * FROM due ORDER BY entry_id
""")
MISSING: Final = text("""
    SELECT entry_id FROM log_pending p
    WHERE NOT EXISTS (SELECT FROM audit_events WHERE event_id = p.entry_id)
      AND NOT EXISTS (SELECT FROM certificates WHERE certificate_id = p.entry_id)
    ORDER BY entry_id LIMIT :most
""")


def origin_base(issuer: str) -> str:
    """What origins of logs begin with: the API's public URL without its scheme (C2SP tlog-checkpoint)."""
    parts = urlsplit(issuer)
    return f"{parts.netloc}{parts.path}".rstrip("/")


def advance(
    plane: Plane, ledger: ObjectStore, key: Ed25519PrivateKey, origin_base: str, clock: Callable[[], datetime]
) -> int:
    """Log what is pending and publish the tree's checkpoint; how many entries were logged.

    Any number of callers at once, as the worker's role. What a call left when it was stopped, the next makes up for. A key
    other than the last log's begins another log. What is pending and is not stored is left so, and an error is logged.
    Raises BehindError, SplitViewError, LostError, BusyError.
    """
    logged, taken = 0, BATCH
    while taken == BATCH:
        with plane.transaction(WORKER, clock()) as tx:
            taken = _log_pending(tx, ledger, key, origin_base)
        logged += taken
    with plane.transaction(WORKER, clock()) as tx:
        log = _in_turn(tx)
        if log is not None:
            checkpoints.publish(tx, log, ledger, key)
    with plane.transaction(WORKER, clock(), read_only=True) as tx:
        for entry in missing(tx, REPORTED):
            reports.error("log_entry_missing", entry=str(entry))
    return logged


def is_behind(tx: Tx, ledger: ObjectStore) -> bool:
    """Whether the bucket has a checkpoint of a larger tree or a later log than this database: it was restored."""
    log = newest_log(tx)
    number, size = (log.log, log.size) if log else (0, 0)
    return checkpoints.is_any_after(ledger, number, size) or checkpoints.is_any_after(ledger, number + 1, 0)


def begin_anew(tx: Tx, ledger: ObjectStore, key: Ed25519PrivateKey, origin_base: str) -> int:
    """Begin the log that follows all that this database and the bucket know; its number. For a restored database."""
    former = _in_turn(tx)
    number = former.log if former else 0
    while checkpoints.is_any_after(ledger, number + 1, 0):
        number += 1
    return _begin(tx, former, number + 1, key, origin_base).log


def has_begun_anew(tx: Tx) -> bool:
    """Whether the log that grows is not the first: the database was restored, or the key was changed."""
    log = newest_log(tx)
    return log is not None and log.log > 1


def end_of(former: Log | None) -> list[str]:
    """What the first entry of a log says of the end of the one before, so that nobody can cut that short afterwards."""
    return [] if former is None else [f"log_{former.log}", f"size_{former.size}"]


def newest_log(tx: Tx) -> Log | None:
    """The log that grows, None before the first entry."""
    return tx.session.scalar(select(Log).order_by(Log.log.desc()).limit(1))


def verifier_keys(tx: Tx) -> list[str]:
    """The verifier keys of all logs, the newest first."""
    return list(tx.session.scalars(select(Log.vkey).order_by(Log.log.desc())))


def missing(tx: Tx, most: int) -> list[UUID]:
    """Up to `most` pending entries that name neither event nor certificate: what they named is gone, or never was."""
    return list(tx.session.scalars(MISSING, {"most": most}))


def _log_pending(tx: Tx, ledger: ObjectStore, key: Ed25519PrivateKey, base: str) -> int:
    """Append a batch of what is pending."""
    log = _in_turn(tx)
    waits = tx.session.scalar(select(exists(select(PendingEntry))))
    if not waits and (log is None or log.size == checkpoints.published_size(tx, log)):
        return 0
    if is_behind(tx, ledger):
        raise BehindError(BEHIND)
    if log is None:
        log = _begin(tx, None, 1, key, base)
    elif log.vkey != notes.verifier_key(log.origin, key).text:
        checkpoints.end(tx, log, ledger)
        log = _begin(tx, log, log.log + 1, key, base)
    rows = tx.session.execute(TAKE, {"batch": BATCH}).mappings().all()
    first = log.size
    tiles.append(tx, log, [(row["entry_id"], _leaf(row)) for row in rows])
    _place_certificates(tx, log, {row["entry_id"]: first + at for at, row in enumerate(rows) if row["body"] is not None})
    return len(rows)


def _leaf(row: Mapping[Any, Any]) -> bytes:
    return events.leaf(row) if row["body"] is None else bytes(row["body"])


def _in_turn(tx: Tx) -> Log | None:
    """The newest log, when nobody else changes any until this transaction ends."""
    tx.session.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": TURN})
    return newest_log(tx)


def _begin(tx: Tx, former: Log | None, number: int, key: Ed25519PrivateKey, base: str) -> Log:
    """A log whose first entry tells of its beginning."""
    if former is not None:
        _retire(tx, former)
    origin = f"{base}/log/{number}"
    log = Log(log=number, origin=origin, vkey=notes.verifier_key(origin, key).text, size=0, begun_at=tx.now)
    tx.session.add(log)
    event = events.event_of(tx, BEGUN, None) | {"fields": end_of(former)}
    tx.session.execute(insert(AuditEvent).values(event))
    tiles.append(tx, log, [(event["event_id"], events.leaf(event))])
    return log


def _retire(tx: Tx, log: Log) -> None:
    """End a log with its last checkpoint: what came after it can no longer be proved there and is pending again."""
    published = checkpoints.published_size(tx, log)
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
