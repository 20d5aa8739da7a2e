"""Whether the trail is what was signed: of the running database, and of a file that needs none.

The file is NDJSON: for each log a line {"log": origin}, then its leaves in order, each as it was hashed, and after the last
leaf that a checkpoint covers a line {"checkpoint": signed note}. So what was changed lies between two checkpoints.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, any_, cast, select, text

from cloudpriv.audit import certificates, events, heads, merkle, notes, tiles
from cloudpriv.audit.checkpoints import BEHIND, sizes_in_bucket
from cloudpriv.audit.events import AuditEvent
from cloudpriv.audit.heads import Head
from cloudpriv.audit.log import BEGUN, end_of, is_behind, missing
from cloudpriv.audit.merkle import Frontier, ProofError
from cloudpriv.audit.tables import Certificate, Log, LogTile
from cloudpriv.platform.db import Tx
from cloudpriv.platform.objectstore import ObjectStore

TILES_AT_ONCE: Final = 16
UNLOGGED: Final = text("""
    SELECT event_id FROM audit_events
    EXCEPT (
        SELECT entry_id FROM log_pending
        UNION ALL
        SELECT e.entry FROM log_tiles t JOIN logs l USING (log), unnest(t.entries) WITH ORDINALITY AS e (entry, at)
        WHERE t.level = 0 AND t.number * 256 + e.at <= l.size
    )
""")
MOST_MISSING: Final = 1000


def exported(tx: Tx) -> Iterator[bytes]:
    """The lines of the file, in constant memory; up to each log's newest checkpoint. In a read-only transaction."""
    for log in _logs(tx):
        yield json.dumps({"log": log.origin}).encode() + b"\n"
        published = heads.served(tx, log)
        due = next(published, None)
        for index, _, content, _ in _leaves(tx, log):
            if due is None:
                break
            if content is None:
                raise ProofError(f"entry {index} of {log.origin} is not stored any more")
            yield content + b"\n"
            if index + 1 == due[0]:
                yield json.dumps({"checkpoint": due[1]}, ensure_ascii=False).encode() + b"\n"
                due = next(published, None)
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


def sizes(tx: Tx, ledger: ObjectStore) -> list[dict[str, Any]]:
    """Every log with its number of leaves, and the size up to which the ledger's bucket knows it as signed.

    A former log that was signed further than it is stored was cut short by a restore, and should be for no other reason.
    """
    newest = max((log.log for log in _logs(tx)), default=0)
    stored = {log.log: log for log in _logs(tx)}
    return [_size_of(number, stored.get(number), ledger) for number in range(1, newest + 1)]


def faults(tx: Tx, ledger: ObjectStore, vkeys: str | None = None) -> Iterator[str]:
    """What in the database is not as it was logged and signed, one line each; nothing when all is well.

    Every event and certificate is compared with its leaf, every tile with the one above it, every checkpoint of the database
    and of the ledger's bucket with the tree, every log with what the next one says of its end, every certificate with its
    signature and place. `vkeys` are verifier keys, one a line; those that are stored otherwise.
    """
    if is_behind(tx, ledger):
        yield BEHIND
    logs = _logs(tx)
    keys = vkeys or "\n".join(log.vkey for log in logs)
    for former, log in zip([None, *logs], logs, strict=False):
        yield from _faults_of(tx, log, heads.of_both(tx, ledger, log), keys)
        yield from _faults_of_tiles(tx, log)
        yield from _faults_of_beginning(tx, former, log)
    yield from certificates.faults(tx, keys)
    yield from (f"event {found} is neither logged nor waits for it" for found in tx.session.scalars(UNLOGGED))
    yield from (f"event {found} waits to be logged and is not stored" for found in missing(tx, MOST_MISSING))


def _size_of(number: int, log: Log | None, ledger: ObjectStore) -> dict[str, Any]:
    signed = max(sizes_in_bucket(ledger, number, 0), default=0)
    return {"log": log.origin if log else f"log/{number}", "leaves": log.size if log else 0, "signed": signed}


def _faults_of(tx: Tx, log: Log, due_heads: Iterator[Head], vkeys: str) -> Iterator[str]:
    tree, covered, due = Frontier(), 0, next(due_heads, None)
    for index, entry, content, logged in _leaves(tx, log):
        if content is None:
            yield f"{log.origin} index {index}: {entry} is not stored any more"
        elif merkle.leaf_hash(content) != logged:
            yield f"{log.origin} index {index}: {entry} is not what was logged"
        tree.add(logged)
        if due is not None and due.size == tree.size:
            yield from _faults_of_head(log, covered, tree, due, vkeys)
            covered, due = tree.size, next(due_heads, None)
    if tree.size != log.size or due is not None:
        yield f"{log.origin}: {tree.size} leaves are stored where {max(log.size, due.size if due else 0)} were logged"


def _faults_of_head(log: Log, covered: int, tree: Frontier, head: Head, vkeys: str) -> Iterator[str]:
    if head.in_bucket is None:
        yield f"{log.origin}: the ledger's bucket lacks the checkpoint of size {head.size}"
    elif head.served not in (None, head.in_bucket):
        yield f"{log.origin}: the ledger's bucket holds another checkpoint of size {head.size}"
    try:
        _verify_head(log.origin, covered, tree, head.note, vkeys)
    except ProofError as fault:
        yield str(fault)


def _faults_of_beginning(tx: Tx, former: Log | None, log: Log) -> Iterator[str]:
    """A log's first entry says how the one before ended: whoever cuts that short has to change a leaf of this one."""
    first = tx.session.scalar(
        select(LogTile.entries[1]).where(LogTile.log == log.log, LogTile.level == 0, LogTile.number == 0)
    )
    began = tx.session.get(AuditEvent, first) if first and log.size else None
    if began is not None and (began.action, began.fields) != (BEGUN, end_of(former)):
        yield f"{log.origin} does not begin with the end of the log before"


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


def _verify_head(origin: str, covered: int, tree: Frontier, note: str, vkeys: str) -> None:
    checkpoint = notes.open_checkpoint(note, vkeys)
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
    return list(tx.session.scalars(select(Log).order_by(Log.log)))


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
