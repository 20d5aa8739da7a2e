"""/v1/me/requests and /v1/me/exports: account holders ask for what they have a right to, and follow it."""

from typing import Any, Final
from uuid import UUID

from flask import Response, url_for
from marshmallow import fields, validate

from cloudpriv.api.answers import CREATED, LISTED, STARTED, VERSIONED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint, etag
from cloudpriv.api.exports import ARCHIVE, archive_of
from cloudpriv.api.own_password import confirm, identity_of, password_field
from cloudpriv.api.request_schemas import AskedFields, ExportOut, RequestOut, asked_for, shown, state_of
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import PageArgs, Strict, after_id, page, page_of
from cloudpriv.controller.holders import own_ids
from cloudpriv.mail_templates import LOCALES
from cloudpriv.platform.actor import HOLDER, Actor
from cloudpriv.platform.db import Tx
from cloudpriv.rights import handling, requests
from cloudpriv.rights.requests import KnownRequest

blueprint: Final = Blueprint("me_requests", __name__, url_prefix="/v1/me", description="Account holders use their rights.")
ABOUT: Final = ("account", "person")
WRONG_PASSWORD: Final = "No valid session, or the password is wrong."  # noqa: S105  a description
NOT_SEEN: Final = "It is none that the person may see; members ask about themselves alone."
CONFLICT: Final = "What is asked for cannot be done as it is asked: a name is taken, for one."


class OwnRequestIn(AskedFields):
    """A request of one's own."""

    about = fields.String(
        required=True,
        validate=validate.OneOf(ABOUT),
        metadata={"description": "The account, as its owner; or the person who is signed in.", "examples": ["person"]},
    )
    password = password_field()


class OwnExportIn(Strict):
    """A copy of the data."""

    about = fields.String(
        validate=validate.OneOf(ABOUT),
        metadata={"description": "Without, it is the account for owners, and the person for members."},
    )
    language = fields.String(load_default=LOCALES[0], validate=validate.OneOf(LOCALES))
    password = password_field()


class PasswordIn(Strict):
    """The password once more."""

    password = password_field()


@blueprint.route("/requests", methods=["POST"])
@endpoint(HOLDER, first=confirm)
@blueprint.arguments(OwnRequestIn)
@blueprint.response(201, RequestOut, headers=CREATED)
@blueprint.alt_response(401, description=WRONG_PASSWORD)
@blueprint.alt_response(404, description=NOT_SEEN)
@blueprint.alt_response(409, description=CONFLICT)
def ask(tx: Tx, body: dict[str, Any]) -> Any:
    """Make a request, carried out at once unless staff has to decide; an account's erasure can be undone for 14 days."""
    request = _received(tx, body["type"], body["about"], body["language"], asked_for(body))
    location = url_for("me_requests.read_own_request", request_id=request.row.request_id)
    return shown(request), 201, {**etag(request.row.version), "Location": location}


@blueprint.route("/requests", methods=["GET"])
@endpoint(HOLDER)
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(RequestOut, "Request"), headers=LISTED)
def list_own_requests(tx: Tx, query: dict[str, Any]) -> Any:
    """List the requests about the account, or about a member alone, oldest first."""
    rows = requests.list_requests(tx, own_ids(tx.actor)[0], after=after_id(query), limit=query["limit"])
    return page(rows, query, shown, lambda request: request.row.request_id.bytes)


@blueprint.route("/requests/<uuid:request_id>", methods=["GET"])
@endpoint(HOLDER)
@blueprint.response(200, RequestOut, headers=VERSIONED)
def read_own_request(tx: Tx, request_id: UUID) -> Any:
    """Read a request."""
    request = requests.read_request(tx, request_id)
    return shown(request), 200, etag(request.row.version)


@blueprint.route("/requests/<uuid:request_id>/withdraw", methods=["POST"])
@endpoint(HOLDER)
@blueprint.response(200, RequestOut, headers=VERSIONED)
@blueprint.alt_response(409, description="It has ended, or the time in which the account's erasure can be undone is over.")
def withdraw_own_request(tx: Tx, request_id: UUID) -> Any:
    """Withdraw a request; an account that it was closing stays."""
    request = handling.withdraw(tx, request_id)
    return shown(request), 200, etag(request.row.version)


@blueprint.route("/exports", methods=["POST"])
@endpoint(HOLDER, first=confirm)
@blueprint.arguments(OwnExportIn)
@blueprint.response(202, ExportOut, headers=STARTED)
@blueprint.alt_response(401, description=WRONG_PASSWORD)
@blueprint.alt_response(404, description=NOT_SEEN)
def start_export(tx: Tx, body: dict[str, Any]) -> Any:
    """Ask for a copy of the data (GDPR Article 15); its progress is at Location."""
    about = body.get("about") or ("account" if tx.actor.kind == "owner" else "person")
    export = _received(tx, "access", about, body["language"], {}).answer
    return state_of(export), 202, {"Location": url_for("me_requests.read_own_export", export_id=export.export_id)}


@blueprint.route("/exports/<uuid:export_id>", methods=["GET"])
@endpoint(HOLDER)
@blueprint.response(200, ExportOut)
def read_own_export(tx: Tx, export_id: UUID) -> Any:
    """Read how far an export is."""
    return state_of(requests.read_export(tx, export_id))


@blueprint.route("/exports/<uuid:export_id>/archive", methods=["POST"])
@endpoint(HOLDER, unit=False, first=confirm)
@blueprint.arguments(PasswordIn)
@blueprint.doc(responses={"200": ARCHIVE})
@blueprint.alt_response(401, description=WRONG_PASSWORD)
@blueprint.alt_response(409, description="It is not ready.")
@blueprint.alt_response(410, description="It has been erased.")
def download_own_archive(_: dict[str, Any], export_id: UUID) -> Response:
    """Download a ready export's archive, with the password: 409 before it is ready, 410 once it is erased."""
    return archive_of(export_id)


def _received(tx: Tx, type_: str, about: str, language: str, details: dict[str, Any]) -> KnownRequest:
    account_id, _ = own_ids(tx.actor)
    policy, identity = runtime().services.policy, identity_of(tx.actor)
    return handling.receive(
        tx, policy, account_id, type_, person_id=_whom(tx.actor, about), channel="portal", details=details,
        identity=identity, language=language,
    )  # fmt: skip


def _whom(actor: Actor, about: str) -> UUID | None:
    return own_ids(actor)[1] if about == "person" else None
