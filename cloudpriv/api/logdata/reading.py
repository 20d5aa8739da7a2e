"""/v1/logdata/{devices,tags,points,aggregates}: the customer reads log data, by the names that the customer gave."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any, Final

import pyarrow as pa
from flask import Response, request

from cloudpriv.api.answers import LISTED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import call, endpoint, transaction
from cloudpriv.api.logdata.access import account_of, runtime
from cloudpriv.api.logdata.reading_schemas import (
    JSON,
    POINTS,
    AggregateArgs,
    AggregatesOut,
    LogDeviceOut,
    LogTagOut,
    PointArgs,
    TagListArgs,
)
from cloudpriv.api.schemas import (
    PageArgs,
    after,
    next_page,
    page,
    page_of,
)
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import FieldError, InvalidError
from cloudpriv.processor import accounts, devices, events
from cloudpriv.processor.devices import Device, Tag
from cloudpriv.processor.orders.exports import MEDIA_TYPES
from cloudpriv.processor.query import aggregates, formats, naming, reading
from cloudpriv.processor.query.aggregates import Bucket
from cloudpriv.processor.query.formats import Names
from cloudpriv.processor.query.naming import Wanted
from cloudpriv.processor.query.reading import Position, Snapshot

blueprint: Final = Blueprint("log_reading", __name__, url_prefix="/v1/logdata", description="The customer reads log data.")
MOST_POINTS: Final = 5_000_000  # of one answer: over that, an export is what is wanted
MOST_BUCKETS: Final = 50_000
PAGE_SIZE: Final = 1_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
TYPES: Final = {media: kind for kind, media in MEDIA_TYPES.items()}


@blueprint.route("/devices", methods=["GET"])
@endpoint("logdata:read")
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(LogDeviceOut, "LogDevice"), headers=LISTED)
def list_log_devices(tx: Tx, query: dict[str, Any]) -> Any:
    """List the account's devices, oldest first."""
    account = accounts.find_account(tx, account_of(tx))
    position = _number(query)
    rows = [device for device in devices.list_devices(tx, account) if device.number > position]
    events.record(tx, "devices.read", account_id=account.row.account_id)
    return page(rows[: query["limit"] + 1], query, _shown_device, lambda device: device.number.to_bytes(4, "big"))


@blueprint.route("/tags", methods=["GET"])
@endpoint("logdata:read")
@blueprint.arguments(TagListArgs, location="query")
@blueprint.response(200, page_of(LogTagOut, "LogTag"), headers=LISTED)
def list_tags(tx: Tx, query: dict[str, Any]) -> Any:
    """List the tags of the account or of one device, oldest first."""
    account = accounts.find_account(tx, account_of(tx))
    wanted = Wanted(None if query["device"] is None else [query["device"]])
    selection = naming.select(tx, account, wanted)
    of_one = None if selection.device_ids is None else selection.device_ids[0]
    shown = devices.list_tags(tx, account, of_one, after=_number(query), limit=query["limit"] + 1)
    names = naming.names_of_tags(tx, account, [tag.tag_id for tag in shown])
    events.record(tx, "tags.read", account_id=account.row.account_id, subject_id=of_one)
    return page(shown, query, lambda tag: _shown_tag(tag, names), lambda tag: tag.tag_id.to_bytes(4, "big"))


@blueprint.route("/points", methods=["GET"])
@endpoint("logdata:read", unit=False)
@blueprint.arguments(PointArgs, location="query")
@blueprint.doc(responses={"200": POINTS})
def read_points(query: dict[str, Any]) -> Response:
    """Read points by time, of several at one time in order of arrival: a page of JSON, or the whole span as `Accept` says.

    The pages that a cursor leads to tell the points that there were when the first was read. An answer of more than
    5,000,000 points is refused: order an export for that.
    """
    kind = TYPES.get(request.accept_mimetypes.best_match([JSON, *TYPES], JSON))
    if kind is None:
        return _page(query)
    for name in ("limit", "cursor"):
        if query[name] is not None:
            raise InvalidError(errors=(FieldError(name, "is of pages of JSON", "query"),))
    found, names = _begin(query, "points.read", most=MOST_POINTS)
    tables = found.points(runtime().services.objects)
    first = list(_some(tables))
    parts = formats.written(kind, chain(first, tables), names(None))
    return Response(parts, content_type=MEDIA_TYPES[kind] + ("; charset=utf-8" if kind == "csv" else ""))


