"""Whether the trail is what was signed: of the running database, and of a file that needs none.

The file is NDJSON: for each log a line {"log": origin}, then its leaves in order, each as it was hashed, and after the last
leaf that a checkpoint covers a line {"checkpoint": signed note}. So what was changed lies between two checkpoints.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, any_, cast, select, text

from cloudpriv.audit import events, merkle, notes, tiles
from cloudpriv.audit.events import AuditEvent
from cloudpriv.audit.log import BEHIND, checkpoint_key, is_behind, sizes_in_bucket
from cloudpriv.audit.merkle import Frontier, ProofError
from cloudpriv.audit.tables import Certificate, Checkpoint, Log, LogTile
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.objectstore import ObjectStore

Head = tuple[int, str]  # size and signed note of a checkpoint
TILES_AT_ONCE: Final = 16
CHECKPOINTS_AT_ONCE: Final = 1000
UNLOGGED: Final = text("""
    SELECT event_id FROM audit_events
    EXCEPT (
        SELECT entry_id FROM log_pending
        UNION ALL SELECT unnest(entries) FROM log_tiles JOIN logs USING (log) WHERE level = 0
    )
""")
MISSING: Final = text("""
    SELECT entry_id FROM log_pending p
    WHERE NOT EXISTS (SELECT FROM audit_events WHERE event_id = p.entry_id)
      AND NOT EXISTS (SELECT FROM certificates WHERE certificate_id = p.entry_id)
""")


def exported(tx: Tx) -> Iterator[bytes]:
    """The lines of the file, in constant memory; up to each log's newest checkpoint. In a read-only transaction."""
    for log in _logs(tx):
        yield json.dumps({"log": log.origin}).encode() + b"\n"
        heads = _served(tx, log)
        due = next(heads, None)
        for index, _, content, _ in _leaves(tx, log):
            if due is None:
                break
            if content is None:
                raise ProofError(f"entry {index} of {log.origin} is not stored any more")
            yield content + b"\n"
            if index + 1 == due[0]:
                yield json.dumps({"checkpoint": due[1]}, ensure_ascii=False).encode() + b"\n"
                due = next(heads, None)
        if due is not None:
            raise ProofError(f"{log.origin} lacks leaves that its checkpoint of size {due[0]} covers")


def verify_lines(lines: Iterable[bytes], vkeys: str) -> dict[str, int]:
    """How many leaves of each log, by its origin, a file proves with these verifier keys, one a line.

    Raises ProofError, which names log and leaves. That the file reaches to the end of a log, it cannot tell by itself:
    compare with a checkpoint had from elsewhere.
    """
    proved: dict[str, int] = {}
    origin, covered, tree = "", 0, Frontier()
    for line in lines:
        content = line.removesuffix(b"\n")
        marker = _marker(content)
        if "log" in marker:
            _all_covered(origin, covered, tree)
            origin, covered, tree = marker["log"], 0, Frontier()
        elif "checkpoint" in marker:
            _verify_head(origin, covered, tree, marker["checkpoint"], vkeys)
            covered = proved[origin] = tree.size
        else:
            tree.add(merkle.leaf_hash(content))
    _all_covered(origin, covered, tree)
    if not proved:
        raise ProofError("the file holds no checkpoint")
    return proved


def sizes(tx: Tx) -> list[dict[str, Any]]:
    """Every log with its number of leaves."""
    return [{"log": log.origin, "leaves": log.size} for log in _logs(tx)]


def faults(tx: Tx, ledger: ObjectStore, vkeys: str | None = None) -> Iterator[str]:
    """What in the database is not as it was logged and signed, one line each; nothing when all is well.

    Every event and certificate is compared with its leaf, every tile with the one above it, every checkpoint with the tree,
    the newest also with the ledger's bucket. `vkeys` are verifier keys, one a line; those that are stored otherwise.
    """
    if is_behind(tx, ledger):
        yield BEHIND
    for log in _logs(tx):
        yield from _faults_of(tx, log, _heads(tx, log, ledger), vkeys or log.vkey)
        yield from _faults_of_tiles(tx, log)
        yield from _faults_of_bucket(tx, log, ledger)
    yield from (f"event {found} is neither logged nor waits for it" for found in tx.session.scalars(UNLOGGED))
    yield from (f"event {found} waits to be logged and is not stored" for found in tx.session.scalars(MISSING))


def _faults_of(tx: Tx, log: Log, heads: Iterator[Head], vkeys: str) -> Iterator[str]:
    tree, covered, due = Frontier(), 0, next(heads, None)
    for index, entry, content, logged in _leaves(tx, log):
        if content is None:
            yield f"{log.origin} index {index}: {entry} is not stored any more"
        elif merkle.leaf_hash(content) != logged:
            yield f"{log.origin} index {index}: {entry} is not what was logged"
        tree.add(logged)
        if due is not None and due[0] == tree.size:
            try:
                _verify_head(log.origin, covered, tree, due[1], vkeys)
            except ProofError as fault:
                yield str(fault)
            covered, due = tree.size, next(heads, None)
    if tree.size != log.size or due is not None:
        yield f"{log.origin}: {tree.size} leaves are stored where {max(log.size, due[0] if due else 0)} were logged"


