"""Whether the database came back from a backup: then it knows less than the ledger's bucket, which no restore reaches.

What serves or erases looks before it starts, and then again and again: a database can be restored beneath what runs. A
bucket that lacks what the database knows is another one or was emptied: it tells nothing of a restore, so nothing goes on.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from cloudpriv.audit import checkpoints
from cloudpriv.audit import log as audit_log
from cloudpriv.audit.tables import Checkpoint
from cloudpriv.platform import watch
from cloudpriv.platform.actor import OPERATOR
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.errors import RestoredError
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.platform.watch import OFTEN
from cloudpriv.retention import ledger, replay
from cloudpriv.retention.ledger import LedgerError

LACKING: Final = "the ledger's bucket lacks what the database knows: wrong bucket? run `cloudpriv purge replay`"

Now = Callable[[], datetime]


def require_replayed(plane: Plane, objects: ObjectStore, clock: Now) -> None:
    """Raises RestoredError unless the database knows every erasure that the ledger's bucket tells of, and the bucket its.

    Only a look that finds it so twice counts: another process may publish between the two halves of the first. It is a few
    requests, however long the ledger. Raises BusyError, NotFoundError or LedgerError when the bucket cannot be read.
    """
    reason = _look(plane, objects, clock) and _look(plane, objects, clock)
    if reason:
        raise RestoredError(reason)


class Watch:
    """Looks again at most once in a while, in whichever thread asks first; what was found counts until the next look."""

    def __init__(self, every: timedelta = OFTEN) -> None:
        self._watch = watch.Watch(every, (LedgerError,))

    def require_replayed(self, plane: Plane, objects: ObjectStore, clock: Now) -> None:
        """Raises RestoredError as the function does. While bucket or database is away, what was found before counts."""
        self._watch.require(lambda: require_replayed(plane, objects, clock), clock())


def _look(plane: Plane, objects: ObjectStore, clock: Now) -> str | None:
    with plane.transaction(OPERATOR, clock()) as tx:
        behind = _why_behind(tx, objects)
        if behind:
            return f"the database {behind}: run `cloudpriv purge replay`"
        lacking = ledger.lacks_newest(tx, objects) or _lacks_newest_checkpoint(tx, objects)
        return LACKING if lacking else None


def _why_behind(tx: Tx, objects: ObjectStore) -> str | None:
    if ledger.ahead_of(tx, objects):
        return "is older than the erasure ledger"
    if replay.is_unfinished(tx):
        return "holds accounts that are still to be erased again after a restore"
    return "is older than the audit log" if audit_log.is_behind(tx, objects) else None


def _lacks_newest_checkpoint(tx: Tx, objects: ObjectStore) -> bool:
    query = select(Checkpoint.log, Checkpoint.size).order_by(Checkpoint.log.desc(), Checkpoint.size.desc()).limit(1)
    newest = tx.session.execute(query).one_or_none()
    return newest is not None and not objects.has(checkpoints.checkpoint_key(*newest))
