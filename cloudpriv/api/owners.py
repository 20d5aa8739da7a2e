"""/v1/…/owner-replacements: staff makes a person the owner of an account whose owner has left."""

from typing import Any, Final
from uuid import UUID

from flask import url_for
from marshmallow import fields, validate

from cloudpriv.api.answers import CREATED, VERSIONED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint, etag
from cloudpriv.api.schemas import Strict, UtcTime, any_text
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.rights import owners
from cloudpriv.rights.owners import Evidence, KnownReplacement

blueprint: Final = Blueprint(
    "owner_replacements",
    __name__,
    url_prefix="/v1/accounts/<uuid:account_id>/owner-replacements",
    description="Owners, replaced after a check of the company.",
)


class EvidenceSchema(Strict):
    """What of the company was checked, and how."""

    documents = any_text("Extract of the register of companies of 2026-05-01", required=True, longest=1000)
    note = any_text("The signatory was called back at the number in the register.", required=True, longest=4000)


class ReplacementIn(Strict):
    """Who is to be an owner."""

    person_id = fields.UUID(required=True)
    evidence = fields.Nested(EvidenceSchema, required=True)


class ReplacementOut(Strict):
    """The replacement of an owner."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    person_id = fields.UUID(required=True)
    status = fields.String(required=True, validate=validate.OneOf(list(owners.KINDS)))
    evidence = fields.Nested(EvidenceSchema, required=True)
    checked_by = fields.String(required=True, metadata={"description": "Kind and id of who entered it."})
    requested_at = UtcTime(required=True)
    effective_at = UtcTime(required=True, metadata={"description": "From then on the person is an owner, unless stopped."})
    ended_at = UtcTime(required=True, allow_none=True)


class ReplacementList(Strict):
    """All replacements of an account: there are few."""

    items = fields.List(fields.Nested(ReplacementOut), required=True)


@blueprint.route("", methods=["POST"])
@endpoint("privacy:write")
@blueprint.arguments(ReplacementIn)
@blueprint.response(201, ReplacementOut, headers=CREATED)
def replace_owner(tx: Tx, body: dict[str, Any], account_id: UUID) -> Any:
    """Have a person become an owner in seven days, after staff checked the company; everybody in the account is told."""
    made = owners.start_replacement(tx, account_id, body["person_id"], Evidence(**body["evidence"]))
    location = url_for("owner_replacements.read_replacement", account_id=account_id, replacement_id=made.row.replacement_id)
    return shown(made), 201, {**etag(made.row.version), "Location": location}


@blueprint.route("", methods=["GET"])
@endpoint("privacy:read")
@blueprint.response(200, ReplacementList)
def list_replacements(tx: Tx, account_id: UUID) -> Any:
    """List the replacements of an account's owners, the latest first."""
    return {"items": [shown(each) for each in owners.list_replacements(tx, account_id)]}


@blueprint.route("/<uuid:replacement_id>", methods=["GET"])
@endpoint("privacy:read")
@blueprint.response(200, ReplacementOut, headers=VERSIONED)
def read_replacement(tx: Tx, account_id: UUID, replacement_id: UUID) -> Any:
    """Read the replacement of an owner."""
    every = owners.list_replacements(tx, account_id)
    found = next((each for each in every if each.row.replacement_id == replacement_id), None)
    if found is None:
        raise NotFoundError
    return shown(found), 200, etag(found.row.version)


@blueprint.route("/<uuid:replacement_id>", methods=["DELETE"])
@endpoint("privacy:write")
@blueprint.response(204)
def stop_replacement(tx: Tx, account_id: UUID, replacement_id: UUID) -> None:
    """Stop a replacement that waits; everybody in the account is told."""
    owners.stop(tx, account_id, replacement_id)


def shown(known: KnownReplacement) -> dict[str, Any]:
    """A replacement as it is shown, with the evidence."""
    row, evidence = known.row, known.evidence
    return {
        "id": row.replacement_id,
        "account_id": row.account_id,
        "person_id": row.person_id,
        "status": row.status,
        "evidence": {"documents": evidence.documents, "note": evidence.note},
        "checked_by": row.checked_by,
        "requested_at": row.requested_at,
        "effective_at": row.effective_at,
        "ended_at": row.ended_at,
    }
