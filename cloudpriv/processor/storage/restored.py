"""Whether the plane's database came back from a backup: then it lacks the event that a mark in the plane's bucket names.

What serves, sweeps or deletes looks before it starts, and then again and again: rows of a restored database are older than
the objects, so that a sweep would take what came since for orphans. An operator accepts a restore (see `acceptance`), by
which the mark is written anew; for a while after that nothing is swept: only objects can still tell what the database lost.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import select

from cloudpriv.platform.actor import OPERATOR
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.errors import NotFoundError, RestoredError
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor.storage import chunks
from cloudpriv.processor.tables import LogChunk, LogEvent

MARK: Final = "marks/newest"
ACCEPTED: Final = "marks/accepted"
UNSWEPT: Final = timedelta(days=2)  # after a restore was accepted: as long as what compaction replaced stays
FOLDER: Final = f"{chunks.PREFIX}/"
ADVICE: Final = "run `cloudpriv logdata restored`"
OLDER: Final = f"log data's database is older than its bucket: {ADVICE}"
LACKING: Final = f"log data's bucket lacks what its database knows: wrong bucket? {ADVICE}"

Now = Callable[[], datetime]


class Mark(msgspec.Struct):
    """The newest event that the database had and its time; without an event, when a restore was accepted."""

    at: datetime
    event_id: UUID | None = None


def require_current(plane: Plane, objects: ObjectStore, clock: Now) -> None:
    """Raises RestoredError unless the database has the event that the bucket's mark names.

    Without a mark, as in a new installation, the bucket has to hold some object when the database knows of chunks. It is one
    or two requests. Raises BusyError, and NotFoundError for an absent bucket.
    """
    mark = read(objects, MARK)
    with plane.transaction(OPERATOR, clock(), read_only=True) as tx:
        _require(tx, objects, mark)


def mark_newest(plane: Plane, objects: ObjectStore, clock: Now) -> None:
    """Write which event of the database is the newest into the bucket. Raises as `require_current`, and writes nothing."""
    mark = read(objects, MARK)
    with plane.transaction(OPERATOR, clock(), read_only=True) as tx:
        _require(tx, objects, mark)
        newest = newest_event(tx)
    if newest is not None and (mark is None or newest.event_id != mark.event_id):
        write(objects, MARK, newest)


def write(objects: ObjectStore, key: str, mark: Mark) -> None:
    """Write at MARK or ACCEPTED. Raises BusyError."""
    objects.put(key, msgspec.json.encode(mark))


def unswept_until(objects: ObjectStore) -> datetime | None:
    """Until when no object without a row is to go, since a restore was accepted; None when none was."""
    accepted = read(objects, ACCEPTED)
    return None if accepted is None else accepted.at + UNSWEPT


def _require(tx: Tx, objects: ObjectStore, mark: Mark | None) -> None:
    if mark is not None:
        if tx.session.get(LogEvent, mark.event_id) is None:
            raise RestoredError(OLDER)
        return
    knows_chunks = tx.session.scalar(select(LogChunk.chunk_id).limit(1)) is not None
    if knows_chunks and next(objects.folders(FOLDER), None) is None:
        raise RestoredError(LACKING)


def newest_event(tx: Tx) -> Mark | None:
    """The newest event of the database."""
    query = select(LogEvent.event_id, LogEvent.at).order_by(LogEvent.event_id.desc())
    row = tx.session.execute(query.limit(1)).one_or_none()
    return None if row is None else Mark(row.at, row.event_id)


def read(objects: ObjectStore, key: str) -> Mark | None:
    """What was written at MARK or ACCEPTED. Raises BusyError, and NotFoundError for an absent bucket."""
    try:
        return msgspec.json.decode(objects.get(key), type=Mark)
    except NotFoundError:
        objects.ready()  # it is the mark that is absent, not the bucket
        return None
