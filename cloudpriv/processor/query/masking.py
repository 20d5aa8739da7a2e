"""Masks: what is deleted but may still lie in objects, and is therefore told to nobody."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import select

from cloudpriv.platform.db import Tx
from cloudpriv.processor.order_tables import LogDeletion
from cloudpriv.processor.storage import chunks
from cloudpriv.processor.storage.chunks import FIRST, LAST, Selection


def pending_masks(tx: Tx, account_id: UUID) -> list[Selection]:
    """What is deleted of an account but may still lie in objects."""
    query = select(LogDeletion).where(LogDeletion.account_id == account_id, LogDeletion.status == "pending")
    return folded(mask_of(row) for row in tx.session.scalars(query))


def folded(masks: Iterable[Selection]) -> list[Selection]:
    """The same with one mask for all tags of a device that have the same span and place."""
    tags: dict[Selection, set[int] | None] = {}
    for mask in masks:
        same = replace(mask, device_ids=None if mask.device_ids is None else tuple(mask.device_ids), tag_ids=None)
        known = tags.get(same, set())
        tags[same] = None if known is None or mask.tag_ids is None else known | set(mask.tag_ids)
    return [replace(same, tag_ids=None if found is None else sorted(found)) for same, found in tags.items()]


def mask_of(row: LogDeletion) -> Selection:
    """The points that a deletion takes."""
    return Selection(
        None if row.device_id is None else [row.device_id],
        row.tags if row.tag_id is None else [row.tag_id],
        row.since,
        row.before,
        up_to_seq=row.up_to_seq,
    )


def without(points: pa.Table, device_id: UUID, masks: Sequence[Selection]) -> pa.Table:
    """Those of a device's points that no mask takes, in the same order."""
    ours = [mask for mask in masks if mask.device_ids is None or device_id in mask.device_ids]
    if not ours or not len(points):
        return points
    ends = pc.min_max(points["time"]).as_py()
    for mask in ours:
        if (mask.since or FIRST) <= ends["max"] and ends["min"] < (mask.until or LAST):
            points = chunks.others(points, mask)
    return points
