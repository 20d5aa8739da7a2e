"""/v1/…/requests and /v1/exports: requests for a copy of an account's data, and the archives that answer them."""

from typing import Any, Final
from uuid import UUID

from flask import Response, url_for
from marshmallow import fields, validate

from cloudpriv.api.answers import CREATED, LISTED, VERSIONED, headers
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint, etag, transaction
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import PageArgs, Strict, UtcTime, after_id, page, page_of
from cloudpriv.platform.db import Tx
from cloudpriv.rights import requests, states
from cloudpriv.rights.request_exports import EXPORTED
from cloudpriv.rights.requests import Identity, KnownRequest
from cloudpriv.rights.tables import Export

blueprint: Final = Blueprint("rights", __name__, url_prefix="/v1", description="Requests of data subjects and exports.")

ARCHIVE: Final = {
    "description": "The archive.",
    "headers": headers("Content-Disposition"),
    "content": {"application/zip": {"schema": {"type": "string", "contentMediaType": "application/zip"}}},
}


class RequestIn(Strict):
    """A new request; the backend has verified who asks."""

    type = fields.String(required=True, validate=validate.OneOf(EXPORTED))


class RequestOut(Strict):
    """A request under GDPR Articles 7(3) and 15 to 22."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    type = fields.String(required=True, validate=validate.OneOf(requests.TYPES))
    status = fields.String(required=True, validate=validate.OneOf(states.STATES))
    received_at = UtcTime(required=True)
    due_on = fields.Date(required=True, metadata={"description": "The last day to answer (GDPR Article 12(3))."})
    completed_at = UtcTime(required=True, allow_none=True)
    export_id = fields.UUID(required=True, allow_none=True)


class ExportOut(Strict):
    """The state of an export."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    request_id = fields.UUID(required=True)
    status = fields.String(required=True, validate=validate.OneOf(["pending", "running", "ready", "failed", "expired"]))
    progress = fields.Integer(
        required=True, validate=validate.Range(0, 100), metadata={"description": "Percent of the rows that are written."}
    )
    size = fields.Integer(
        required=True, allow_none=True, metadata={"description": "Bytes of the archive, so far while it is running."}
    )
    sha256 = fields.String(required=True, allow_none=True, metadata={"description": "Of the whole archive, in hex."})
    failure = fields.String(required=True, allow_none=True)
    created_at = UtcTime(required=True)
    ready_at = UtcTime(required=True, allow_none=True)
    expires_at = UtcTime(required=True, allow_none=True)


@blueprint.route("/accounts/<uuid:account_id>/requests", methods=["POST"])
@endpoint("privacy:write")
@blueprint.arguments(RequestIn)
@blueprint.response(201, RequestOut, headers=CREATED)
def receive_request(tx: Tx, body: dict[str, Any], account_id: UUID) -> Any:
    """Take a request for a copy of the account's data; its export starts at once."""
    identity = Identity("backend", f"{tx.actor.kind} {tx.actor.id}")
    request = requests.receive(tx, runtime().services.policy, account_id, body["type"], identity=identity)
    location = url_for("rights.read_request", request_id=request.row.request_id)
    return _shown(request), 201, {**etag(request.row.version), "Location": location}


@blueprint.route("/accounts/<uuid:account_id>/requests", methods=["GET"])
@endpoint("privacy:read")
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(RequestOut, "Request"), headers=LISTED)
def list_requests(tx: Tx, query: dict[str, Any], account_id: UUID) -> Any:
    """List the requests about an account, oldest first."""
    rows = requests.list_requests(tx, account_id, after=after_id(query), limit=query["limit"])
    return page(rows, query, _shown, lambda request: request.row.request_id.bytes)


@blueprint.route("/requests/<uuid:request_id>", methods=["GET"])
@endpoint("privacy:read")
@blueprint.response(200, RequestOut, headers=VERSIONED)
def read_request(tx: Tx, request_id: UUID) -> Any:
    """Read a request."""
    request = requests.read_request(tx, request_id)
    return _shown(request), 200, etag(request.row.version)


@blueprint.route("/exports/<uuid:export_id>", methods=["GET"])
@endpoint("privacy:read")
@blueprint.response(200, ExportOut)
def read_export(tx: Tx, export_id: UUID) -> Any:
    """Read the state of an export."""
    return _state(requests.read_export(tx, export_id))


@blueprint.route("/exports/<uuid:export_id>/archive", methods=["GET"])
@endpoint("privacy:read", unit=False)
@blueprint.doc(responses={"200": ARCHIVE})
@blueprint.alt_response(409, description="It is not ready.")
@blueprint.alt_response(410, description="It has been erased.")
def download_archive(export_id: UUID) -> Response:
    """Download a ready export's archive: 409 before it is ready, 410 once it is erased."""
    with transaction() as tx:
        key = requests.open_archive(tx, export_id)
    size, content = runtime().services.exports.get_stream(key)
    headers = {"Content-Length": str(size), "Content-Disposition": f'attachment; filename="{export_id}.zip"'}
    return Response(content, content_type="application/zip", headers=headers)


def _shown(request: KnownRequest) -> dict[str, Any]:
    row = request.row
    return {
        "id": row.request_id,
        "account_id": row.account_id,
        "type": row.type,
        "status": row.status,
        "received_at": row.received_at,
        "due_on": row.due_on,
        "completed_at": row.completed_at,
        "export_id": request.export.export_id if request.export else None,
    }


def _state(export: Export) -> dict[str, Any]:
    return {
        "id": export.export_id,
        "account_id": export.account_id,
        "request_id": export.request_id,
        "status": export.status,
        "progress": export.progress,
        "size": export.size,
        "sha256": export.sha256,
        "failure": export.failure,
        "created_at": export.created_at,
        "ready_at": export.ready_at,
        "expires_at": export.expires_at,
    }
