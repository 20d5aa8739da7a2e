"""The acceptance of a restore: what an operator has to know before log data is served from an older database, and go on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, tuple_

from cloudpriv.platform.actor import OPERATOR, Actor
from cloudpriv.platform.db import Plane
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor import events, tokens
from cloudpriv.processor.orders import instructions
from cloudpriv.processor.storage import restored
from cloudpriv.processor.storage.restored import ACCEPTED, FOLDER, MARK, Mark
from cloudpriv.processor.tables import LogChunk

KEYS_AT_ONCE: Final = 1000

Now = Callable[[], datetime]


@dataclass(frozen=True)
class Found:
    """What is known of a restore: newest events of database and bucket, and what of rows and objects does not match."""

    database_until: datetime | None
    bucket_until: datetime | None
    chunks_without_object: int
    objects_without_chunk: int


def look(plane: Plane, objects: ObjectStore, clock: Now) -> Found:
    """What an operator has to know before a restore is accepted. It lists the whole bucket. Raises BusyError."""
    mark = restored.read(objects, MARK)
    with plane.transaction(OPERATOR, clock(), read_only=True) as tx:
        newest = restored.newest_event(tx)
        rows = tx.session.scalar(select(func.count()).select_from(LogChunk)) or 0
    there = matched = 0
    for keys in _pages(objects):
        with plane.transaction(OPERATOR, clock(), read_only=True) as tx:
            found = select(func.count()).where(tuple_(LogChunk.account_id, LogChunk.chunk_id).in_(_ids(keys)))
            matched += tx.session.scalar(found) or 0
        there += len(keys)
    return Found(newest.at if newest else None, mark.at if mark else None, rows - matched, there - matched)


def accept(plane: Plane, objects: ObjectStore, clock: Now, actor: Actor, *, revoke_tokens: bool) -> tuple[int, int]:
    """Go on with the database as it is; how many instructions were withdrawn, and how many tokens revoked.

    A withdrawal since the backup may be lost, so no instruction lets support read any more. Every customer is told in the
    access log. Then objects stay unswept for UNSWEPT, and the mark is written anew. May be repeated. Raises BusyError.
    """
    with plane.transaction(actor, clock()) as tx:
        withdrawn = instructions.withdraw_all(tx)
        revoked = tokens.revoke_all(tx) if revoke_tokens else 0
        events.record(tx, "restore.accept", account_id=None)
    with plane.transaction(OPERATOR, clock(), read_only=True) as tx:
        newest = restored.newest_event(tx)
    restored.write(objects, ACCEPTED, Mark(clock()))
    if newest is not None:
        restored.write(objects, MARK, newest)
    return withdrawn, revoked


def _pages(objects: ObjectStore) -> Iterator[list[str]]:
    keys = objects.keys(FOLDER)
    while some := list(islice(keys, KEYS_AT_ONCE)):
        yield some


def _ids(keys: list[str]) -> list[tuple[UUID, UUID]]:
    """The ids of account and chunk that objects' keys are made of."""
    return [(UUID(account), UUID(chunk)) for _, account, chunk in (key.split("/") for key in keys)]
