"""/v1/…/requests: requests of data subjects, taken by backends and entered by staff, and what staff decides about them."""

from typing import Any, Final, cast
from uuid import UUID

from flask import url_for
from marshmallow import fields, validate

from cloudpriv.api.answers import CREATED, LISTED, VERSIONED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint, etag
from cloudpriv.api.request_askers import AskerIdentityIn, identified
from cloudpriv.api.request_schemas import (
    LONGEST_TEXT,
    AskedFields,
    RequestOut,
    RequestSummary,
    asked_for,
    shown,
    summary,
)
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import PageArgs, QueryFlag, Strict, UtcTime, after_id, any_text, example, page, page_of
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import FieldError, InvalidError
from cloudpriv.rights import handling, requests
from cloudpriv.rights.cases import states
from cloudpriv.rights.requests import Channel, Identity, KnownRequest

blueprint: Final = Blueprint("subject_requests", __name__, url_prefix="/v1", description="Requests of data subjects.")
ENDED: Final = "It is in a state in which that cannot be done, or is answered with another."


class RequestIn(AskedFields):
    """A new request. One by a backend is identified by it, unless told otherwise; one by letter or mail waits for it."""

    person_id = fields.UUID(
        load_default=None, allow_none=True, metadata={"description": "Whom it is about; without, the account as a whole."}
    )
    channel = fields.String(load_default="backend", validate=validate.OneOf(["backend", "letter", "mail"]))
    received_at = UtcTime(metadata={"description": "When a letter or mail came in; its deadline counts from then."})
    identity = fields.Nested(AskerIdentityIn, allow_none=True)


class DecisionIn(Strict):
    """A decision: a refusal needs ground and reason, which the person is told."""

    decision = fields.String(required=True, validate=validate.OneOf(["grant", "refuse"]), metadata=example("grant"))
    ground = fields.String(validate=validate.OneOf(requests.GROUNDS))
    reason = any_text("The data was found to be right.", longest=LONGEST_TEXT)
    outcome = any_text("Both numbers were corrected by hand.", longest=LONGEST_TEXT)


class ExtensionIn(Strict):
    """Why the answer takes longer; the person is told."""

    reason = any_text("Seventy people are concerned.", required=True, longest=LONGEST_TEXT)


class OpenArgs(PageArgs):
    """Query of the list of open requests."""

    status = fields.String(validate=validate.OneOf(states.OPEN))
    overdue = QueryFlag(load_default=False)
    nearly_due = QueryFlag(load_default=False, metadata={"description": "Due within seven days."})


@blueprint.route("/accounts/<uuid:account_id>/requests", methods=["POST"])
@endpoint("privacy:write")
@blueprint.arguments(RequestIn)
@blueprint.response(201, RequestOut, headers=CREATED)
def receive_request(tx: Tx, body: dict[str, Any], account_id: UUID) -> Any:
    """Take a request; it is carried out at once where its asker is identified and no decision is needed."""
    request = handling.receive(
        tx,
        runtime().services.policy,
        account_id,
        body["type"],
        person_id=body["person_id"],
        channel=cast(Channel, body["channel"]),
        received_at=body.get("received_at"),
        details=asked_for(body),
        identity=_identity_in(tx, body),
        language=body["language"],
    )
    location = url_for("subject_requests.read_request", request_id=request.row.request_id)
    return shown(request), 201, {**etag(request.row.version), "Location": location}


@blueprint.route("/accounts/<uuid:account_id>/requests", methods=["GET"])
@endpoint("privacy:read")
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(RequestOut, "Request"), headers=LISTED)
def list_requests(tx: Tx, query: dict[str, Any], account_id: UUID) -> Any:
    """List the requests about an account, oldest first."""
    rows = requests.list_requests(tx, account_id, after=after_id(query), limit=query["limit"])
    return page(rows, query, shown, lambda request: request.row.request_id.bytes)


