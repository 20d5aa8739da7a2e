"""Requests of data subjects as the API takes and shows them, to staff and to account holders alike."""

from typing import Any, Final

from marshmallow import fields, validate

from cloudpriv.api.accounts import CustomerSchema
from cloudpriv.api.people import IdentityFields
from cloudpriv.api.schemas import Flag, Strict, UtcTime, any_text, example, short_text
from cloudpriv.mail_templates import LOCALES
from cloudpriv.platform.errors import FieldError, InvalidError
from cloudpriv.rights import requests
from cloudpriv.rights.cases import states
from cloudpriv.rights.requests import KnownRequest
from cloudpriv.rights.tables import Export, SubjectRequest

CHANNELS: Final = ("portal", "backend", "letter", "mail")
METHODS: Final = ("password", "code", "backend", "documents")
EXPORT_STATES: Final = ("pending", "running", "ready", "failed", "expired")
LONGEST_TEXT: Final = 4000  # characters that a person writes, or is answered
ASKED: Final = ("text", "changes", "restrict")


class ChangesSchema(IdentityFields):
    """What is to be rectified: of a person who they are, of an account its name and the customer company behind it."""

    username = short_text("kim", longest=100)
    account_name = short_text("acme-water", longest=100)
    customer = fields.Nested(CustomerSchema)


class AskedFields(Strict):
    """What is asked for."""

    type = fields.String(required=True, validate=validate.OneOf(requests.TYPES), metadata=example("access"))
    text = any_text("I have moved.", longest=LONGEST_TEXT)
    changes = fields.Nested(
        ChangesSchema, metadata={"description": "Of a rectification: applied at once. In words alone, it waits for staff."}
    )
    restrict = Flag(
        metadata={"description": "Of an objection: restrict the processing until it is decided (GDPR Article 18(1)(d))."}
    )
    language = fields.String(
        load_default=LOCALES[0], validate=validate.OneOf(LOCALES), metadata={"description": "Of an archive's readable page."}
    )


class IdentityOut(Strict):
    """How who asks was identified."""

    method = fields.String(required=True, validate=validate.OneOf(METHODS))
    verified_by = fields.String(
        required=True, metadata={"description": "Kind and id of the caller who says so, such as `client:…`."}
    )
    verified_at = UtcTime(required=True)


class RequestSummary(Strict):
    """A request under GDPR Articles 7(3) and 15 to 22, without what people wrote."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    person_id = fields.UUID(required=True, allow_none=True)
    scope = fields.String(required=True, validate=validate.OneOf(["account", "person"]))
    type = fields.String(required=True, validate=validate.OneOf(requests.TYPES))
    status = fields.String(required=True, validate=validate.OneOf(states.STATES))
    channel = fields.String(required=True, validate=validate.OneOf(CHANNELS))
    identity = fields.Nested(IdentityOut, required=True, allow_none=True)
    received_at = UtcTime(required=True)
    due_on = fields.Date(required=True, metadata={"description": "The last day to answer (GDPR Article 12(3))."})
    extended_at = UtcTime(required=True, allow_none=True)
    decided_at = UtcTime(required=True, allow_none=True)
    ground = fields.String(required=True, allow_none=True, validate=validate.OneOf(requests.GROUNDS))
    duplicate_of = fields.UUID(
        required=True, allow_none=True, metadata={"description": "The request that answers this one."}
    )
    effective_at = UtcTime(
        required=True, allow_none=True, metadata={"description": "When it takes effect, where that is later: an erasure's."}
    )
    completed_at = UtcTime(required=True, allow_none=True)
    export_id = fields.UUID(required=True, allow_none=True)


class RequestOut(RequestSummary):
    """A request under GDPR Articles 7(3) and 15 to 22."""

    why = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "Of a restriction: which case of GDPR Article 18(1) was chosen from the portal's list, in words."
        },
    )
    text = fields.String(required=True, allow_none=True, metadata={"description": "In the words of who asks."})
    changes = fields.Nested(
        ChangesSchema, required=True, allow_none=True, metadata={"description": "Kept until the request has ended."}
    )
    fields_changed = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "Of a rectification that has ended: which fields it was about, not their values."},
    )
    restrict = fields.Boolean(required=True)
    identity_note = fields.String(required=True, allow_none=True)
    extension_reason = fields.String(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True, metadata={"description": "Why it was refused."})
    outcome = fields.String(
        required=True, allow_none=True, metadata={"description": "What was done: a key such as `rectified`, or words."}
    )


class ExportOut(Strict):
    """The state of an export."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    request_id = fields.UUID(required=True)
    status = fields.String(required=True, validate=validate.OneOf(EXPORT_STATES))
    progress = fields.Integer(
        required=True, validate=validate.Range(min=0, max=100), metadata={"description": "Percent of the rows written."}
    )
    size = fields.Integer(
        required=True, allow_none=True, metadata={"description": "Bytes of the archive, so far while it is running."}
    )
    sha256 = fields.String(required=True, allow_none=True, metadata={"description": "Of the whole archive, in hex."})
    failure = fields.String(required=True, allow_none=True)
    created_at = UtcTime(required=True)
    ready_at = UtcTime(required=True, allow_none=True)
    expires_at = UtcTime(required=True, allow_none=True)


def asked_for(body: dict[str, Any]) -> dict[str, Any]:
    """What was asked, as a request keeps it. Raises InvalidError for what does not belong to the type."""
    type_, faults = body["type"], []
    if "changes" in body and type_ != "rectification":
        faults.append(FieldError("/changes", "belongs to a rectification"))
    if "restrict" in body and type_ != "objection":
        faults.append(FieldError("/restrict", "belongs to an objection"))
    if type_ == "rectification" and not body.get("changes") and "text" not in body:
        faults.append(FieldError("/changes", "or a text is needed: what is to be rectified"))
    if faults:
        raise InvalidError(errors=tuple(faults))
    return {name: body[name] for name in ASKED if name in body}


def summary(request: KnownRequest) -> dict[str, Any]:
    """A request without what people wrote."""
    row = request.row
    own = {
        "id": row.request_id,
        "ground": row.ground if request.is_told else None,
        "identity": _identity(row) if request.is_told else None,
        "export_id": request.export.export_id if request.export else None,
    }
    return {name: own[name] if name in own else getattr(row, name) for name in RequestSummary().fields}


def shown(request: KnownRequest) -> dict[str, Any]:
    """A whole request."""
    said = request.details
    return {
        **summary(request),
        "why": said.get("why"),
        "text": said.get("text"),
        "changes": said.get("changes"),
        "fields_changed": said.get("fields", []),
        "restrict": bool(said.get("restrict")),
        "identity_note": said.get("identity", {}).get("note"),
        "extension_reason": said.get("extension", {}).get("reason"),
        "reason": said.get("decision", {}).get("reason"),
        "outcome": said.get("outcome"),
    }


def state_of(export: Export) -> dict[str, Any]:
    """The state of an export."""
    members = [name for name in ExportOut().fields if name != "id"]
    return {"id": export.export_id, **{name: getattr(export, name) for name in members}}


def _identity(row: SubjectRequest) -> dict[str, Any] | None:
    if row.identity_method is None:
        return None
    return {
        "method": row.identity_method,
        "verified_by": row.identity_verified_by,
        "verified_at": row.identity_verified_at,
    }
