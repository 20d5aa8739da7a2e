"""How many points there are: from the index, and from objects only where it does not tell."""

from collections.abc import Sequence
from itertools import islice
from typing import Final

from sqlalchemy import select

from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.keys import DataKey
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.query import masking, windows
from cloudpriv.processor.storage import chunks
from cloudpriv.processor.storage.chunks import ALL_TAGS, Selection
from cloudpriv.processor.tables import LogChunk

MOST_READ: Final = 100  # objects that are read to answer one request


def count(tx: Tx, objects: ObjectStore, account: OpenedLogAccount, selections: Sequence[Selection]) -> int:
    """How many points of an account these selections, which do not overlap, have in all.

    Objects that hold other points too, or some that are being deleted, are read, up to MOST_READ of them; of what is beyond
    that, all points count that may be selected. Raises BusyError, KeyFault.
    """
    masks = masking.pending_masks(tx, account.row.account_id)
    total, unsure = 0, []
    for selection in selections:
        query = select(LogChunk).where(chunks.of_selection(account.row.account_id, selection))
        for chunk in tx.session.scalars(query):
            total += windows.points_of(chunk, selection.tag_ids)
            if not _is_whole(chunk, selection, masks):
                unsure.append((chunk, selection))
    others = (_others(objects, account.key, chunk, selection, masks) for chunk, selection in unsure)
    return total - sum(islice(others, MOST_READ))


def _is_whole(chunk: LogChunk, selection: Selection, masks: Sequence[Selection]) -> bool:
    """Whether the index tells exactly how many points of a chunk are selected."""
    inside = selection.since is None or chunk.since >= selection.since
    inside &= selection.until is None or chunk.until < selection.until
    apart = selection.tag_ids is None or all(tag != ALL_TAGS for _, _, tag, *_ in chunk.segments)
    masked = any(mask.device_ids is None or chunk.device_id in mask.device_ids for mask in masks)
    return inside and apart and not masked


def _others(objects: ObjectStore, key: DataKey, chunk: LogChunk, selection: Selection, masks: Sequence[Selection]) -> int:
    """How many of those that may be selected are not."""
    try:
        found = chunks.load(objects, key, chunk, selection.tag_ids)
    except NotFoundError:  # compaction took it away meanwhile
        return 0
    chosen = masking.without(chunks.matching(found, selection), chunk.device_id, masks)
    return windows.points_of(chunk, selection.tag_ids) - len(chosen)
