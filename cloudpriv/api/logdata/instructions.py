"""/v1/logdata/instructions: what the customer instructs the vendor to do with its log data (GDPR Article 28(3)(a)).

The one route by which the vendor reads log data is here too: it works only while an instruction that says so runs.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from struct import Struct
from typing import Any, Final
from uuid import UUID

from flask import url_for
from marshmallow import fields, validate

from cloudpriv.api.answers import CREATED, LISTED, VERSIONED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import call, endpoint, etag, expected_version, transaction
from cloudpriv.api.logdata.access import account_of, runtime
from cloudpriv.api.schemas import NO_NUL, PageArgs, Strict, UtcTime, after, after_id, any_text, example, page, page_of
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ForbiddenError, InvalidError
from cloudpriv.processor.order_tables import LogDeletion
from cloudpriv.processor.orders import instructions, support
from cloudpriv.processor.orders.exports import FORMATS
from cloudpriv.processor.orders.instructions import KINDS, Instruction, Wanted
from cloudpriv.processor.query import formats, reading
from cloudpriv.processor.query.formats import Names
from cloudpriv.processor.query.reading import Position, Snapshot

blueprint: Final = Blueprint(
    "log_instructions",
    __name__,
    url_prefix="/v1/logdata/instructions",
    description="What the customer instructs the vendor to do with log data.",
)
NAME: Final = (validate.Length(min=1, max=200), NO_NUL)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
PLACE: Final = Struct(">qq")  # where a page ends: microseconds since the epoch, and place in the order of arrival
NOT_RUNNING: Final = "No running instruction of the customer allows this."
STATUSES: Final = ("running", "over", "withdrawn", "pending", "done", "failed")
FROM: Final = {"description": "Points from this time on; null: from the first."}
BEFORE: Final = {"description": "Points before this time; null: to the last."}
UNTIL: Final = {"description": "For `support_read`: until when support may read, 90 days ahead at most."}
NOTE: Final = {"description": "In the customer's own words; stored sealed.", **example("ticket 4711: level jumps at night")}


def _by_running_instruction(view: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse support, and tell the customer, where no instruction of this id runs, whatever else is wrong with a request."""

    @wraps(view)
    def guarded(*, instruction_id: UUID) -> Any:
        try:
            try:
                return view(instruction_id=instruction_id)
            except InvalidError:
                with transaction() as tx:
                    support.require_running(tx, instruction_id)
                raise
        except ForbiddenError:
            runtime().refuse(NOT_RUNNING)

    return guarded


class InstructionIn(Strict):
    """An instruction: support may read, the vendor deletes, or the vendor makes an archive, of points of a device or tag."""

    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    device = fields.String(load_default=None, allow_none=True, validate=NAME, metadata=example("pump-3"))
    tag = fields.String(load_default=None, allow_none=True, validate=NAME, metadata=example("level"))
    from_ = UtcTime(load_default=None, allow_none=True, data_key="from", metadata=FROM)
    before = UtcTime(load_default=None, allow_none=True, metadata=BEFORE)
    until = UtcTime(load_default=None, allow_none=True, metadata=UNTIL)
    note = any_text("ticket 4711", longest=1000, load_default=None, allow_none=True)
    format = fields.String(
        load_default=None, allow_none=True, validate=validate.OneOf(FORMATS), metadata={"description": "For `export`."}
    )


class SupportQuery(PageArgs):
    """Which points to read, of those that the instruction opens."""

    device = fields.String(load_default=None, validate=NAME)
    tag = fields.String(load_default=None, validate=NAME)
    from_ = UtcTime(load_default=None, data_key="from", metadata={"description": "Points from this time on."})
    to = UtcTime(load_default=None, metadata={"description": "Points before this time."})


class SupportPointOut(Strict):
    """A point. `quality` and `unit` are absent when its device sent none."""

    device = fields.String(required=True)
    tag = fields.String(required=True)
    time = fields.String(required=True, metadata={"format": "date-time"})
    value = fields.Raw(required=True, metadata={"type": ["number", "boolean", "string"]})
    quality = fields.String()
    unit = fields.String()


class OutcomeOut(Strict):
    """What came of an instruction to delete or export."""

    id = fields.UUID(required=True, metadata={"description": "Of the deletion or export."})
    status = fields.String(required=True)
    points = fields.Integer(required=True, allow_none=True)
    done_at = UtcTime(required=True, allow_none=True)


