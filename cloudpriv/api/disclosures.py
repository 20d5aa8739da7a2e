"""/v1/…/disclosures and /v1/…/recipient-notices: who was given data, and that they are told of what becomes of it."""

from typing import Any, Final
from uuid import UUID

from flask import url_for
from marshmallow import fields, validate

from cloudpriv.api.answers import CREATED, LISTED, VERSIONED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint, etag
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import PageArgs, Pattern, Strict, UtcTime, after_id, example, page, page_of, short_text
from cloudpriv.platform.classify import exported_categories
from cloudpriv.platform.db import ControllerBase, Tx
from cloudpriv.rights import disclosures, telling
from cloudpriv.rights.disclosures import KnownDisclosure
from cloudpriv.rights.tables import RecipientNotice

blueprint: Final = Blueprint("disclosures", __name__, url_prefix="/v1", description="Disclosures, and telling recipients.")
OF_ACCOUNT: Final = "/accounts/<uuid:account_id>/disclosures"
NOTICES: Final = "/accounts/<uuid:account_id>/recipient-notices"
CATEGORIES: Final = sorted(exported_categories(ControllerBase.metadata))
STATUSES: Final = ("pending", "told", "by_staff", "impossible")
COUNTRY: Final = Pattern("^[A-Z]{2}$", "Must be a country code (ISO 3166-1 alpha-2).")
SAFEGUARD: Final = {
    "description": "Needed outside the European Economic Area where no adequacy decision covers the country."
}
NOT_OPEN: Final = "It is not left to staff."
UNCHANGING: Final = 1  # the version of a row that nothing changes


class DisclosureIn(Strict):
    """A disclosure, recorded before the data goes."""

    person_id = fields.UUID(
        load_default=None, allow_none=True, metadata={"description": "Whose data it is; without, that of the whole account."}
    )
    recipient = short_text("Nordic Distribution AB", required=True)
    email = fields.Email(
        load_default=None,
        allow_none=True,
        validate=validate.Length(max=254),
        metadata={"description": "Where the recipient is told (GDPR Article 19).", **example("privacy@example.com")},
    )
    categories = fields.List(
        fields.String(validate=validate.OneOf(CATEGORIES)),
        required=True,
        validate=validate.Length(min=1),
        metadata={"examples": [["identification"]]},
    )
    purpose = short_text("Delivery of spare parts", required=True)
    country = fields.String(required=True, validate=COUNTRY, metadata=example("SE"))
    safeguard = fields.String(
        load_default=None, allow_none=True, validate=validate.OneOf(disclosures.SAFEGUARDS), metadata=SAFEGUARD
    )
    reference = short_text("ND-17", load_default=None, nullable=True)
    disclosed_at = UtcTime(metadata={"description": "Without, it is now."})


class DisclosureOut(Strict):
    """A disclosure."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    person_id = fields.UUID(required=True, allow_none=True)
    recipient = fields.String(required=True)
    email = fields.String(required=True, allow_none=True)
    categories = fields.List(fields.String(), required=True)
    purpose = fields.String(required=True)
    country = fields.String(required=True)
    safeguard = fields.String(required=True, allow_none=True, validate=validate.OneOf(disclosures.SAFEGUARDS))
    reference = fields.String(required=True, allow_none=True)
    disclosed_at = UtcTime(required=True)
    recorded_by = fields.String(required=True, metadata={"description": "Kind and id of who recorded it."})
    recorded_at = UtcTime(required=True)


class NoticeOut(Strict):
    """That a recipient has to be told, or was."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    disclosure_id = fields.UUID(required=True)
    request_id = fields.UUID(required=True, allow_none=True)
    kind = fields.String(required=True, validate=validate.OneOf(telling.KINDS))
    categories = fields.List(fields.String(), required=True)
    status = fields.String(
        required=True,
        validate=validate.OneOf(STATUSES),
        metadata={"description": "`pending` is being mailed; `by_staff` has no address that takes mail."},
    )
    created_at = UtcTime(required=True)
    told_at = UtcTime(required=True, allow_none=True)


