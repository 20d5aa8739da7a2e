"""The checkpoints of a log, as the database serves them and as they lie in the ledger's bucket, side by side."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from heapq import merge
from itertools import groupby, islice, takewhile
from operator import itemgetter
from typing import Final

from sqlalchemy import select

from cloudpriv.audit.checkpoints import checkpoint_key, sizes_in_bucket
from cloudpriv.audit.tables import Checkpoint, Log
from cloudpriv.platform.db import Tx
from cloudpriv.platform.objectstore import ObjectStore

AT_ONCE: Final = 1000  # as many keys as an S3 listing answers at a time
READERS: Final = 8  # objects read at once: the store's answers are awaited, not computed


@dataclass(frozen=True)
class Head:
    """A checkpoint's signed note in the database and in the bucket; None where it is not."""

    size: int
    served: str | None
    in_bucket: str | None

    @property
    def note(self) -> str:
        """The note that is served, or would be."""
        return self.served or self.in_bucket or ""


def served(tx: Tx, log: Log) -> Iterator[tuple[int, str]]:
    """Size and note of all published checkpoints of a log by size, a page at a time."""
    query = select(Checkpoint.size, Checkpoint.note).where(Checkpoint.log == log.log).order_by(Checkpoint.size)
    page = tx.session.execute(query.limit(AT_ONCE)).all()
    while page:
        yield from ((size, note) for size, note in page)
        page = tx.session.execute(query.where(Checkpoint.size > page[-1].size).limit(AT_ONCE)).all()


def of_both(tx: Tx, ledger: ObjectStore, log: Log) -> Iterator[Head]:
    """All checkpoints of the database by size, and those of the bucket up to the size of the log as it is stored.

    What the bucket knows beyond is another matter: a former log may have been cut short by a restore, the newest not.
    """
    of_database = ((size, "served", note) for size, note in served(tx, log))
    of_bucket = ((size, "in_bucket", note) for size, note in _in_bucket(ledger, log))
    for size, found in groupby(merge(of_database, of_bucket, key=itemgetter(0)), key=itemgetter(0)):
        notes = {where: note for _, where, note in found}
        yield Head(size, notes.get("served"), notes.get("in_bucket"))


def _in_bucket(ledger: ObjectStore, log: Log) -> Iterator[tuple[int, str]]:
    def read(size: int) -> str:
        return ledger.get(checkpoint_key(log.log, size)).decode(errors="replace")

    sizes = takewhile(log.size.__ge__, sizes_in_bucket(ledger, log.log, 0))
    with ThreadPoolExecutor(READERS) as readers:
        while page := list(islice(sizes, AT_ONCE)):
            yield from zip(page, readers.map(read, page), strict=True)