@blueprint.route("/requests", methods=["GET"])
@endpoint("privacy:read")
@blueprint.arguments(OpenArgs, location="query")
@blueprint.response(200, page_of(RequestSummary, "OpenRequest"), headers=LISTED)
def list_open_requests(tx: Tx, query: dict[str, Any]) -> Any:
    """List the requests that wait for an answer, of all accounts of the client's service, oldest first."""
    chosen = {name: query[name] for name in ("status", "overdue", "nearly_due") if name in query}
    rows = requests.list_open(tx, **chosen, after=after_id(query), limit=query["limit"])
    return page(rows, query, summary, lambda request: request.row.request_id.bytes)


@blueprint.route("/requests/<uuid:request_id>", methods=["GET"])
@endpoint("privacy:read")
@blueprint.response(200, RequestOut, headers=VERSIONED)
def read_request(tx: Tx, request_id: UUID) -> Any:
    """Read a request."""
    return _answer(requests.read_request(tx, request_id))


@blueprint.route("/requests/<uuid:request_id>/decide", methods=["POST"])
@endpoint("privacy:write", answer_names_account=True)
@blueprint.arguments(DecisionIn)
@blueprint.response(200, RequestOut, headers=VERSIONED)
@blueprint.alt_response(409, description=ENDED)
def decide_request(tx: Tx, body: dict[str, Any], request_id: UUID) -> Any:
    """Grant a request that waits for staff, or refuse one; the person is told by letter."""
    _check_decision(body)
    policy = runtime().services.policy
    if body["decision"] == "grant":
        return _answer(handling.grant(tx, policy, request_id, body.get("outcome")))
    return _answer(handling.refuse(tx, policy, request_id, body["ground"], body["reason"]))


@blueprint.route("/requests/<uuid:request_id>/extend", methods=["POST"])
@endpoint("privacy:write", answer_names_account=True)
@blueprint.arguments(ExtensionIn)
@blueprint.response(200, RequestOut, headers=VERSIONED)
@blueprint.alt_response(409, description="It was extended before, the first month is over, or it has ended.")
def extend_request(tx: Tx, body: dict[str, Any], request_id: UUID) -> Any:
    """Put off the answer by two months, once and inside the first month; the person is told the reason."""
    return _answer(requests.extend(tx, runtime().services.policy, request_id, body["reason"]))


@blueprint.route("/requests/<uuid:request_id>/withdraw", methods=["POST"])
@endpoint("privacy:write", answer_names_account=True)
@blueprint.response(200, RequestOut, headers=VERSIONED)
@blueprint.alt_response(409, description=ENDED)
def withdraw_request(tx: Tx, request_id: UUID) -> Any:
    """End a request on its asker's word; an account that it was closing stays."""
    return _answer(handling.withdraw(tx, request_id))


@blueprint.route("/requests/<uuid:request_id>/restart", methods=["POST"])
@endpoint("privacy:write", answer_names_account=True)
@blueprint.response(200, RequestOut, headers=VERSIONED)
@blueprint.alt_response(409, description="It does not wait for an export that has failed or is slow.")
def restart_request(tx: Tx, request_id: UUID) -> Any:
    """Begin the export of a request anew whose last one failed, or takes over an hour."""
    return _answer(requests.restart_export(tx, request_id))


def _answer(request: KnownRequest) -> Any:
    return shown(request), 200, etag(request.row.version)


def _identity_in(tx: Tx, body: dict[str, Any]) -> Identity | None:
    """How the asker of a new request was identified, if anybody did that."""
    if "identity" not in body and body["channel"] == "backend":
        return identified(tx, {"method": "backend"}, "")
    given = body.get("identity")
    return None if given is None else identified(tx, given, "/identity/note")


def _check_decision(body: dict[str, Any]) -> None:
    """Raises InvalidError for members that do not belong to the decision, or are missing."""
    granted = body["decision"] == "grant"
    needed, wrong = (set(), {"ground", "reason"}) if granted else ({"ground", "reason"}, {"outcome"})
    faults = [FieldError(f"/{name}", "is needed to refuse") for name in sorted(needed - body.keys())]
    faults += [FieldError(f"/{name}", "does not belong to this decision") for name in sorted(wrong & body.keys())]
    if faults:
        raise InvalidError(errors=tuple(faults))
