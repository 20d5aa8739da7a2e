"""/v1/traffic: sessions of devices come in by the batch; /v1/accounts/{account_id}/traffic: they are read back."""

from datetime import UTC, datetime, timedelta
from inspect import getdoc
from typing import Any, Final
from uuid import UUID

import msgspec
from flask import request
from marshmallow import fields

from cloudpriv.api.answers import LISTED
from cloudpriv.api.body import Blueprint, whole_body
from cloudpriv.api.endpoint import endpoint
from cloudpriv.api.schemas import PageArgs, Strict, UtcTime, after, page, page_of
from cloudpriv.api.traffic_body import MAX_BYTES, MAX_RECORDS, read_array, read_lines
from cloudpriv.controller import traffic, traffic_reports
from cloudpriv.controller.tables import TrafficSession
from cloudpriv.controller.traffic import Verdict
from cloudpriv.controller.traffic_records import Batch, Record
from cloudpriv.controller.traffic_reports import MonthlyTotal, Span
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import UnsupportedTypeError

blueprint: Final = Blueprint("traffic", __name__, url_prefix="/v1", description="Traffic metadata: sessions of devices.")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
READERS: Final = {"application/json": read_array, "application/x-ndjson": read_lines}


RECORD: Final = msgspec.json.schema_components([Record])[1]["Record"] | {"description": getdoc(Record)}
EXAMPLE: Final = {
    "account": "acme-water",
    "device": "1234-0001-24",
    "session": "0000a1",
    "source": "vpn-1",
    "started_at": "2026-01-31T12:00:00Z",
    "duration_s": 60,
    "bytes_from_device": 1200,
    "bytes_to_device": 300,
    "protocol": "openvpn",
    "remote_address": "192.0.2.1",
    "username": "kim",
}
# Any array is taken and any record gets its verdict, so the schema tells what is understood and refuses nothing.
BODY: Final = {
    "description": f"Up to {MAX_RECORDS} records or {MAX_BYTES} bytes. What is no such record is named in the answer.",
    "required": True,
    "content": {
        "application/json": {
            "schema": {"type": "array", "maxItems": MAX_RECORDS, "items": {"anyOf": [RECORD, {}]}},
            "example": [EXAMPLE],
        },
        "application/x-ndjson": {"schema": {"type": "string", "description": "One record a line."}},
    },
}


class RejectionOut(Strict):
    """A record that was not taken."""

    index = fields.Integer(required=True, metadata={"description": "Its place in the batch, from 0."})
    code = fields.String(required=True)
    detail = fields.String(required=True, metadata={"description": "Names the member, never repeats its value."})


class VerdictOut(Strict):
    """What became of a batch; the three add up to its records."""

    accepted = fields.Integer(required=True, metadata={"description": "Sessions that are new."})
    merged = fields.Integer(required=True, metadata={"description": "Records of sessions that were known."})
    rejected = fields.List(fields.Nested(RejectionOut), required=True)


class SpanArgs(Strict):
    """Sessions by their start."""

    since = UtcTime(load_default=None, data_key="from")
    until = UtcTime(load_default=None, data_key="to", metadata={"description": "Exclusive."})


class SessionListArgs(PageArgs, SpanArgs):
    """Query of the list of sessions."""


class SessionOut(Strict):
    """One session of a device."""

    session = fields.String(required=True, metadata={"description": "128 bits in hexadecimal, from source and session id."})
    device_id = fields.UUID(required=True)
    person_id = fields.UUID(required=True, allow_none=True)
    started_at = UtcTime(required=True)
    ended_at = UtcTime(required=True, allow_none=True)
    bytes_from_device = fields.Integer(required=True)
    bytes_to_device = fields.Integer(required=True)
    protocol = fields.String(required=True, allow_none=True)
    remote_address = fields.String(required=True, allow_none=True)
    end_reason = fields.String(required=True, allow_none=True)
    received_at = UtcTime(required=True)


class Totals(Strict):
    """Sessions and bytes, added up."""

    sessions = fields.Integer(required=True)
    bytes_from_device = fields.Integer(required=True)
    bytes_to_device = fields.Integer(required=True)


class DeviceTotals(Totals):
    """Of one device."""

    device_id = fields.UUID(required=True)


class MonthTotals(Totals):
    """Of one month, by the start of the session in UTC."""

    month = fields.String(required=True, metadata={"description": "YYYY-MM"})
    devices = fields.List(fields.Nested(DeviceTotals), required=True)


class SummaryOut(Strict):
    """Totals by month, latest first."""

    months = fields.List(fields.Nested(MonthTotals), required=True)


@blueprint.before_request
def _allow_bulk() -> None:
    if request.endpoint == "traffic.ingest":
        request.max_content_length = MAX_BYTES


@blueprint.route("/traffic", methods=["POST"])
@endpoint("traffic:write")
@blueprint.doc(requestBody=BODY)
@blueprint.response(200, VerdictOut)
def ingest(tx: Tx) -> Verdict:
    """Take a batch of session records: a JSON array, or NDJSON.

    What is accepted or merged is committed; a record that is neither is named with a code and a reason.
    Records of one session may come in any order, twice or late: its start is the earliest told, every other
    member the greatest. A session stays with the device that it was first told of. A username that the account
    does not know is left out: the traffic is the account's all the same.
    """
    return traffic.ingest(tx, _read_batch())


@blueprint.route("/accounts/<uuid:account_id>/traffic", methods=["GET"])
@endpoint("traffic:read")
@blueprint.arguments(SessionListArgs, location="query")
@blueprint.response(200, page_of(SessionOut, "Session"), headers=LISTED)
def list_sessions(tx: Tx, query: dict[str, Any], account_id: UUID) -> Any:
    """List the sessions of an account, latest start first."""
    span = Span(query["since"], query["until"])
    rows = traffic_reports.list_sessions(tx, account_id, span, before=before(after(query)), limit=query["limit"])
    return page(rows, query, shown, position_of)


@blueprint.route("/accounts/<uuid:account_id>/traffic/summary", methods=["GET"])
@endpoint("traffic:read")
@blueprint.arguments(SpanArgs, location="query")
@blueprint.response(200, SummaryOut)
def summarise(tx: Tx, query: dict[str, Any], account_id: UUID) -> dict[str, list[MonthlyTotal]]:
    """Add up the sessions of an account by month and device."""
    return {"months": traffic_reports.summarise(tx, account_id, Span(query["since"], query["until"]))}


def _read_batch() -> Batch:
    reader = READERS.get(request.mimetype)
    if reader is None:
        raise UnsupportedTypeError("Send the records as application/json or application/x-ndjson.")
    return reader(whole_body())


def before(position: bytes | None) -> tuple[datetime, bytes] | None:
    """Start and key of the session at a position of the list."""
    if position is None:
        return None
    return EPOCH + int.from_bytes(position[:8], "big") * MICROSECOND, position[8:]


def position_of(row: TrafficSession) -> bytes:
    """Where a session stands in the list."""
    return ((row.started_at - EPOCH) // MICROSECOND).to_bytes(8, "big") + row.session_key


def shown(row: TrafficSession) -> dict[str, Any]:
    """A session of a device as the API shows it."""
    return {
        "session": row.session_key.hex(),
        "device_id": row.device_id,
        "person_id": row.person_id,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "bytes_from_device": row.bytes_from_device,
        "bytes_to_device": row.bytes_to_device,
        "protocol": row.protocol,
        "remote_address": row.remote_address,
        "end_reason": row.end_reason,
        "received_at": row.received_at,
    }
