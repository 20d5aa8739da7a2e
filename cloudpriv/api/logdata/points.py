"""POST /v1/logdata/points: a device's points come in by the batch."""

from inspect import getdoc
from typing import Final

import msgspec
from flask import Response, request
from marshmallow import fields

from cloudpriv.api.body import Blueprint, quoted_key, whole_body
from cloudpriv.api.endpoint import call, endpoint
from cloudpriv.api.logdata.access import runtime
from cloudpriv.api.logdata.points_body import MAX_BYTES, read_json, read_lines
from cloudpriv.api.schemas import Strict
from cloudpriv.platform.errors import UnsupportedTypeError
from cloudpriv.processor.storage.append import Appender, BatchKey, append
from cloudpriv.processor.storage.points import MAX_POINTS, Batch, Point

blueprint: Final = Blueprint("log_points", __name__, url_prefix="/v1/logdata", description="Points that devices send.")
READERS: Final = {"application/json": read_json, "application/x-ndjson": read_lines}

POINT: Final = msgspec.json.schema_components([Point])[1]["Point"] | {"description": getdoc(Point)}
EXAMPLE: Final = {"tag": "temperature", "time": "2026-01-31T12:00:00Z", "value": 21.5, "quality": "good", "unit": "°C"}
# Any array is taken and any point gets its verdict, so the schema tells what is understood and refuses nothing.
ARRAY: Final = {"type": "array", "maxItems": MAX_POINTS, "items": {"anyOf": [POINT, {}]}}
ENVELOPE: Final = {"type": "object", "properties": {"points": ARRAY}, "required": ["points"], "additionalProperties": False}
BODY: Final = {
    "description": f"Up to {MAX_POINTS} points or {MAX_BYTES} bytes. What is no such point is named in the answer.",
    "required": True,
    "content": {
        "application/json": {"schema": {"anyOf": [ARRAY, ENVELOPE]}, "example": [EXAMPLE]},
        "application/x-ndjson": {"schema": {"type": "string", "description": "One point a line."}},
    },
}
KEY: Final = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "pattern": r'^"[ !#-~]{1,255}"$'},
    "description": "A quoted string of printable ASCII: sent again under it within 30 days, the batch is not taken again.",
}


class PointRejectionOut(Strict):
    """A point that was not taken."""

    index = fields.Integer(required=True, metadata={"description": "Its place in the batch, from 0."})
    code = fields.String(required=True)
    detail = fields.String(required=True, metadata={"description": "Names the member, never repeats its value."})


class BatchOut(Strict):
    """What became of a batch; both add up to its points."""

    accepted = fields.Integer(required=True, metadata={"description": "Points that are stored now."})
    rejected = fields.List(fields.Nested(PointRejectionOut), required=True)


@blueprint.before_request
def _allow_bulk() -> None:
    if request.endpoint == "log_points.append_points":
        request.max_content_length = MAX_BYTES


@blueprint.route("/points", methods=["POST"])
@endpoint("logdata:append", unit=False)
@blueprint.doc(requestBody=BODY, parameters=[KEY])
@blueprint.alt_response(200, schema=BatchOut, success=True)
@blueprint.alt_response(404, description="The account's log data is being erased.")
def append_points() -> Response:
    """Store a batch of the device's points: a JSON array, an object with the member `points`, or NDJSON.

    What is accepted is stored when this answers; a point that is not is named with a code and a reason. Under an
    Idempotency-Key a batch is taken once, however often it is sent. Of several points of a tag at one time each is kept.
    """
    this, services = call(), runtime().services
    to = Appender(services.plane, services.objects, this.actor(), this.now, this.id)
    body = whole_body()
    verdict = append(to, _batch(body), _key(body))
    return Response(msgspec.json.encode(verdict), mimetype="application/json")


def _batch(body: bytes) -> Batch:
    reader = READERS.get(request.mimetype)
    if reader is None:
        raise UnsupportedTypeError("Send the points as application/json or application/x-ndjson.")
    return reader(body, call().now)


def _key(body: bytes) -> BatchKey | None:
    header = request.headers.get("Idempotency-Key")
    return None if header is None else BatchKey(quoted_key(header), body)
