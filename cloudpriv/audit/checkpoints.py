"""Checkpoints of the log: what was signed of it, in the ledger's bucket first and then served.

The bucket decides: a tree that does not begin with each one that was signed before, gets no other signed.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Select, insert, select

from cloudpriv.audit import certificates, merkle, notes, tiles
from cloudpriv.audit.tables import Checkpoint, Log
from cloudpriv.audit.tiles import LogError
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.objectstore import ObjectStore

LATEST: Final = "log/latest"
BEHIND: Final = "the ledger's bucket knows more of the log than this database"


class SplitViewError(LogError):
    """A checkpoint was signed of a tree that is not how ours begins."""


class BehindError(LogError):
    """The bucket knows more of the log than this database, which was restored: `begin_anew` comes first."""


class LostError(LogError):
    """The bucket lacks a checkpoint that was published: it was emptied, or is another."""


def published_size(tx: Tx, log: Log) -> int:
    """The size of a log's newest published checkpoint, 0 before the first."""
    found = tx.session.scalar(_newest_of(log))
    return found.size if found else 0


def newest_checkpoint(tx: Tx) -> str | None:
    """The newest published checkpoint, None before the first."""
    query = select(Checkpoint.note).order_by(Checkpoint.log.desc(), Checkpoint.size.desc()).limit(1)
    return tx.session.scalar(query)


def checkpoint_key(log: int, size: int) -> str:
    """Where a checkpoint lies in the ledger's bucket; in the order of sizes."""
    return f"log/{log}/checkpoints/{size:020d}"


def sizes_in_bucket(ledger: ObjectStore, log: int, after: int) -> Iterator[int]:
    """Sizes over `after` of the checkpoints of a log that lie in the ledger's bucket, in order."""
    last = checkpoint_key(log, after)
    return (int(key.rpartition("/")[2]) for key in ledger.keys_after(last.rpartition("/")[0] + "/", last))


def is_any_after(ledger: ObjectStore, log: int, size: int) -> bool:
    """Whether the bucket has a checkpoint of that log of a larger tree."""
    return next(sizes_in_bucket(ledger, log, size), None) is not None


def publish(tx: Tx, log: Log, ledger: ObjectStore, key: Ed25519PrivateKey) -> None:
    """Sign the tree as committed, put it into the bucket, then have it served; nothing for a log of another key.

    Nobody else may change the log meanwhile. Raises SplitViewError, LostError, BehindError.
    """
    if log.vkey != notes.verifier_key(log.origin, key).text:
        return
    published = tx.session.scalar(_newest_of(log))
    if published is not None and log.size == published.size:
        return
    read = tiles.reader(tx, log.log)
    known = _agreed(ledger, log, published, read)
    for size in known:
        _require_extended(log, size, read)
    if log.size not in known:
        known[log.size] = _put(ledger, log, notes.sign(_head(log, log.size, read).text, log.origin, key))
    ledger.put(LATEST, json.dumps({"log": log.log, "size": log.size}).encode())
    _serve(tx, ledger, log, published, known)


def end(tx: Tx, log: Log, ledger: ObjectStore) -> None:
    """Have a log end with all that was signed of it, whatever the database says: nobody gets what was signed logged anew."""
    published = tx.session.scalar(_newest_of(log))
    _serve(tx, ledger, log, published, _agreed(ledger, log, published, tiles.reader(tx, log.log)))


def _serve(tx: Tx, ledger: ObjectStore, log: Log, published: Checkpoint | None, known: Mapping[int, str]) -> None:
    """Enter what is not served yet of the checkpoints in the bucket, and keep the certificates that they cover."""
    before = published.size if published else 0
    new = {size: note for size, note in known.items() if size > before}
    rows = [{"log": log.log, "size": size, "note": note, "signed_at": tx.now} for size, note in new.items()]
    if rows:
        tx.session.execute(insert(Checkpoint), rows)
        certificates.keep(tx, ledger, log.log, before)


def _put(ledger: ObjectStore, log: Log, note: str) -> str:
    if ledger.put_new(checkpoint_key(log.log, log.size), note.encode()) != note.encode():
        raise _split(log, log.size)
    return note


def _agreed(ledger: ObjectStore, log: Log, published: Checkpoint | None, read: merkle.Read) -> dict[int, str]:
    """The newest published checkpoint and those that only the bucket knows, by size.

    Each was signed with the log's key, of the tree as it is stored now. Raises SplitViewError, LostError, BehindError.
    """
    found = {}
    for size in _known_sizes(ledger, log, published):
        if size > log.size:
            raise BehindError(BEHIND)
        found[size] = _kept(ledger, log, size)
        if not _is_of(found[size], _head(log, size, read), log.vkey):
            raise _split(log, size)
    if published is not None and published.note != found[published.size]:
        raise _split(log, published.size)
    return found


def _head(log: Log, size: int, read: merkle.Read) -> notes.Checkpoint:
    return notes.Checkpoint(log.origin, size, merkle.root(size, read))


def _is_of(note: str, head: notes.Checkpoint, vkey: str) -> bool:
    try:
        return notes.open_checkpoint(note, vkey) == head
    except merkle.ProofError:
        return False


def _known_sizes(ledger: ObjectStore, log: Log, published: Checkpoint | None) -> Iterator[int]:
    if published is not None:
        yield published.size
    yield from sizes_in_bucket(ledger, log.log, published.size if published else 0)


def _kept(ledger: ObjectStore, log: Log, size: int) -> str:
    try:
        return ledger.get(checkpoint_key(log.log, size)).decode(errors="replace")
    except NotFoundError:
        raise LostError(f"the bucket lacks the checkpoint of size {size} of log {log.log}") from None


def _require_extended(log: Log, size: int, read: merkle.Read) -> None:
    """Raises SplitViewError unless the tree begins with that of `size`.

    That the former root can still be computed is not enough: it is of lower tiles where the new one is of those above.
    """
    try:
        path = merkle.consistency_proof(size, log.size, read)
        merkle.verify_consistency(size, log.size, path, merkle.root(size, read), merkle.root(log.size, read))
    except merkle.ProofError:
        raise _split(log, size) from None


def _split(log: Log, size: int) -> SplitViewError:
    return SplitViewError(f"another tree of size {size} of log {log.log} has been signed")


def _newest_of(log: Log) -> Select[Checkpoint]:
    return select(Checkpoint).where(Checkpoint.log == log.log).order_by(Checkpoint.size.desc()).limit(1)
