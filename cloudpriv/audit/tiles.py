"""The log's tree as rows: tiles of 256 hashes (C2SP tlog-tiles), and of level 0 also what the leaves stand for."""

from collections.abc import Sequence
from functools import cache
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert

from cloudpriv.audit import merkle
from cloudpriv.audit.tables import Log, LogTile
from cloudpriv.platform.db import Tx

Leaf = tuple[UUID, bytes]


class LogError(Exception):
    """The log cannot go on as it is stored; nothing was signed. The text names no person."""


def reader(tx: Tx, log: int) -> merkle.Read:
    """How the hashes of a log are read, each tile once. What it returns raises LogError for those that are not there."""

    @cache
    def tile(level: int, number: int) -> list[bytes]:
        query = select(LogTile.hashes).where(LogTile.log == log, LogTile.level == level, LogTile.number == number)
        return cut(tx.session.scalar(query) or b"")

    def read(level: int, first: int, count: int) -> list[bytes]:
        number, at = divmod(first, merkle.WIDTH)
        found = tile(level, number)[at : at + count]
        if len(found) != count:
            raise LogError(f"log {log} lacks hashes {first} to {first + count - 1} of level {level}")
        return found

    return read


def cut(hashes: bytes) -> list[bytes]:
    """The hashes of a tile."""
    return [hashes[at : at + merkle.HASH_BYTES] for at in range(0, len(hashes), merkle.HASH_BYTES)]


def entries(tx: Tx, log: int, number: int) -> list[UUID]:
    """What the leaves of a tile of level 0 stand for."""
    query = select(LogTile.entries).where(LogTile.log == log, LogTile.level == 0, LogTile.number == number)
    return tx.session.scalars(query).one()


def append(tx: Tx, log: Log, leaves: Sequence[Leaf]) -> None:
    """Append leaves (id and content) to a log, whose row the transaction has locked."""
    tx.session.flush()
    changed = merkle.grow(log.size, [merkle.leaf_hash(content) for _, content in leaves], reader(tx, log.log))
    first, begun = divmod(log.size, merkle.WIDTH)
    ids = [*(entries(tx, log.log, first)[:begun] if begun else []), *(entry for entry, _ in leaves)]
    for (level, number), hashes in changed.items():
        at = (number - first) * merkle.WIDTH
        held = ids[at : at + merkle.WIDTH] if level == 0 else []
        _store(tx, {"log": log.log, "level": level, "number": number, "hashes": b"".join(hashes), "entries": held})
    log.size += len(leaves)


def _store(tx: Tx, tile: dict[str, object]) -> None:
    statement = upsert(LogTile).values(tile)
    changed = {"hashes": statement.excluded.hashes, "entries": statement.excluded.entries}
    tx.session.execute(statement.on_conflict_do_update(index_elements=list(LogTile.__table__.primary_key), set_=changed))