def _faults_of_tiles(tx: Tx, log: Log) -> Iterator[str]:
    """Every full tile below the tree's size against its hash in the level above."""
    read = tiles.reader(tx, log.log)
    query = select(LogTile.level, LogTile.number, LogTile.hashes).where(LogTile.log == log.log)
    for level, number, hashes in tx.session.execute(query.execution_options(yield_per=TILES_AT_ONCE)):
        full = (number + 1) * merkle.WIDTH ** (level + 1) <= log.size
        try:
            if full and read(level + 1, number, 1)[0] != merkle.perfect(tiles.cut(hashes)):
                yield f"{log.origin}: tile {number} of level {level} is not that of the level above"
        except tiles.LogError as fault:
            yield str(fault)


def _faults_of_bucket(tx: Tx, log: Log, ledger: ObjectStore) -> Iterator[str]:
    query = select(Checkpoint).where(Checkpoint.log == log.log).order_by(Checkpoint.size.desc()).limit(1)
    newest = tx.session.scalar(query)
    if newest is None:
        return
    try:
        if ledger.get(checkpoint_key(log.log, newest.size)).decode() != newest.note:
            yield f"{log.origin}: the ledger's bucket holds another checkpoint of size {newest.size}"
    except NotFoundError:
        yield f"{log.origin}: the ledger's bucket lacks the checkpoint of size {newest.size}"


def _verify_head(origin: str, covered: int, tree: Frontier, note: str, vkeys: str) -> None:
    checkpoint = notes.open_checkpoint(note, vkeys)[0]
    if checkpoint.origin != origin:
        raise ProofError(f"a checkpoint of {checkpoint.origin} stands among leaves of {origin}")
    if (checkpoint.size, checkpoint.root) != (tree.size, tree.root()):
        signed = f"what was signed for size {checkpoint.size}"
        raise ProofError(f"{origin}: leaves {covered} to {tree.size - 1} are not {signed}")


def _all_covered(origin: str, covered: int, tree: Frontier) -> None:
    if covered != tree.size:
        raise ProofError(f"{origin or 'the file'}: leaves {covered} to {tree.size - 1} stand under no checkpoint")


def _marker(content: bytes) -> dict[str, str]:
    """The line that says whose leaves follow, or that covers those before it; empty for a leaf, which has many members."""
    if not content.startswith((b'{"log"', b'{"checkpoint"')):
        return {}
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if len(found) == 1 and all(isinstance(text, str) for text in found.values()) else {}


def _logs(tx: Tx) -> list[Log]:
    return list(tx.session.scalars(select(Log).where(Log.size > 0).order_by(Log.log)))


def _served(tx: Tx, log: Log) -> Iterator[Head]:
    """All published checkpoints of a log by size, a page at a time."""
    query = select(Checkpoint.size, Checkpoint.note).where(Checkpoint.log == log.log).order_by(Checkpoint.size)
    page = tx.session.execute(query.limit(CHECKPOINTS_AT_ONCE)).all()
    while page:
        yield from ((size, note) for size, note in page)
        page = tx.session.execute(query.where(Checkpoint.size > page[-1].size).limit(CHECKPOINTS_AT_ONCE)).all()


def _heads(tx: Tx, log: Log, ledger: ObjectStore) -> Iterator[Head]:
    """The same, and those that so far only the bucket knows."""
    last = 0
    for last, note in _served(tx, log):
        yield last, note
    for size in takewhile(log.size.__ge__, sizes_in_bucket(ledger, log.log, last)):
        yield size, ledger.get(checkpoint_key(log.log, size)).decode()


def _leaves(tx: Tx, log: Log) -> Iterator[tuple[int, UUID, bytes | None, bytes]]:
    """Index, id, content as stored now, and hash as logged of every leaf of a log, in order."""
    index = 0
    for first in range(0, -(-log.size // merkle.WIDTH), TILES_AT_ONCE):
        logged = list(islice(_logged(tx, log, first), log.size - index))
        stored = _stored(tx, [entry for entry, _ in logged])
        for entry, leaf_hash in logged:
            yield index, entry, stored.get(entry), leaf_hash
            index += 1


def _logged(tx: Tx, log: Log, first: int) -> Iterator[tuple[UUID, bytes]]:
    """Ids and hashes of the leaves in tiles of level 0 from number `first` on."""
    query = select(LogTile.entries, LogTile.hashes).where(
        LogTile.log == log.log, LogTile.level == 0, LogTile.number >= first, LogTile.number < first + TILES_AT_ONCE
    )
    for entries, hashes in tx.session.execute(query.order_by(LogTile.number)):
        yield from zip(entries, tiles.cut(hashes), strict=False)


def _stored(tx: Tx, ids: list[UUID]) -> dict[UUID, bytes]:
    """The leaves' contents as the database has them now."""
    among = any_(cast(ids, ARRAY(Uuid)))
    rows = tx.session.execute(select(AuditEvent.__table__).where(AuditEvent.event_id == among)).mappings()
    found = {row["event_id"]: events.leaf(row) for row in rows}
    query = select(Certificate.certificate_id, Certificate.body).where(Certificate.certificate_id == among)
    found |= {certificate_id: bytes(body) for certificate_id, body in tx.session.execute(query)}
    return found
