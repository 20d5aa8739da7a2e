"""Points in the order of their arrival, after a place of each device: what a reader that goes on has not seen yet.

Chunks are read by their first place, until no later one can hold a point that comes before those found: a batch as it came
holds places side by side, a device's day holds some of many.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final
from uuid import UUID

import pyarrow as pa
from sqlalchemy import select

from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import BusyError, NotFoundError
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.query import masking
from cloudpriv.processor.query.turns import turns
from cloudpriv.processor.storage import chunks, columns
from cloudpriv.processor.storage.chunks import Selection
from cloudpriv.processor.tables import LogChunk

CHUNKS: Final = 1_000  # of one look
AT_ONCE: Final = 4


@dataclass(frozen=True)
class Arrivals:
    """Points in the order of arrival: all there are up to the place `up_to`; there are `more` after it."""

    points: pa.Table
    up_to: int
    more: bool


def newer_points(
    tx: Tx,
    account: OpenedLogAccount,
    objects: ObjectStore,
    after: Mapping[UUID, int],
    *,
    head: int,
    most: int,
    rows: int = CHUNKS,
) -> Arrivals:
    """The first `most` points of these devices, each after its own place, up to the place `head`. Raises BusyError.

    So many `rows` of chunks are looked up at once; fewer points come when they are not enough, and there are more then.
    Every point up to `head` is committed when it is called, so none of them is missed.
    """
    for _ in turns():
        look = _look(tx, account, after, head, rows)
        while look.more and look.horizon <= min(after.values()):  # all that were looked up begin before what is sought
            rows *= 4
            look = _look(tx, account, after, head, rows)
        try:
            return _read(account, objects, look, after, most)
        except NotFoundError:
            continue
    raise BusyError


@dataclass(frozen=True)
class _Look:
    """Chunks by their first place: all that may hold sought points up to the place `horizon`, the last if not `more`."""

    chunks: Sequence[LogChunk]
    masks: Sequence[Selection]
    horizon: int
    more: bool


def _look(tx: Tx, account: OpenedLogAccount, after: Mapping[UUID, int], head: int, rows: int) -> _Look:
    """Masks are read before chunks: what is masked no longer because no object holds it is in none of the rows then."""
    masks = masking.pending_masks(tx, account.row.account_id)
    sought = Selection(list(after), after_seq=min(after.values(), default=head), up_to_seq=head)
    query = select(LogChunk).where(chunks.of_selection(account.row.account_id, sought))
    fresh = query.order_by(LogChunk.first_seq, LogChunk.chunk_id).limit(rows).execution_options(populate_existing=True)
    found = tx.session.scalars(fresh).all()
    cut = len(found) == rows
    horizon = min(found[-1].first_seq - 1, head) if cut else head
    newer = [chunk for chunk in found if chunk.first_seq <= horizon and chunk.last_seq > after[chunk.device_id]]
    return _Look(newer, masks, horizon, cut)


def _read(account: OpenedLogAccount, objects: ObjectStore, look: _Look, after: Mapping[UUID, int], most: int) -> Arrivals:
    def load(chunk: LogChunk) -> pa.Table:
        sought = Selection(after_seq=after[chunk.device_id], up_to_seq=look.horizon)
        points = chunks.matching(chunks.load(objects, account.key, chunk), sought)
        return masking.without(points, chunk.device_id, look.masks)

    found, waiting = columns.NO_POINTS, iter(look.chunks)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for some in _some(waiting):
            if len(found) > most and some[0].first_seq > found["seq"][most].as_py():
                break
            found = columns.in_order(columns.together([found, *pool.map(load, some)]), "seq").slice(0, most + 1)
    if len(found) > most:
        return Arrivals(found.slice(0, most), found["seq"][most - 1].as_py(), more=True)
    return Arrivals(found, look.horizon, look.more)


def _some(waiting: Iterator[LogChunk]) -> Iterator[list[LogChunk]]:
    while some := list(islice(waiting, AT_ONCE)):
        yield some
