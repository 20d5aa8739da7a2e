"""What the database knows and the ledger's bucket lacks, being older than the bucket or lost with it: found and put back.

Both are read in order, side by side and a page at a time, so it costs no memory however much there is. What is newest is put
back last: nothing starts before it is there, so nothing starts on a bucket that was written again in part.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, exists, literal, select, true, tuple_

from cloudpriv.audit import certificates, checkpoints
from cloudpriv.audit.canonical import canonical
from cloudpriv.audit.tables import Certificate, Checkpoint
from cloudpriv.platform.actor import OPERATOR
from cloudpriv.platform.db import Plane
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.retention import ledger
from cloudpriv.retention.ledger import Entry
from cloudpriv.retention.tables import LedgerEntry

PAGE: Final = ledger.PAGE

Known = TypeVar("Known")
Now = Callable[[], datetime]


def count(plane: Plane, objects: ObjectStore, clock: Now) -> int:
    """How many certificates, entries and checkpoints the bucket lacks. Reads only. Raises BusyError."""
    return sum(1 for find in (_certificates, _entries, _checkpoints) for _ in find(plane, objects, clock))


def put_back(plane: Plane, objects: ObjectStore, clock: Now) -> None:
    """Write what the bucket lacks; what lies there stays. May be stopped and repeated. Raises BusyError, LedgerError."""
    for certificate_id in _certificates(plane, objects, clock):
        with plane.transaction(OPERATOR, clock(), read_only=True) as tx:
            document = certificates.document(tx, certificate_id)
        objects.put_new(certificates.object_key(certificate_id), canonical(document))
    for entry in _entries(plane, objects, clock):
        ledger.store(objects, entry)
    for row in _checkpoints(plane, objects, clock):
        objects.put_new(checkpoints.checkpoint_key(row.log, row.size), row.note.encode())
    with plane.transaction(OPERATOR, clock(), read_only=True) as tx:
        newest = select(Checkpoint.log, Checkpoint.size).order_by(Checkpoint.log.desc(), Checkpoint.size.desc())
        latest = tx.session.execute(newest.limit(1)).mappings().one_or_none()
    if latest is not None:
        objects.put_new(checkpoints.LATEST, json.dumps(dict(latest)).encode())


def _certificates(plane: Plane, objects: ObjectStore, clock: Now) -> Iterator[UUID]:
    """Those that a published checkpoint covers, and so have a document."""
    covered = exists().where(Checkpoint.log == Certificate.log, Checkpoint.size > Certificate.leaf_index)
    known = (row.certificate_id for row in _rows(plane, clock, Certificate, "certificate_id", where=covered))
    first = certificates.object_key(UUID(int=0))
    return _lacking(known, objects.keys_after(first.partition("/")[0] + "/", first), certificates.object_key)


def _entries(plane: Plane, objects: ObjectStore, clock: Now) -> Iterator[Entry]:
    known = (_entry(row) for row in _rows(plane, clock, LedgerEntry, "erased_at", "account_hash"))
    there = (key for page in ledger.pages(objects) for key in page)
    return _lacking(known, there, lambda entry: entry.key)


def _checkpoints(plane: Plane, objects: ObjectStore, clock: Now) -> Iterator[Checkpoint]:
    with plane.transaction(OPERATOR, clock(), read_only=True) as tx:
        logs = list(tx.session.scalars(select(Checkpoint.log).distinct().order_by(Checkpoint.log)))
    there = ((number, size) for number in logs for size in checkpoints.sizes_in_bucket(objects, number, 0))
    return _lacking(_rows(plane, clock, Checkpoint, "log", "size"), there, lambda row: (row.log, row.size))


def _lacking(known: Iterable[Known], there: Iterator[Any], place: Callable[[Known], Any]) -> Iterator[Known]:
    """What is known and has its place not among those `there`; both in the order of places."""
    found = next(there, None)
    for each in known:
        while found is not None and found < place(each):
            found = next(there, None)
        if found != place(each):
            yield each


def _rows(plane: Plane, clock: Now, table: Any, *order: str, where: ColumnElement[bool] | None = None) -> Iterator[Any]:
    """The rows of a table in this order, read a page at a time: no transaction is open while the caller works on them."""
    columns = [getattr(table, name) for name in order]
    query, after = select(table).where(true() if where is None else where).order_by(*columns).limit(PAGE), None
    while True:
        page_after = query if after is None else query.where(tuple_(*columns) > tuple_(*map(literal, after)))
        with plane.transaction(OPERATOR, clock(), read_only=True) as tx:
            page = list(tx.session.scalars(page_after))
            tx.session.expunge_all()
        yield from page
        if len(page) < PAGE:
            return
        after = [getattr(page[-1], name) for name in order]


def _entry(row: LedgerEntry) -> Entry:
    return Entry(row.account_hash, row.service, row.trigger, row.rule, row.policy_version, row.counts, row.erased_at)
