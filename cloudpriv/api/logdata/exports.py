"""/v1/logdata/exports: the customer takes log data along as an archive that a worker writes."""

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final
from uuid import UUID

from flask import Response, url_for
from marshmallow import fields, validate

from cloudpriv.api.answers import LISTED, STARTED, headers
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint, transaction
from cloudpriv.api.logdata.access import account_of, runtime
from cloudpriv.api.schemas import PageArgs, Strict, UtcTime, after_id, any_text, page, page_of
from cloudpriv.platform.db import Tx
from cloudpriv.processor import accounts
from cloudpriv.processor.order_tables import LogExport
from cloudpriv.processor.orders import exports
from cloudpriv.processor.query import naming
from cloudpriv.processor.query.naming import Wanted

blueprint: Final = Blueprint(
    "log_exports", __name__, url_prefix="/v1/logdata/exports", description="The customer takes log data along."
)
MAX_NAMES: Final = 100  # of devices and of tags; without any, it is all
ARCHIVE: Final = {
    "description": "The file, in the format that was asked for.",
    "headers": headers("Content-Disposition"),
    "content": {
        media: {"schema": {"type": "string", "contentMediaType": media}} for media in sorted(exports.MEDIA_TYPES.values())
    },
}


def _names(shown: str) -> fields.List[Any]:
    return fields.List(any_text(shown), load_default=None, validate=validate.Length(min=1, max=MAX_NAMES))


class LogExportIn(Strict):
    """What is to be in the archive: points of these devices, tags and times; all where nothing is said."""

    format = fields.String(required=True, validate=validate.OneOf(exports.FORMATS))
    devices = _names("pump-1")
    tags = _names("temperature")
    since = UtcTime(load_default=None, data_key="from")
    until = UtcTime(load_default=None, data_key="to", metadata={"description": "Exclusive."})


class LogExportOut(Strict):
    """The state of an export."""

    id = fields.UUID(required=True)
    format = fields.String(required=True, validate=validate.OneOf(exports.FORMATS))
    status = fields.String(required=True, validate=validate.OneOf(["pending", "ready", "failed", "expired"]))
    points = fields.Integer(
        required=True, allow_none=True, metadata={"description": "Points in the archive, so far while it is pending."}
    )
    size = fields.Integer(
        required=True, allow_none=True, metadata={"description": "Bytes of it, so far while it is pending."}
    )
    sha256 = fields.String(required=True, allow_none=True, metadata={"description": "Of the file, in hex."})
    requested_at = UtcTime(required=True)
    ready_at = UtcTime(required=True, allow_none=True)
    expires_at = UtcTime(required=True, allow_none=True)


@blueprint.route("", methods=["POST"])
@endpoint("logdata:read")
@blueprint.arguments(LogExportIn)
@blueprint.response(202, LogExportOut, headers=STARTED)
def order_export(tx: Tx, body: dict[str, Any]) -> Any:
    """Have log data written into an archive: the points that there are now, but for those that are deleted meanwhile."""
    account = accounts.find_account(tx, account_of(tx))
    wanted = Wanted(body["devices"], body["tags"], body["since"], body["until"], in_body=True)
    row = exports.order(tx, account, body["format"], naming.select(tx, account, wanted))
    return _shown(row), 202, {"Location": url_for("log_exports.read_log_export", export_id=row.export_id)}


@blueprint.route("", methods=["GET"])
@endpoint("logdata:read")
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(LogExportOut, "LogExport"), headers=LISTED)
def list_log_exports(tx: Tx, query: dict[str, Any]) -> Any:
    """List the account's exports, newest first: those of instructions and of data subjects' requests too."""
    rows = exports.list_made(tx, account_of(tx), after=after_id(query), limit=query["limit"])
    return page(rows, query, _shown, lambda row: row.export_id.bytes)


@blueprint.route("/<uuid:export_id>", methods=["GET"])
@endpoint("logdata:read")
@blueprint.response(200, LogExportOut)
def read_log_export(tx: Tx, export_id: UUID) -> Any:
    """Read the state of an export."""
    return _shown(exports.read(tx, account_of(tx), export_id))


@blueprint.route("/<uuid:export_id>/archive", methods=["GET"])
@endpoint("logdata:read", unit=False)
@blueprint.doc(responses={"200": ARCHIVE})
@blueprint.alt_response(409, description="It is not ready.")
@blueprint.alt_response(410, description="It has been erased.")
def download_log_export(export_id: UUID) -> Response:
    """Download the archive of a ready export, kept for seven days: 409 before it is ready, 410 once it is erased."""
    with transaction() as tx:
        archive = exports.open_archive(tx, account_of(tx), export_id)
    row = archive.row
    content = archive.content(runtime().services.objects)
    name = f'attachment; filename="{export_id}.{row.format}"'
    about = {"Content-Length": str(row.size), "Content-Disposition": name}
    return Response(_begun(content), content_type=exports.MEDIA_TYPES[row.format], headers=about)


def _begun(content: Iterator[bytes]) -> Iterator[bytes]:
    """The same, begun: an archive that cannot be read at all is a refusal, not an answer that breaks off."""
    first = next(content, b"")
    return chain([first], content)


def _shown(row: LogExport) -> dict[str, Any]:
    return {
        "id": row.export_id,
        "format": row.format,
        "status": row.status,
        "points": row.points,
        "size": row.size,
        "sha256": None if row.sha256 is None else row.sha256.hex(),
        "requested_at": row.requested_at,
        "ready_at": row.ready_at,
        "expires_at": row.expires_at,
    }