@blueprint.route("/aggregates", methods=["GET"])
@endpoint("logdata:read", unit=False)
@blueprint.arguments(AggregateArgs, location="query")
@blueprint.alt_response(200, schema=AggregatesOut, success=True)
def read_aggregates(query: dict[str, Any]) -> Response:
    """Read count, least, mean, greatest and last value of each tag in each bucket that has points.

    Points of one time count in order of arrival. Least, mean and greatest are null where there are no numbers, and
    mean where they are so great that they have no sum.
    """
    found, names = _begin(query, "aggregates.read", most=MOST_POINTS)
    try:
        buckets = aggregates.aggregate(found, runtime().services.objects, query["bucket"], MOST_BUCKETS)
    except aggregates.TooManyError:
        detail = f"makes more than {MOST_BUCKETS} buckets; ask for longer ones, or for less"
        raise InvalidError(errors=(FieldError("bucket", detail, "query"),)) from None
    called = names({bucket.tag for bucket in buckets})
    items = [_shown_bucket(bucket, called) for bucket in buckets]
    return Response(json.dumps({"items": items}, ensure_ascii=False, allow_nan=False), content_type=JSON)


def _page(query: dict[str, Any]) -> Response:
    place, limit = _position(query), query["limit"] or PAGE_SIZE
    position, up_to = (None, None) if place is None else place
    since = query["since"] if position is None else position[0]
    found, names = _begin({**query, "since": since}, "points.read", up_to=up_to)
    rows = reading.page(found, runtime().services.objects, position, limit + 1)
    cursor, link = _next(rows, limit, found.selection.up_to_seq or 0)
    items = ",".join(formats.as_json(rows.slice(0, limit), names(rows["tag"].unique().to_pylist())).to_pylist())
    body = f'{{"items":[{items}],"next_cursor":{json.dumps(cursor)}}}'
    return Response(body, content_type=JSON, headers=link)


def _begin(
    query: dict[str, Any], action: str, *, most: int | None = None, up_to: int | None = None
) -> tuple[Snapshot, Callable[[Iterable[int] | None], Names]]:
    """What is asked for, to be read after this transaction, which tells of it. Raises InvalidError over `most` points.

    With it what opens the names of tags, of some or of all that may be told: opening takes longer than a page does.
    """
    this = call()
    with transaction() as tx:
        account_id = account_of(tx)
        account = accounts.find_account(tx, account_id)
        wanted = Wanted(query["device"], query["tag"], query["since"], query["until"])
        selection = naming.select(tx, account, wanted)
        found = reading.snapshot_of(tx, account, replace(selection, up_to_seq=up_to))
        if most is not None and reading.expected(tx, account_id, found) > most:
            raise InvalidError(errors=(FieldError("from", f"makes it more than {most} points; order an export", "query"),))
        devices_read = selection.device_ids or ()
        subject_id = devices_read[0] if len(devices_read) == 1 else None
        events.record(tx, action, account_id=account_id, subject_id=subject_id)
    # What reads on once the request is over has nothing but this.
    plane, actor = runtime().services.plane, this.actor()
    begin = partial(plane.transaction, actor, this.now, request_id=this.id)

    def names(tag_ids: Iterable[int] | None) -> Names:
        wanted_ids = selection.tag_ids if tag_ids is None else tag_ids
        with begin() as tx:
            account = accounts.find_account(tx, account_id)
            if wanted_ids is None:
                return naming.names_of(tx, account, selection.device_ids)
            return naming.names_of_tags(tx, account, wanted_ids)

    return reading.kept(found, account_id, begin), names


def _some(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The first table, if there is one: what cannot be read at all is a refusal, not an answer that breaks off."""
    for points in tables:
        yield points
        return


def _next(rows: pa.Table, limit: int, up_to: int) -> tuple[str | None, dict[str, str]]:
    if len(rows) <= limit:
        return None, {}
    time, seq = reading.position_of(rows, limit - 1)
    parts = ((time - EPOCH) // MICROSECOND, seq, up_to)
    return next_page(b"".join(part.to_bytes(8, "big") for part in parts))


def _position(query: dict[str, Any]) -> tuple[Position, int] | None:
    """Where a page begins: the position that it comes after, and the place up to which its list tells."""
    raw = after(query)
    if raw is None:
        return None
    time, seq, up_to = (int.from_bytes(raw[start : start + 8], "big") for start in (0, 8, 16))
    return (EPOCH + time * MICROSECOND, seq), up_to


def _number(query: dict[str, Any]) -> int:
    return int.from_bytes(after(query) or b"", "big")


def _shown_device(device: Device) -> dict[str, Any]:
    return {
        "id": device.device_id,
        "name": device.name,
        "number": device.number,
        "created_at": device.created_at,
        "last_point_at": device.last_point_at,
    }


def _shown_tag(tag: Tag, names: Names) -> dict[str, Any]:
    device, name = names[tag.tag_id]
    return {"device": device, "name": name, "kind": tag.kind, "unit": tag.unit, "created_at": tag.created_at}


def _shown_bucket(bucket: Bucket, names: Names) -> dict[str, Any]:
    device, tag = names[bucket.tag]
    return {
        "device": device,
        "tag": tag,
        "start": bucket.start.isoformat().replace("+00:00", "Z"),
        "count": bucket.count,
        "min": bucket.least,
        "mean": bucket.mean,
        "max": bucket.greatest,
        "last": bucket.last,
    }
