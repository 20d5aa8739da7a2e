"""/v1/audit/events: who read or changed an account's data."""

from typing import Any, Final

from marshmallow import fields

from cloudpriv.api.answers import LISTED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint
from cloudpriv.api.schemas import PageArgs, Strict, UtcTime, after_id, page, page_of
from cloudpriv.audit import events
from cloudpriv.audit.events import AuditEvent
from cloudpriv.controller import accounts
from cloudpriv.platform.db import Tx

blueprint: Final = Blueprint("audit", __name__, url_prefix="/v1/audit", description="The trail of reads and changes.")


class EventListArgs(PageArgs):
    """Query of the list of events."""

    account_id = fields.UUID(required=True)


class EventOut(Strict):
    """One read or change; `fields` names what was changed, never the values."""

    id = fields.UUID(required=True)
    at = UtcTime(required=True)
    actor_kind = fields.String(required=True)
    actor_id = fields.String(required=True)
    action = fields.String(required=True)
    account_id = fields.UUID(required=True)
    subject_id = fields.UUID(required=True, allow_none=True)
    fields_ = fields.List(fields.String(), required=True, data_key="fields")
    request_id = fields.UUID(required=True, allow_none=True)


@blueprint.route("/events", methods=["GET"])
@endpoint("audit:read")
@blueprint.arguments(EventListArgs, location="query")
@blueprint.response(200, page_of(EventOut, "Event"), headers=LISTED)
@blueprint.alt_response(404, description="There is no such account.")
def list_events(tx: Tx, query: dict[str, Any]) -> Any:
    """List the events of an account, oldest first; reading them is an event too."""
    account_id = query["account_id"]
    accounts.find_account(tx, account_id)
    rows = events.list_events(tx, account_id, after=after_id(query), limit=query["limit"])
    return page(rows, query, shown, lambda event: event.event_id.bytes)


def shown(event: AuditEvent) -> dict[str, Any]:
    """An event as the API shows it."""
    return {
        "id": event.event_id,
        "at": event.at,
        "actor_kind": event.actor_kind,
        "actor_id": event.actor_id,
        "action": event.action,
        "account_id": event.account_id,
        "subject_id": event.subject_id,
        "fields_": event.fields,
        "request_id": event.request_id,
    }
