"""OpenDSR 2.0: requests of data subjects, handed on by the customer as their controller to us as its processor.

Every answer but an archive is signed. Whatever is wrong with a request itself is answered 400, as OpenDSR has it (7.5);
who calls is told apart by 401 and 403, and what is not there by 404 and 410, as everywhere else.
"""

import base64
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import msgspec
from flask import Response
from werkzeug.exceptions import HTTPException

from cloudpriv.api import problems
from cloudpriv.api.body import Blueprint, whole_body
from cloudpriv.api.endpoint import PUBLIC, endpoint, transaction
from cloudpriv.api.logdata.access import runtime
from cloudpriv.api.opendsr_schemas import (
    CancellationOut,
    DiscoveryOut,
    OpenDsrErrorOut,
    SubjectRequestIn,
    SubjectRequestOut,
    SubjectRequestStatusOut,
    certificate,
    identity_of,
)
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import DomainError
from cloudpriv.processor.orders import exports
from cloudpriv.processor.subjects import identities, opendsr, results
from cloudpriv.processor.subjects.callbacks import DOMAIN_HEADER, SIGNATURE_HEADER, signed_headers
from cloudpriv.processor.subjects.opendsr import Order

blueprint: Final = Blueprint(
    "opendsr", __name__, url_prefix=opendsr.PATH, description="OpenDSR 2.0: requests of data subjects."
)
READ: Final = "logdata:read"
INSTRUCT: Final = "logdata:instruct"
TOO_MANY: Final = 413
OF_REQUESTS: Final = frozenset({409, 412, TOO_MANY, 415, 422, 428})  # what is wrong with a request itself
CHAIN_TYPE: Final = "application/pem-certificate-chain"  # RFC 8555, 9.1
LINES: Final = exports.MEDIA_TYPES[results.FORMAT]
REFUSED: Final = {
    400: "The request cannot be taken; `errors` says why.",
    401: "No token, or none of this plane.",
    403: "The token is one that may not do this.",
    404: "No such request, or no OpenDSR here.",
    410: "The results were erased, or the account was.",
    413: "Not answered: such a body is 400.",
    415: "Not answered: such a body is 400.",
    422: "Not answered: such a request is 400.",
    429: "Too many requests.",
    503: "The database or the object store is away.",
}
SIGNED: Final = {
    DOMAIN_HEADER: {"description": "Whom the certificate is for.", "required": True, "schema": {"type": "string"}},
    SIGNATURE_HEADER: {
        "description": "RSASSA-PKCS1-v1_5 with SHA-256 of the whole body, in base64.",
        "required": True,
        "schema": {"type": "string"},
    },
}
RESULTS: Final = {
    "description": "What was found: a JSON object a line.",
    "content": {LINES: {"schema": {"type": "string"}}},
}
CHAIN: Final = {"description": "The certificate, in PEM.", "content": {CHAIN_TYPE: {"schema": {"type": "string"}}}}


def _documented(*statuses: int) -> Callable[[Any], Any]:
    """Describe the refusals of a route, as they are here."""

    def decorate(view: Any) -> Any:
        for status in statuses:
            view = blueprint.alt_response(status, schema=OpenDsrErrorOut, description=REFUSED[status])(view)
        return view

    return decorate


@blueprint.route("/discovery", methods=["GET"])
@endpoint(PUBLIC)
@blueprint.response(200, DiscoveryOut, headers=SIGNED)
@_documented(404, 429)
def discover() -> Response:
    """Tell which requests and identities there are, and by which certificate answers are signed."""
    pairs = [{"identity_type": each, "identity_format": how} for each in identities.TYPES for how in identities.FORMATS]
    return _signed(
        {
            "api_version": opendsr.VERSION,
            "supported_identities": pairs,
            "supported_subject_request_types": opendsr.TYPES,
            "processor_certificate": f"{_url()}{opendsr.PATH}/certificate.pem",
        }
    )


@blueprint.route("/certificate.pem", methods=["GET"])
@endpoint(PUBLIC)
@blueprint.doc(responses={"200": CHAIN})
@_documented(404, 429)
def read_opendsr_certificate() -> Response:
    """Read the certificate that answers and callbacks are signed by."""
    return Response(certificate().chain, content_type=CHAIN_TYPE)


