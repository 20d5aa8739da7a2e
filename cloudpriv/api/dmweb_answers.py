"""What the DataMailbox API answers: the shapes that programs written for Talk2M already read."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
from marshmallow import Schema, fields

from cloudpriv.processor.datamailbox.mailbox import Kept, Read
from cloudpriv.processor.devices import Device, Tag
from cloudpriv.processor.storage.columns import VALUES

TIME_ZONE: Final = "Etc/UTC"  # every time is told in it; what zone a device stands in nobody told us
GOOD: Final = "good"  # of a point that came without a quality, as the original has it
DATA_TYPES: Final = {"float": "Float", "int": "Int", "bool": "Bool", "text": "String"}
Point = dict[str, Any]


class PointOut(Schema):
    """A point of a tag's history."""

    date = fields.String(required=True)
    value = fields.Raw(required=True)
    quality = fields.String(required=True)


class TagOut(Schema):
    """A tag; `value` and `quality` are those of its latest point."""

    id = fields.Integer(required=True)
    name = fields.String(required=True)
    dataType = fields.String(required=True)  # noqa: N815  the format's own name
    description = fields.String(required=True)
    alarmHint = fields.String(required=True)  # noqa: N815  the format's own name
    ewonTagId = fields.Integer(required=True)  # noqa: N815  the format's own name
    value = fields.Raw()
    quality = fields.String()
    history = fields.List(fields.Nested(PointOut))


class MailboxDeviceOut(Schema):
    """A device, an eWON in the words of this format."""

    id = fields.Integer(required=True)
    name = fields.String(required=True)
    lastSynchroDate = fields.String()  # noqa: N815  the format's own name
    timeZone = fields.String()  # noqa: N815  the format's own name
    tags = fields.List(fields.Nested(TagOut))


class KeptOut(Schema):
    """How much of a device is kept."""

    id = fields.Integer(required=True)
    name = fields.String(required=True)
    historyCount = fields.Integer(required=True)  # noqa: N815  the format's own name
    firstHistoryDate = fields.String()  # noqa: N815  the format's own name
    lastHistoryDate = fields.String()  # noqa: N815  the format's own name


class StatusOut(Schema):
    """How much is kept."""

    historyCount = fields.Integer(required=True)  # noqa: N815  the format's own name
    ewonsCount = fields.Integer(required=True)  # noqa: N815  the format's own name
    ewons = fields.List(fields.Nested(KeptOut), required=True)


class DoneOut(Schema):
    """That it was done."""

    success = fields.Boolean(required=True)


class DevicesOut(DoneOut):
    """Devices."""

    ewons = fields.List(fields.Nested(MailboxDeviceOut), required=True)


class DeviceStateOut(DoneOut, MailboxDeviceOut):
    """One device with its tags."""


class HistoryOut(DevicesOut):
    """Devices with points, and whether there are more of them."""

    moreDataAvailable = fields.Boolean()  # noqa: N815  the format's own name


class SyncOut(HistoryOut):
    """Points that the transaction before had not, and the number of this one."""

    transactionId = fields.String()  # noqa: N815  the format's own name


class ErrorOut(DoneOut):
    """A refusal; `code` is the HTTP status."""

    code = fields.Integer(required=True)
    message = fields.String(required=True)


def as_date(time: datetime) -> str:
    """A time as the format has it: UTC, whole seconds where there is no fraction."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def device_out(device: Device) -> dict[str, Any]:
    """A device."""
    last = device.last_point_at
    seen = {} if last is None else {"lastSynchroDate": as_date(last.replace(microsecond=0))}
    return {"id": device.number, "name": device.name, **seen}


def kept_out(kept: Kept) -> dict[str, Any]:
    """How much of a device is kept."""
    ends = {"firstHistoryDate": kept.first, "lastHistoryDate": kept.last}
    told = {name: as_date(time) for name, time in ends.items() if time is not None}
    return {"id": kept.device.number, "name": kept.device.name, "historyCount": kept.points, **told}


def tag_out(tag: Tag, latest: Point | None, history: Sequence[Point] | None = None) -> dict[str, Any]:
    """A tag with its latest point, and with points of it where some are asked for."""
    now = {} if latest is None else {"value": latest["value"], "quality": latest["quality"]}
    told = {} if history is None else {"history": history}
    shown = {"id": tag.tag_id, "name": tag.name, "dataType": DATA_TYPES[tag.kind], "description": "", "alarmHint": ""}
    return {**shown, **now, "ewonTagId": tag.tag_id, **told}


def points_out(points: pa.Table) -> list[Point]:
    """Points in the order of the table."""
    values = zip(*(points[name].to_pylist() for name in VALUES), strict=True)
    times, qualities = points["time"].to_pylist(), points["quality"].to_pylist()
    return [
        {"date": as_date(time), "value": next(value for value in of if value is not None), "quality": quality or GOOD}
        for time, of, quality in zip(times, values, qualities, strict=True)
    ]


def ewons_out(read: Iterable[Read]) -> list[dict[str, Any]]:
    """Devices with their tags, and the tags with their points."""
    return [
        {
            **device_out(of.device),
            "tags": [tag_out(tag, _latest(of.latest, tag), points_out(points)) for tag, points in of.tags],
        }
        for of in read
    ]


def state_out(read: Read) -> dict[str, Any]:
    """A device with the latest point of each tag."""
    return {**device_out(read.device), "tags": [tag_out(tag, _latest(read.latest, tag)) for tag, _ in read.tags]}


def _latest(latest: Mapping[int, pa.Table], tag: Tag) -> Point | None:
    found = latest.get(tag.tag_id)
    return None if found is None else points_out(found)[0]
