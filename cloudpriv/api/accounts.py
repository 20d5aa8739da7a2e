"""/v1/accounts: opened, read, changed and closed by the backend of their service."""

from typing import Any, Final
from uuid import UUID

from flask import url_for
from marshmallow import fields, validate

from cloudpriv.api.answers import CREATED, LISTED, STARTED, VERSIONED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import call, endpoint, etag, expected_version
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import PageArgs, Strict, UtcTime, after_id, any_text, example, page, page_of, short_text
from cloudpriv.controller import accounts
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.platform.actor import SERVICES
from cloudpriv.platform.db import Tx
from cloudpriv.retention import due, purge
from cloudpriv.rights import effects

blueprint: Final = Blueprint("accounts", __name__, url_prefix="/v1/accounts", description="Service accounts of customers.")


class CustomerSchema(Strict):
    """The customer company behind an account."""

    company_name = short_text("Acme Water Ltd", nullable=True)
    company_id = short_text("SE556000-0001", nullable=True, longest=64)


class AccountIn(Strict):
    """A new account."""

    account_name = short_text("acme-water", required=True, longest=100)
    customer = fields.Nested(CustomerSchema, load_default=dict)
    created_at = UtcTime(
        metadata={"description": "In the past, for an account brought over.", **example("2018-08-01T00:00:00Z")}
    )


class AccountPatch(Strict):
    """Members to change."""

    account_name = short_text("acme-water", longest=100)
    customer = fields.Nested(CustomerSchema)


class AccountOut(Strict):
    """An account."""

    id = fields.UUID(required=True)
    service = fields.String(required=True, validate=validate.OneOf(SERVICES))
    account_name = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(["active", "restricted", "closing", "purging"]))
    customer = fields.Nested(CustomerSchema, required=True)
    created_at = UtcTime(required=True)
    last_traffic_at = UtcTime(required=True, allow_none=True)
    closes_at = UtcTime(
        required=True, allow_none=True, metadata={"description": "Until when a closing that was asked for can be undone."}
    )
    restriction_ends_at = UtcTime(
        required=True, allow_none=True, metadata={"description": "When a restriction ends, once that was announced."}
    )
    purge_due_on = fields.Date(
        required=True,
        metadata={"description": "From this day (00:00 UTC) it may be erased, unless traffic comes before."},
    )


class LookupIn(Strict):
    """The account to look up; in the body, because a name has no place in a URL."""

    account_name = any_text("acme-water", required=True, longest=100)


class PurgeStarted(Strict):
    """The erasure that was started."""

    purge_id = fields.UUID(required=True)


@blueprint.route("", methods=["POST"])
@endpoint("accounts:write", answer_names_account=True)
@blueprint.arguments(AccountIn)
@blueprint.response(201, AccountOut, headers=CREATED)
def open_account(tx: Tx, body: dict[str, Any]) -> Any:
    """Open an account."""
    service = tx.actor.service
    assert service is not None  # noqa: S101  every client is bound to one
    account = accounts.open_account(tx, service, body["account_name"], body["customer"], body.get("created_at"))
    location = url_for("accounts.read_account", account_id=account.row.account_id)
    return shown(account), 201, {**etag(account.row.version), "Location": location}


@blueprint.route("", methods=["GET"])
@endpoint("accounts:read")
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(AccountOut, "Account"), headers=LISTED)
def list_accounts(tx: Tx, query: dict[str, Any]) -> Any:
    """List the accounts of the client's service."""
    rows = accounts.list_accounts(tx, after=after_id(query), limit=query["limit"])
    return page(rows, query, shown, lambda account: account.row.account_id.bytes)


@blueprint.route("/lookup", methods=["POST"])
@endpoint("accounts:read", answer_names_account=True)
@blueprint.arguments(LookupIn)
@blueprint.response(200, AccountOut, headers=VERSIONED)
@blueprint.alt_response(404, description="There is no such account.")
def look_up_account(tx: Tx, body: dict[str, Any]) -> Any:
    """Read the account of a name."""
    account = accounts.read_account_by_name(tx, body["account_name"])
    return shown(account), 200, etag(account.row.version)


@blueprint.route("/<uuid:account_id>", methods=["GET"])
@endpoint("accounts:read", unit=False)
@blueprint.response(200, AccountOut, headers=VERSIONED)
def read_account(account_id: UUID) -> Any:
    """Read an account."""
    with call().statement() as tx:
        account = accounts.read_account(tx, account_id)
    return shown(account), 200, etag(account.row.version)


@blueprint.route("/<uuid:account_id>", methods=["PATCH"])
@endpoint("accounts:write")
@blueprint.arguments(AccountPatch)
@blueprint.response(200, AccountOut, headers=VERSIONED)
def change_account(tx: Tx, body: dict[str, Any], account_id: UUID) -> Any:
    """Change members of an account; needs If-Match."""
    account = effects.rectify_account(tx, account_id, expected_version(), body)
    return shown(account), 200, etag(account.row.version)


@blueprint.route("/<uuid:account_id>", methods=["DELETE"])
@endpoint("accounts:write")
@blueprint.response(202, PurgeStarted, headers=STARTED)
def close_account(tx: Tx, account_id: UUID) -> Any:
    """Start the erasure of an account; needs If-Match. Its progress is at Location."""
    started = purge.request_erasure(tx, runtime().services.policy, account_id, expected_version())
    location = url_for("purges.read_purge", purge_id=started.purge_id)
    return {"purge_id": started.purge_id}, 202, {"Location": location}


def shown(account: OpenedAccount) -> dict[str, Any]:
    """An account as the API shows it."""
    row, profile = account.row, account.profile
    return {
        "id": row.account_id,
        "service": row.service,
        "account_name": profile["account_name"],
        "status": row.status,
        "customer": {"company_name": profile.get("company_name"), "company_id": profile.get("company_id")},
        "created_at": row.created_at,
        "last_traffic_at": row.last_traffic_at,
        "closes_at": row.closes_at,
        "restriction_ends_at": row.restriction_ends_at,
        "purge_due_on": due.purge_due_on(runtime().services.policy, row.created_at, row.last_traffic_at),
    }
