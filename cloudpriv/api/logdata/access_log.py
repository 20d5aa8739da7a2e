"""/v1/logdata/access-log: who read or changed the customer's log data, or tried to."""

from typing import Any, Final

from marshmallow import fields, validate

from cloudpriv.api.answers import LISTED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint
from cloudpriv.api.logdata.access import account_of
from cloudpriv.api.schemas import PageArgs, Strict, UtcTime, after_id, page, page_of
from cloudpriv.platform.db import Tx
from cloudpriv.processor import events
from cloudpriv.processor.tables import LogEvent

blueprint: Final = Blueprint(
    "log_access", __name__, url_prefix="/v1/logdata/access-log", description="The customer's log of who was at log data."
)


class AccessArgs(PageArgs):
    """Query of the access log."""

    order = fields.String(
        load_default="asc",
        validate=validate.OneOf(["asc", "desc"]),
        metadata={"description": "`asc`: oldest first; `desc`: newest first."},
    )


class LogEventOut(Strict):
    """One read or change of log data, or an attempt that was refused.

    Of an attempt `fields` names the route; `account_id` is null when it named no account. Of a read under an instruction
    `fields` names the parameters that narrowed it.
    """

    id = fields.UUID(required=True)
    at = UtcTime(required=True)
    actor_kind = fields.String(required=True)
    actor_id = fields.String(required=True)
    action = fields.String(required=True)
    account_id = fields.UUID(required=True, allow_none=True)
    subject_id = fields.UUID(required=True, allow_none=True)
    instruction_id = fields.UUID(required=True, allow_none=True)
    fields_ = fields.List(fields.String(), required=True, data_key="fields")
    request_id = fields.UUID(required=True, allow_none=True)


@blueprint.route("", methods=["GET"])
@endpoint("logdata:oversee")
@blueprint.arguments(AccessArgs, location="query")
@blueprint.response(200, page_of(LogEventOut, "LogEvent"), headers=LISTED)
def list_access(tx: Tx, query: dict[str, Any]) -> Any:
    """List who read or changed the account's log data, and attempts of the vendor; this look is there too."""
    newest_first = query["order"] == "desc"
    rows = events.list_events(tx, account_of(tx), after=after_id(query), limit=query["limit"], newest_first=newest_first)
    return page(rows, query, _shown, lambda event: event.event_id.bytes)


def _shown(event: LogEvent) -> dict[str, Any]:
    return {
        "id": event.event_id,
        "at": event.at,
        "actor_kind": event.actor_kind,
        "actor_id": event.actor_id,
        "action": event.action,
        "account_id": event.account_id,
        "subject_id": event.subject_id,
        "instruction_id": event.instruction_id,
        "fields_": event.fields,
        "request_id": event.request_id,
    }
