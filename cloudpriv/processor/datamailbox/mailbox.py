"""What the DataMailbox API tells of an account's devices: how much is kept, latest points, and points by time."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import pyarrow as pa
from sqlalchemy import ColumnElement, and_, case, false, func, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, INTEGER

from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import BusyError, ForbiddenError, NotFoundError
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor import accounts, devices, events
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.datamailbox.latest import latest_points, runs_of_tags
from cloudpriv.processor.devices import Device, Tag
from cloudpriv.processor.query import masking, reading
from cloudpriv.processor.query.turns import turns
from cloudpriv.processor.storage import chunks, columns
from cloudpriv.processor.storage.chunks import Selection
from cloudpriv.processor.tables import LogChunk

READ: Final = "points.read"
MOST: Final = 5_000  # points of one answer
Counted = tuple[int, datetime, datetime]


@dataclass(frozen=True)
class Asked:
    """Which points: of a device by its number, of a tag, from a time on and before one, and how many of each tag at most."""

    number: int | None = None
    tag_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = MOST


@dataclass(frozen=True)
class Kept:
    """How many points of a device are kept, and the times of the first and the last."""

    device: Device
    points: int
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True)
class Read:
    """A device, points of its tags in tables of POINTS, and the latest point of each tag, whether among them or not."""

    device: Device
    tags: Sequence[tuple[Tag, pa.Table]]
    latest: Mapping[int, pa.Table]


@dataclass(frozen=True)
class History:
    """Points by device and tag; there are `more` that an answer has no place for."""

    devices: Sequence[Read]
    more: bool


def account_of(tx: Tx) -> OpenedLogAccount:
    """The acting customer's account. Raises NotFoundError, ForbiddenError for who is no customer."""
    if tx.actor.account_id is None:
        raise ForbiddenError
    return accounts.find_account(tx, tx.actor.account_id)


def list_devices(tx: Tx) -> list[Device]:
    """The account's devices, oldest first."""
    account = account_of(tx)
    events.record(tx, "devices.read", account_id=account.row.account_id)
    return devices.list_devices(tx, account)


def find_device(tx: Tx, *, number: int | None, name: str | None = None) -> Device:
    """The device of this number, or else of this name. Raises NotFoundError."""
    account = account_of(tx)
    if number is not None:
        return by_number(devices.list_devices(tx, account), [number])[0]
    device_id = None if name is None else devices.find_device(tx, account, name)
    if device_id is None:
        raise NotFoundError("No eWON found for this name")
    return devices.get_device(tx, account, device_id)


def by_number(known: Iterable[Device], numbers: Iterable[int]) -> list[Device]:
    """The devices of these numbers. Raises NotFoundError for a number that none has."""
    found = {device.number: device for device in known}
    for number in numbers:
        if number not in found:
            raise NotFoundError(f"No eWON found for id '{number}'")
    return [found[number] for number in numbers]


def find_subject(tx: Tx, account: OpenedLogAccount, known: Iterable[Device], asked: Asked) -> tuple[UUID | None, Tag | None]:
    """The one device and the one tag that are asked for by their numbers. Raises NotFoundError when there are none such."""
    device_id = None if asked.number is None else by_number(known, [asked.number])[0].device_id
    if asked.tag_id is None:
        return device_id, None
    for tag in devices.list_tags(tx, account, device_id):
        if tag.tag_id == asked.tag_id:
            return tag.device_id, tag
    raise NotFoundError(f"No tag found for id '{asked.tag_id}'")


def status(tx: Tx, objects: ObjectStore) -> list[Kept]:
    """How much is kept of each device. Reads no objects but what a deletion under way takes a part of. Raises BusyError."""
    account = account_of(tx)
    events.record(tx, "devices.read", account_id=account.row.account_id)
    for _ in turns():
        try:
            counted = _counted(tx, account, objects)
        except NotFoundError:
            continue
        return [_sum_of(device, counted[device.device_id]) for device in devices.list_devices(tx, account)]
    raise BusyError


def state(tx: Tx, objects: ObjectStore, device: Device) -> Read:
    """A device, its tags and the latest point of each. Raises BusyError."""
    account = account_of(tx)
    events.record(tx, READ, account_id=account.row.account_id, subject_id=device.device_id)
    tags = devices.list_tags(tx, account, device.device_id)
    found = latest_points(tx, account, objects, device.device_id, [tag.tag_id for tag in tags])
    return Read(device, [(tag, columns.NO_POINTS) for tag in tags], found)


def history(tx: Tx, objects: ObjectStore, asked: Asked, *, whole: bool) -> History:
    """The oldest of the points that are asked for, up to `asked.limit` of a tag and MOST in all.

    `whole` lists devices and tags without points, too. Raises NotFoundError when there is no such device or tag, BusyError.
    """
    account = account_of(tx)
    known = devices.list_devices(tx, account)
    device_id, tag = find_subject(tx, account, known, asked)
    events.record(tx, READ, account_id=account.row.account_id, subject_id=device_id)
    one_device, one_tag = None if device_id is None else [device_id], None if tag is None else [tag.tag_id]
    points, more = _oldest(tx, account, objects, Selection(one_device, one_tag, asked.since, asked.until), asked.limit)
    chosen = [device for device in known if device_id in (None, device.device_id)]
    told = devices.list_tags(tx, account, device_id) if tag is None else [tag]
    complete = asked.since is None and asked.until is None and not more
    return History(by_device(tx, account, objects, points, of=chosen, tags=told, whole=whole, complete=complete), more)