class InstructionOut(Strict):
    """An instruction."""

    id = fields.UUID(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    device = fields.String(required=True, allow_none=True)
    tag = fields.String(required=True, allow_none=True)
    from_ = UtcTime(required=True, allow_none=True, data_key="from", metadata=FROM)
    before = UtcTime(required=True, allow_none=True, metadata=BEFORE)
    until = UtcTime(required=True, allow_none=True, metadata=UNTIL)
    note = fields.String(required=True, allow_none=True, metadata=NOTE)
    format = fields.String(required=True, allow_none=True)
    given_by = fields.String(required=True)
    given_at = UtcTime(required=True)
    withdrawn_at = UtcTime(required=True, allow_none=True)
    outcome = fields.Nested(OutcomeOut, required=True, allow_none=True)


@blueprint.route("", methods=["POST"])
@endpoint("logdata:instruct")
@blueprint.arguments(InstructionIn)
@blueprint.response(201, InstructionOut, headers=CREATED)
def give_instruction(tx: Tx, body: dict[str, Any]) -> Any:
    """Give an instruction; what is to be carried out is ordered at once."""
    given = instructions.give(tx, account_of(tx), Wanted(since=body.pop("from_"), **body))
    location = url_for("log_instructions.read_instruction", instruction_id=given.row.instruction_id)
    return shown(given), 201, {**etag(given.version), "Location": location}


@blueprint.route("", methods=["GET"])
@endpoint("logdata:oversee")
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(InstructionOut, "Instruction"), headers=LISTED)
def list_instructions(tx: Tx, query: dict[str, Any]) -> Any:
    """List the account's instructions, ended ones too."""
    rows = instructions.list_given(tx, account_of(tx), after=after_id(query), limit=query["limit"])
    return page(rows, query, shown, lambda given: given.row.instruction_id.bytes)


@blueprint.route("/<uuid:instruction_id>", methods=["GET"])
@endpoint("logdata:oversee")
@blueprint.response(200, InstructionOut, headers=VERSIONED)
def read_instruction(tx: Tx, instruction_id: UUID) -> Any:
    """Read an instruction and what came of it."""
    given = instructions.read(tx, account_of(tx), instruction_id)
    return shown(given), 200, etag(given.version)


@blueprint.route("/<uuid:instruction_id>", methods=["DELETE"])
@endpoint("logdata:instruct")
@blueprint.response(204)
@blueprint.alt_response(409, description="It is carried out from the moment that it was given.")
def withdraw_instruction(tx: Tx, instruction_id: UUID) -> None:
    """Withdraw an instruction that lets support read, from now on; needs If-Match. What is carried out stays done (409)."""
    instructions.withdraw(tx, account_of(tx), instruction_id, expected_version())


@blueprint.route("/<uuid:instruction_id>/points", methods=["GET"])
@endpoint("logdata:support", unit=False)
@_by_running_instruction
@blueprint.arguments(SupportQuery, location="query")
@blueprint.response(200, page_of(SupportPointOut, "SupportPoint"), headers=LISTED)
def read_points_for_support(query: dict[str, Any], instruction_id: UUID) -> Any:
    """Read points as the vendor's support, while the customer's instruction runs; of what is asked, only what it opens.

    Each read stands in the customer's access log with the instruction's id. Without a running instruction the answer is 403,
    which stands there too.
    """
    position = _position(query)
    found, names = _opened(query, instruction_id, position)
    points = reading.page(found, runtime().services.objects, position, query["limit"] + 1)
    rows = [(json.loads(shown), row) for row, shown in enumerate(formats.as_json(points, names).to_pylist())]
    return page(rows, query, lambda row: row[0], lambda row: _place(reading.position_of(points, row[1])))


def _opened(query: dict[str, Any], instruction_id: UUID, position: Position | None) -> tuple[Snapshot, Names]:
    """What support reads of that which the instruction opens, after this transaction, which tells of it."""
    this = call()
    begins = [each for each in (query["from_"], None if position is None else position[0]) if each is not None]
    with transaction() as tx:
        opened = support.open_to_support(tx, instruction_id, _asked(query))
        selection = opened.narrowed(query["device"], query["tag"], max(begins, default=None), query["to"])
        account_id = opened.account.row.account_id
        found = reading.snapshot_of(tx, opened.account, selection)
    plane, actor = runtime().services.plane, this.actor()
    return (
        reading.kept(found, account_id, lambda: plane.transaction(actor, this.now, request_id=this.id)),
        opened.names,
    )


def _asked(query: dict[str, Any]) -> list[str]:
    named = {"device": "device", "tag": "tag", "from": "from_", "to": "to"}
    return [name for name, member in named.items() if query[member] is not None]


def _position(query: dict[str, Any]) -> Position | None:
    place = after(query)
    if place is None:
        return None
    microseconds, seq = PLACE.unpack(place)
    return EPOCH + timedelta(microseconds=microseconds), seq


def _place(position: Position) -> bytes:
    return PLACE.pack((position[0] - EPOCH) // timedelta(microseconds=1), position[1])


def shown(given: Instruction) -> dict[str, Any]:
    """An instruction as the API shows it."""
    row = given.row
    return {
        "id": row.instruction_id,
        "kind": row.kind,
        "status": given.status,
        "device": given.device,
        "tag": given.tag,
        "from_": row.since,
        "before": row.before,
        "until": row.until,
        "note": given.note,
        "format": given.format,
        "given_by": row.given_by,
        "given_at": row.given_at,
        "withdrawn_at": row.withdrawn_at,
        "outcome": _outcome(given),
    }


def _outcome(given: Instruction) -> dict[str, Any] | None:
    came = given.outcome
    if came is None:
        return None
    done_at = came.done_at if isinstance(came, LogDeletion) else came.ready_at
    return {"id": given.row.outcome_id, "status": came.status, "points": came.points, "done_at": done_at}