@blueprint.route("/requests", methods=["POST"])
@endpoint(INSTRUCT)
@blueprint.arguments(SubjectRequestIn)
@blueprint.response(201, SubjectRequestOut, headers=SIGNED)
@_documented(*REFUSED)
def receive_subject_request(tx: Tx, body: dict[str, Any]) -> Response:
    """Hand a request on: to be carried out on what the account's log data holds about the identities.

    The same again gets the same answer; another under the same `subject_request_id` is refused.
    """
    row = opendsr.receive(tx, _order(body))
    taken = _told(row.account_id, row.request_id) | {
        "received_time": opendsr.as_time(row.received_at),
        "expected_completion_time": opendsr.as_time(row.expected_at),
        "encoded_request": base64.b64encode(whole_body()).decode(),
    }
    return _signed(taken, 201)


@blueprint.route("/requests/<uuid:subject_request_id>", methods=["GET"])
@endpoint(READ)
@blueprint.response(200, SubjectRequestStatusOut, headers=SIGNED)
@_documented(401, 403, 404, 429, 503)
def read_subject_request(tx: Tx, subject_request_id: UUID) -> Response:
    """Tell how a request goes."""
    return _status(tx, subject_request_id)


@blueprint.route("/status/<uuid:subject_request_id>", methods=["GET"])
@endpoint(READ)
@blueprint.response(200, SubjectRequestStatusOut, headers=SIGNED)
@_documented(401, 403, 404, 429, 503)
def read_subject_request_status(tx: Tx, subject_request_id: UUID) -> Response:
    """Tell how a request goes: the same by another name, which OpenDSR has too."""
    return _status(tx, subject_request_id)


@blueprint.route("/requests/<uuid:subject_request_id>", methods=["DELETE"])
@endpoint(INSTRUCT)
@blueprint.response(202, CancellationOut, headers=SIGNED)
@_documented(400, 401, 403, 404, 429, 503)
def cancel_subject_request(tx: Tx, subject_request_id: UUID) -> Response:
    """Cancel a request that is pending; one that is begun or completed is refused."""
    certificate()
    row = opendsr.cancel(tx, subject_request_id)
    return _signed(_told(row.account_id, row.request_id) | {"received_time": opendsr.as_time(tx.now)}, 202)


@blueprint.route("/requests/<uuid:subject_request_id>/results", methods=["GET"])
@endpoint(READ, unit=False)
@blueprint.doc(responses={"200": RESULTS})
@_documented(400, 401, 403, 404, 410, 429, 503)
def read_subject_request_results(subject_request_id: UUID) -> Response:
    """Read what was found for a completed request of access or portability, for as long as an export is kept."""
    with transaction() as tx:
        archive = opendsr.results_of(tx, subject_request_id)
    headers = {
        "Content-Disposition": f'attachment; filename="{subject_request_id}.ndjson"',
        "Content-Length": str(archive.row.size),
    }
    return Response(archive.content(runtime().services.objects), content_type=LINES, headers=headers)


@blueprint.errorhandler(DomainError)
def _refuse(error: DomainError) -> Response:
    response = problems.refuse(error)
    if response.status_code in OF_REQUESTS:
        response.status_code = 400
    found = [(each.pointer, each.detail) for each in error.errors] or [("", error.detail)]
    details = [
        {"domain": "Validation" if pointer else "Request", "reason": error.code, "message": f"{pointer} {text}".strip()}
        for pointer, text in found
    ]
    return _error(response, error.detail, details)


@blueprint.errorhandler(HTTPException)
def _refuse_http(fault: HTTPException) -> Response:
    status = 400 if fault.code == TOO_MANY else fault.code or 500
    return _error(Response(status=status), fault.name, [])


def _error(response: Response, message: str, details: list[dict[str, str]]) -> Response:
    """A refusal as OpenDSR has it, with the headers that any other has."""
    response.content_type = "application/json"
    told = {"error": {"code": response.status_code, "message": message, "errors": details}}
    response.set_data(msgspec.json.encode(told))
    return response


def _status(tx: Tx, request_id: UUID) -> Response:
    return _signed(opendsr.status_of(opendsr.read_request(tx, request_id), _url()))


def _signed(document: dict[str, Any], status: int = 200) -> Response:
    body = msgspec.json.encode(document)
    return Response(body, status, headers=signed_headers(certificate(), body), content_type="application/json")


def _told(account_id: UUID, request_id: UUID) -> dict[str, str]:
    return {
        "controller_id": str(account_id),
        "subject_request_id": str(request_id),
        "api_version": opendsr.VERSION,
    }


def _order(body: dict[str, Any]) -> Order:
    return Order(
        UUID(body["subject_request_id"]),
        body["regulation"],
        body["subject_request_type"],
        body["submitted_time"],
        tuple(map(identity_of, body["subject_identities"])),
        tuple(dict.fromkeys(body["status_callback_urls"])),
    )


def _url() -> str:
    return runtime().services.settings.url.rstrip("/")
