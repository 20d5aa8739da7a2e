"""/v1/exports: how far an export is, and the archive that it makes."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final
from uuid import UUID

from flask import Response

from cloudpriv.api.answers import headers
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint, transaction
from cloudpriv.api.request_schemas import ExportOut, state_of
from cloudpriv.api.runtime import runtime
from cloudpriv.platform.db import Tx
from cloudpriv.rights import requests

blueprint: Final = Blueprint(
    "subject_exports", __name__, url_prefix="/v1/exports", description="Exports and their archives."
)
ARCHIVE: Final = {
    "description": "The archive.",
    "headers": headers("Content-Disposition"),
    "content": {"application/zip": {"schema": {"type": "string", "contentMediaType": "application/zip"}}},
}


@blueprint.route("/<uuid:export_id>", methods=["GET"])
@endpoint("privacy:read")
@blueprint.response(200, ExportOut)
def read_export(tx: Tx, export_id: UUID) -> Any:
    """Read the state of an export."""
    return state_of(requests.read_export(tx, export_id))


@blueprint.route("/<uuid:export_id>/archive", methods=["GET"])
@endpoint("privacy:read", unit=False)
@blueprint.doc(responses={"200": ARCHIVE})
@blueprint.alt_response(409, description="It is not ready.")
@blueprint.alt_response(410, description="It has been erased.")
def download_archive(export_id: UUID) -> Response:
    """Download a ready export's archive: 409 before it is ready, 410 once it is erased."""
    return archive_of(export_id)


def archive_of(export_id: UUID, unit: Callable[[], AbstractContextManager[Tx]] = transaction) -> Response:
    """The archive of a ready export that the caller may see, streamed. Raises NotReadyError, GoneError, NotFoundError.

    It is looked up in a transaction of its own, which ends before anything is sent.
    """
    with unit() as tx:
        key = requests.open_archive(tx, export_id)
    size, content = runtime().services.exports.get_stream(key)
    told = {"Content-Length": str(size), "Content-Disposition": f'attachment; filename="{export_id}.zip"'}
    return Response(content, content_type="application/zip", headers=told)
