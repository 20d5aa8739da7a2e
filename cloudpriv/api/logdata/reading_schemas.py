"""What the routes of reading log data take and answer."""

from typing import Any, Final

from marshmallow import fields, validate

from cloudpriv.api.answers import LISTED
from cloudpriv.api.schemas import CURSOR, NO_NUL, PageArgs, Pattern, QueryInteger, Strict, UtcTime
from cloudpriv.processor.query import aggregates

JSON: Final = "application/json"
MAX_PAGE: Final = 10_000
MAX_NAMES: Final = 100
POINT: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["device", "tag", "time", "value"],
    "properties": {
        "device": {"type": "string"},
        "tag": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "value": {"type": ["number", "boolean", "string"], "description": "As it was sent: whole numbers have no point."},
        "quality": {"type": "string", "description": "Absent when none was sent."},
        "unit": {"type": "string", "description": "Absent when none was sent."},
    },
}
PAGE: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["items", "next_cursor"],
    "properties": {"items": {"type": "array", "items": POINT}, "next_cursor": {"type": ["string", "null"]}},
}
WHOLE: Final = {
    "text/csv": {
        "schema": {"type": "string", "description": "RFC 4180, LF: device, tag, time, kind, value, quality, unit."}
    },
    "application/x-ndjson": {"schema": {"type": "string", "description": "A point as in a page on each line."}},
    "application/vnd.apache.parquet": {
        "schema": {
            "type": "string",
            "contentMediaType": "application/vnd.apache.parquet",
            "description": "device, tag, time, one of value_float, value_int, value_bool and value_text, quality, unit.",
        }
    },
}
POINTS: Final = {
    "description": "A page as JSON, or as `Accept` says the whole span as CSV, NDJSON or Parquet.",
    "headers": LISTED,
    "content": {JSON: {"schema": PAGE}, **WHOLE},
}


def _names(shown: str) -> fields.List[Any]:
    rules: list[Any] = [validate.Length(min=1, max=200), NO_NUL]
    about = f"Given once for each, such as `{shown}`; all when it is not given."
    return fields.List(
        fields.String(validate=rules),
        load_default=None,
        validate=validate.Length(min=1, max=MAX_NAMES),
        metadata={"description": about},
    )


class SpanArgs(Strict):
    """Which points: of which devices and tags, by name, and from when to when."""

    device = _names("pump-1")
    tag = _names("temperature")
    since = UtcTime(load_default=None, data_key="from")
    until = UtcTime(load_default=None, data_key="to", metadata={"description": "Exclusive."})


class PointArgs(SpanArgs):
    """Query of points; `limit` and `cursor` are of pages."""

    limit = QueryInteger(load_default=None, validate=validate.Range(min=1, max=MAX_PAGE))
    cursor = fields.String(load_default=None, validate=[validate.Length(max=100), CURSOR])


class AggregateArgs(SpanArgs):
    """Query of aggregates."""

    bucket = fields.String(
        required=True,
        validate=Pattern(aggregates.PATTERN, "Must be a period of one unit, such as PT15M or P1D."),
        metadata={"description": "ISO 8601 of one unit; aligned to the Unix epoch in UTC, weeks to Mondays."},
    )


class DeviceNameArgs(Strict):
    """Of one device."""

    device = fields.String(load_default=None, validate=[validate.Length(min=1, max=200), NO_NUL])


class TagListArgs(PageArgs, DeviceNameArgs):
    """Query of tags."""


class LogDeviceOut(Strict):
    """A device as the customer named it."""

    id = fields.UUID(required=True)
    name = fields.String(required=True)
    number = fields.Integer(required=True, metadata={"description": "Its id in the DataMailbox API."})
    created_at = UtcTime(required=True)
    last_point_at = UtcTime(required=True, allow_none=True)


class LogTagOut(Strict):
    """A tag of a device; kind and unit are those of its first point."""

    device = fields.String(required=True)
    name = fields.String(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(["float", "int", "bool", "text"]))
    unit = fields.String(required=True, allow_none=True)
    created_at = UtcTime(required=True)


class BucketOut(Strict):
    """The points of a tag in a bucket. Numbers alone have a least, mean and greatest."""

    device = fields.String(required=True)
    tag = fields.String(required=True)
    start = UtcTime(required=True)
    count = fields.Integer(required=True)
    min = fields.Float(required=True, allow_none=True)
    mean = fields.Float(required=True, allow_none=True)
    max = fields.Float(required=True, allow_none=True)
    last = fields.Raw(required=True, metadata={"type": ["number", "boolean", "string"]})


class AggregatesOut(Strict):
    """Buckets that have points, by tag and start."""

    items = fields.List(fields.Nested(BucketOut), required=True)
