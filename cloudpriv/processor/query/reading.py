"""Reading points: in order of time, exactly once each, whatever is appended, compacted or deleted meanwhile.

What a reader sees is fixed by a place in the order of arrival: points up to it and no later ones. It goes forward in time,
window by window. Each window is looked up and read whole before any of it is handed out; so when compaction or a deletion
takes an object away, the window is looked up again, and nothing is told twice or left out.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

import pyarrow as pa
from sqlalchemy import Integer, cast, func, select, true

from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.keys import DataKey
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor import accounts
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.query import masking, merging, windows
from cloudpriv.processor.query.merging import FirstPoints
from cloudpriv.processor.query.turns import turns
from cloudpriv.processor.storage import chunks, columns
from cloudpriv.processor.storage.chunks import ALL_TAGS, FIRST, LAST, Selection
from cloudpriv.processor.tables import LogChunk, LogDevice

CHUNKS_AT_ONCE: Final = 1_000  # rows of a look
Position = merging.Position
position_of = merging.position_of


@dataclass(frozen=True)
class Look:
    """Rows of chunks as they were at one moment, all of those that have points before `horizon`, and what is deleted."""

    chunks: Sequence[LogChunk]
    masks: Sequence[Selection]
    horizon: datetime


@dataclass(frozen=True)
class Snapshot:
    """What is selected of an account's points, up to the place that its latest had when it was asked."""

    key: DataKey
    selection: Selection
    look: Callable[[Selection, int], Look]
    devices: Callable[[], Sequence[UUID]]
    first: Look | None

    def tables(self, objects: ObjectStore) -> Iterator[tuple[UUID, pa.Table]]:
        """The points, device by device and of each by time and place, in tables of POINTS of bounded size.

        Raises BusyError, NotFoundError when the account is erased meanwhile, KeyFault when an object was altered.
        """
        for device_id in self.devices():
            narrowed = replace(self, selection=replace(self.selection, device_ids=[device_id]), first=None)
            for points in narrowed.points(objects):
                yield device_id, points

    def points(
        self, objects: ObjectStore, enough: int = windows.BULK, *, after: Position | None = None, most: int | None = None
    ) -> Iterator[pa.Table]:
        """The points of all devices together, by time and place, in tables of POINTS, none of them empty.

        Of those after a position, if one is given. A table holds about `enough` points or few more, never over `most`, and
        MOST_BYTES; it ends within an hour only when there is no room for that. Raises as `tables`.
        """
        since, last, rows, first, turn = self.selection.since or FIRST, after, CHUNKS_AT_ONCE, self.first, turns()
        next(turn)
        while since < LAST:
            look, first = first or self.look(replace(self.selection, since=since), rows), None
            if look.horizon <= since:  # more chunks begin in one hour than were looked up
                rows *= 4
                continue
            try:
                for until, place, points in self._windows(objects, look, since, last, enough=enough, most=most):
                    since, last, turn = until, place, turns()
                    next(turn)
                    if len(points):
                        yield points
                since = look.horizon
            except NotFoundError:
                next(turn)

    def _windows(
        self, objects: ObjectStore, look: Look, since: datetime, after: Position | None, *, enough: int, most: int | None
    ) -> Iterator[tuple[datetime, Position | None, pa.Table]]:
        waiting = sorted(look.chunks, key=lambda chunk: chunk.since)
        while waiting:
            since = max(since, waiting[0].since)
            until = min(windows.end_of(waiting, self.selection, since, enough), look.horizon)
            touched = [chunk for chunk in waiting if chunk.since < until]
            window = replace(self.selection, since=since, until=min(until, self.selection.until or LAST))
            load = partial(self._load, objects, look.masks, window, after)
            found = FirstPoints(most)
            _add_first(found, load, touched, self.selection.tag_ids, enough)
            points = found.table()
            if found.ceiling is not None:
                after, until = found.ceiling, found.ceiling[0]
            yield until, after, points
            since = until
            waiting = [chunk for chunk in waiting if chunk.until >= until]
            if until >= look.horizon:
                return

    def _load(
        self, objects: ObjectStore, masks: Sequence[Selection], window: Selection, after: Position | None, chunk: LogChunk
    ) -> pa.Table:
        found = chunks.matching(chunks.load(objects, self.key, chunk, window.tag_ids), _left_to_test(chunk, window))
        if after is not None and chunk.since <= after[0]:
            found = found.filter(merging.after(found, after))
        return masking.without(found, chunk.device_id, masks)


def snapshot(tx: Tx, account_id: UUID, selection: Selection) -> Snapshot:
    """What is selected of the account's points now. Raises NotFoundError for an account that has none, or is erased.

    It is read while the transaction is open, which must see what others commit; `kept` has it read longer.
    """
    return snapshot_of(tx, accounts.find_account(tx, account_id), selection)