@blueprint.route(OF_ACCOUNT, methods=["POST"])
@endpoint("privacy:write")
@blueprint.arguments(DisclosureIn)
@blueprint.response(201, DisclosureOut, headers=CREATED)
def record_disclosure(tx: Tx, body: dict[str, Any], account_id: UUID) -> Any:
    """Record that data is given to a recipient: refused where GDPR chapter V does not allow the transfer."""
    given = {"disclosed_at": tx.now, **body}
    disclosure = disclosures.record(tx, runtime().services.policy, account_id, **given)
    row = disclosure.row
    location = url_for("disclosures.read_disclosure", account_id=account_id, disclosure_id=row.disclosure_id)
    return _shown(disclosure), 201, {**etag(UNCHANGING), "Location": location}


@blueprint.route(OF_ACCOUNT, methods=["GET"])
@endpoint("privacy:read")
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(DisclosureOut, "Disclosure"), headers=LISTED)
def list_disclosures(tx: Tx, query: dict[str, Any], account_id: UUID) -> Any:
    """List the disclosures of an account's data, oldest first."""
    rows = disclosures.list_disclosures(tx, account_id, after=after_id(query), limit=query["limit"])
    return page(rows, query, _shown, lambda each: each.row.disclosure_id.bytes)


@blueprint.route(f"{OF_ACCOUNT}/<uuid:disclosure_id>", methods=["GET"])
@endpoint("privacy:read")
@blueprint.response(200, DisclosureOut, headers=VERSIONED)
def read_disclosure(tx: Tx, account_id: UUID, disclosure_id: UUID) -> Any:
    """Read a disclosure."""
    return _shown(disclosures.read_disclosure(tx, account_id, disclosure_id)), 200, etag(UNCHANGING)


@blueprint.route(NOTICES, methods=["GET"])
@endpoint("privacy:read")
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(NoticeOut, "RecipientNotice"), headers=LISTED)
def list_recipient_notices(tx: Tx, query: dict[str, Any], account_id: UUID) -> Any:
    """List what recipients of an account's data were told, or are to be told, oldest first."""
    rows = telling.list_notices(tx, account_id, after=after_id(query), limit=query["limit"])
    return page(rows, query, _notice, lambda notice: notice.notice_id.bytes)


@blueprint.route("/recipient-notices", methods=["GET"])
@endpoint("privacy:read")
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(NoticeOut, "RecipientNotice"), headers=LISTED)
def list_notices_for_staff(tx: Tx, query: dict[str, Any]) -> Any:
    """List what staff has to tell recipients, of all accounts of the client's service, oldest first."""
    rows = telling.list_for_staff(tx, after=after_id(query), limit=query["limit"])
    return page(rows, query, _notice, lambda notice: notice.notice_id.bytes)


@blueprint.route(f"{NOTICES}/<uuid:notice_id>/told", methods=["POST"])
@endpoint("privacy:write")
@blueprint.response(200, NoticeOut)
@blueprint.alt_response(409, description=NOT_OPEN)
def note_told(tx: Tx, account_id: UUID, notice_id: UUID) -> Any:
    """Note that staff has told a recipient."""
    return _notice(telling.settle(tx, account_id, notice_id, possible=True))


@blueprint.route(f"{NOTICES}/<uuid:notice_id>/impossible", methods=["POST"])
@endpoint("privacy:write")
@blueprint.response(200, NoticeOut)
@blueprint.alt_response(409, description=NOT_OPEN)
def note_impossible(tx: Tx, account_id: UUID, notice_id: UUID) -> Any:
    """Note that to tell a recipient is impossible, or takes disproportionate effort (GDPR Article 19)."""
    return _notice(telling.settle(tx, account_id, notice_id, possible=False))


def _shown(disclosure: KnownDisclosure) -> dict[str, Any]:
    row = disclosure.row
    return {
        "id": row.disclosure_id,
        "account_id": row.account_id,
        "person_id": row.person_id,
        "categories": row.categories,
        "country": row.country,
        "safeguard": row.safeguard,
        "disclosed_at": row.disclosed_at,
        "recorded_by": row.recorded_by,
        "recorded_at": row.recorded_at,
        **{name: disclosure.details[name] for name in ("recipient", "email", "purpose", "reference")},
    }


def _notice(row: RecipientNotice) -> dict[str, Any]:
    members = [name for name in NoticeOut().fields if name != "id"]
    return {"id": row.notice_id, **{name: getattr(row, name) for name in members}}