def by_device(
    tx: Tx, account: OpenedLogAccount, objects: ObjectStore, points: pa.Table, *, of: Sequence[Device],
    tags: Sequence[Tag], whole: bool = False, complete: bool = False,
) -> list[Read]:  # fmt: skip
    """Points by device and tag, each tag's by time; with `whole` also devices and tags that have none among them.

    `complete` says that these are all points of those tags, so that the latest are among them.
    """
    found = dict(runs_of_tags(columns.in_order(points, "tag", "time", "seq")))
    read = []
    for device in of:
        told = [tag for tag in tags if tag.device_id == device.device_id and (whole or tag.tag_id in found)]
        if told or whole:
            ids = [tag.tag_id for tag in told]
            if complete:
                last = {tag_id: found[tag_id].slice(len(found[tag_id]) - 1) for tag_id in ids if tag_id in found}
            else:
                last = latest_points(tx, account, objects, device.device_id, ids)
            read.append(Read(device, [(tag, found.get(tag.tag_id, columns.NO_POINTS)) for tag in told], last))
    return read


def _oldest(
    tx: Tx, account: OpenedLogAccount, objects: ObjectStore, selection: Selection, limit: int
) -> tuple[pa.Table, bool]:
    """The oldest points of a selection, up to `limit` of a tag and MOST in all, and whether there are more."""
    found = reading.snapshot(tx, account.row.account_id, selection)
    counts: Counter[int] = Counter()
    taken, more, after = columns.NO_POINTS, False, None
    while True:
        page = reading.page(found, objects, after, MOST + 1)
        fits = [_fits(counts, tag, limit) for tag in page["tag"].to_pylist()]
        taken = columns.together([taken, page.filter(pa.array(fits, pa.bool_()))])
        more = more or not all(fits)
        if len(taken) > MOST or len(page) <= MOST:
            return taken.slice(0, MOST), more or len(taken) > MOST
        after = reading.position_of(page, len(page) - 1)
        not_full = [tag for tag in _tags_of(tx, account, selection) if counts[tag] <= limit]
        found = replace(found, selection=replace(found.selection, tag_ids=not_full, since=after[0]))


def _fits(counts: Counter[int], tag: int, limit: int) -> bool:
    counts[tag] += 1
    return counts[tag] <= limit


def _tags_of(tx: Tx, account: OpenedLogAccount, selection: Selection) -> Sequence[int]:
    if selection.tag_ids is not None:
        return selection.tag_ids
    of = selection.device_ids[0] if selection.device_ids else None
    return [tag.tag_id for tag in devices.list_tags(tx, account, of)]


def _counted(tx: Tx, account: OpenedLogAccount, objects: ObjectStore) -> Mapping[UUID, list[Counted]]:
    """By device, how many points lie together that no deletion takes, and the times of the first and the last.

    Raises NotFoundError when a chunk went away meanwhile.
    """
    account_id = account.row.account_id
    masks = masking.pending_masks(tx, account_id)
    in_part = case((or_(false(), *(chunks.of_selection(account_id, mask) for mask in masks)), LogChunk.chunk_id))
    gone = or_(false(), *(_taken_whole(mask) for mask in masks))
    query = select(
        LogChunk.device_id, in_part, func.sum(LogChunk.points), func.min(LogChunk.since), func.max(LogChunk.until)
    )
    query = query.where(LogChunk.account_id == account_id, ~gone).group_by(LogChunk.device_id, in_part)
    counted: dict[UUID, list[Counted]] = defaultdict(list)
    for device_id, chunk_id, points, since, until in tx.connection.execute(query).all():
        if chunk_id is None:
            counted[device_id].append((int(points), since, until))
            continue
        chunk = tx.session.scalar(select(LogChunk).where(LogChunk.account_id == account_id, LogChunk.chunk_id == chunk_id))
        if chunk is None:
            raise NotFoundError
        left = masking.without(chunks.load(objects, account.key, chunk), device_id, masks)
        if len(left):
            times = columns.in_order(left, "time", "seq")["time"]
            counted[device_id].append((len(left), times[0].as_py(), times[-1].as_py()))
    return counted


def _taken_whole(mask: Selection) -> ColumnElement[bool]:
    """The chunks that a deletion takes every point of."""
    rules = [LogChunk.last_seq <= mask.up_to_seq]
    if mask.device_ids is not None:
        rules.append(LogChunk.device_id.in_(mask.device_ids))
    if mask.tag_ids is not None:
        rules.append(LogChunk.tags.op("<@")(literal(list(mask.tag_ids), ARRAY(INTEGER))))
    if mask.since is not None:
        rules.append(LogChunk.since >= mask.since)
    if mask.until is not None:
        rules.append(LogChunk.until < mask.until)
    return and_(*rules)


def _sum_of(device: Device, own: Sequence[Counted]) -> Kept:
    first, last = min((of[1] for of in own), default=None), max((of[2] for of in own), default=None)
    return Kept(device, sum(of[0] for of in own), first, last)