def snapshot_of(tx: Tx, account: OpenedLogAccount, selection: Selection) -> Snapshot:
    """As `snapshot`, of an account that was found in this transaction, with its first look taken."""
    account_id, head = account.row.account_id, account.row.head_seq
    up_to = head if selection.up_to_seq is None else min(head, selection.up_to_seq)
    bounded = replace(selection, up_to_seq=up_to)
    return Snapshot(
        account.key,
        bounded,
        lambda narrowed, rows: look_up(tx, account_id, narrowed, rows),
        lambda: _devices(tx, account_id, selection),
        _look_inside(tx, account_id, bounded, CHUNKS_AT_ONCE),
    )


def kept(found: Snapshot, account_id: UUID, begin: Callable[[], AbstractContextManager[Tx]]) -> Snapshot:
    """The same, to be read after its transaction: each look is one of its own."""

    def look(narrowed: Selection, rows: int) -> Look:
        with begin() as tx:
            return look_up(tx, account_id, narrowed, rows)

    def devices() -> Sequence[UUID]:
        with begin() as tx:
            return _devices(tx, account_id, found.selection)

    return replace(found, look=look, devices=devices)


def page(found: Snapshot, objects: ObjectStore, after: Position | None, limit: int) -> pa.Table:
    """Up to `limit` selected points by time and place, those that come after a position. Reads no chunk that is not needed.

    What is selected begins with the position's time, so that nothing before is read. Raises as `Snapshot.tables`.
    """
    rows, count = [], 0
    for points in found.points(objects, enough=limit, after=after, most=limit):
        rows.append(points)
        count += len(points)
        if count >= limit:
            break
    return columns.together(rows).slice(0, limit)


def expected(tx: Tx, account_id: UUID, found: Snapshot) -> int:
    """How many points are selected, at most, by the index alone."""
    if found.first is not None and found.first.horizon == LAST:
        return sum(windows.points_of(chunk, found.selection.tag_ids) for chunk in found.first.chunks)
    segment = func.jsonb_array_elements(LogChunk.segments).table_valued("value").render_derived()
    tag, points = (cast(segment.c.value.op("->")(place), Integer) for place in (2, 3))
    query = select(func.coalesce(func.sum(points), 0)).select_from(LogChunk).join(segment, true())
    query = query.where(chunks.of_selection(account_id, found.selection))
    if found.selection.tag_ids is not None:
        query = query.where(tag.in_([ALL_TAGS, *found.selection.tag_ids]))
    return int(tx.session.scalars(query).one())


def look_up(tx: Tx, account_id: UUID, selection: Selection, rows: int) -> Look:
    """Chunks that may have selected points, up to `rows` of them, earliest first. Raises NotFoundError once it is erased.

    Masks are read before chunks: what is masked no longer because no object holds it is in none of the rows then.
    """
    accounts.find_account(tx, account_id)
    return _look_inside(tx, account_id, selection, rows)


def _look_inside(tx: Tx, account_id: UUID, selection: Selection, rows: int) -> Look:
    masks = masking.pending_masks(tx, account_id)
    query = select(LogChunk).where(chunks.of_selection(account_id, selection))
    found = list(tx.session.scalars(query.order_by(LogChunk.since, LogChunk.chunk_id).limit(rows)))
    horizon = windows.hour_of(found[-1].since) if len(found) == rows else LAST
    return Look([chunk for chunk in found if chunk.since < horizon], masks, horizon)


def _devices(tx: Tx, account_id: UUID, selection: Selection) -> list[UUID]:
    query = select(LogDevice.device_id).where(LogDevice.account_id == account_id)
    if selection.device_ids is not None:
        query = query.where(LogDevice.device_id.in_(selection.device_ids))
    return list(tx.session.scalars(query.order_by(LogDevice.number)))


def _add_first(found: FirstPoints, load: Callable[[LogChunk], pa.Table], touched: Sequence[LogChunk],
               tag_ids: Sequence[int] | None, enough: int) -> None:  # fmt: skip
    """Add what there is room for of the chunks' points; chunks that begin after those are not read."""
    if len(touched) == 1:
        found.add([load(touched[0])])
        return
    with ThreadPoolExecutor(windows.GETS_AT_ONCE) as pool:
        for some in windows.groups(touched, tag_ids, enough):
            if found.end_before(some[0].since):
                break
            found.add(list(pool.map(load, some)))


def _left_to_test(chunk: LogChunk, window: Selection) -> Selection:
    """Those conditions of a window that the row of a chunk does not say are met by all points that are read of it."""
    mixed = any(tag == ALL_TAGS for _, _, tag, *_ in chunk.segments)
    return Selection(
        tag_ids=window.tag_ids if mixed else None,
        since=window.since if window.since is not None and window.since > chunk.since else None,
        until=window.until if window.until is not None and window.until <= chunk.until else None,
        after_seq=window.after_seq if window.after_seq >= chunk.first_seq else 0,
        up_to_seq=window.up_to_seq if window.up_to_seq is not None and window.up_to_seq < chunk.last_seq else None,
    )
