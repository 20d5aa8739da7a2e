"""The latest point of each tag: found in the chunks that end last, without reading those before them."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final
from uuid import UUID

import pyarrow as pa
from sqlalchemy import select

from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.query import masking
from cloudpriv.processor.query.turns import turns
from cloudpriv.processor.storage import chunks, columns
from cloudpriv.processor.storage.chunks import Selection
from cloudpriv.processor.tables import LogChunk

FIRST_LOOK: Final = 100  # chunks that are looked up first; each look that was not enough is followed by a larger one


def latest_points(
    tx: Tx, account: OpenedLogAccount, objects: ObjectStore, device_id: UUID, tag_ids: Sequence[int]
) -> dict[int, pa.Table]:
    """The point with the latest time of each of a device's tags that has any, as a table of one row. Raises BusyError."""
    found: dict[int, pa.Table] = {}
    wanted, most, turn = list(tag_ids), FIRST_LOOK, turns()
    next(turn)
    while wanted:
        try:
            wanted = _look(tx, account, objects, Selection([device_id], wanted), most=most, found=found)
            most *= 4
        except NotFoundError:
            next(turn)
    return found


def runs_of_tags(points: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """The points of each tag, of a table that is in order of tags."""
    start = 0
    for tag, run in groupby(points["tag"].to_pylist()):
        count = sum(1 for _ in run)
        yield tag, points.slice(start, count)
        start += count


def _look(
    tx: Tx, account: OpenedLogAccount, objects: ObjectStore, of: Selection, *, most: int, found: dict[int, pa.Table]
) -> list[int]:
    """Take the latest points of up to `most` chunks that have a tag of `of`; the tags that a later one may be of still.

    Only what is left is looked for again, so that a tag without points costs one more look and not a walk over all chunks.
    Raises NotFoundError when an object went away meanwhile.
    """
    masks = masking.pending_masks(tx, account.row.account_id)
    query = select(LogChunk).where(chunks.of_selection(account.row.account_id, of))
    fresh = query.order_by(LogChunk.until.desc(), LogChunk.chunk_id).limit(most).execution_options(populate_existing=True)
    rows = tx.session.scalars(fresh).all()
    wanted = set(of.tag_ids or ())
    for chunk in rows:
        wanted = {tag for tag in wanted if tag not in found or _time(found[tag]) <= chunk.until}
        sought = sorted(wanted & set(chunk.tags))
        if sought:
            points = chunks.matching(chunks.load(objects, account.key, chunk, sought), Selection(tag_ids=sought))
            _keep_latest(found, masking.without(points, chunk.device_id, masks))
    if len(rows) < most:
        return []
    return sorted(tag for tag in wanted if tag not in found or _time(found[tag]) <= rows[-1].until)


def _keep_latest(found: dict[int, pa.Table], points: pa.Table) -> None:
    for tag, of in runs_of_tags(columns.in_order(points, "tag", "time", "seq")):
        last = of.slice(len(of) - 1)
        if tag not in found or _place(found[tag]) < _place(last):
            found[tag] = last


def _time(point: pa.Table) -> datetime:
    found: datetime = point["time"][0].as_py()
    return found


def _place(point: pa.Table) -> tuple[datetime, int]:
    return _time(point), point["seq"][0].as_py()
