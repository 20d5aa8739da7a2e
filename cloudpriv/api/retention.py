"""/v1/retention and /v1/purges: what the policy says must go, how far its erasure is, and who lets it."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from flask import url_for
from marshmallow import fields, validate

from cloudpriv.api.accounts import PurgeStarted
from cloudpriv.api.answers import LISTED, STARTED, VERSIONED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import PageArgs, Strict, UtcTime, after, after_id, page, page_of
from cloudpriv.platform.actor import SERVICES
from cloudpriv.platform.db import Tx
from cloudpriv.retention import approval, due, purge, runs
from cloudpriv.retention.due import DueAccount
from cloudpriv.retention.steps import STEPS
from cloudpriv.retention.tables import Purge

blueprint: Final = Blueprint("retention", __name__, url_prefix="/v1/retention", description="What the policy says must go.")
purges: Final = Blueprint("purges", __name__, url_prefix="/v1/purges", description="Erasures of accounts.")

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
BEFORE_EPOCH: Final = 2**63  # a cursor's time is never negative: accounts may have been opened before 1970


class DueOut(Strict):
    """An account that is due."""

    account_id = fields.UUID(required=True)
    service = fields.String(required=True, validate=validate.OneOf(SERVICES))
    last_activity_at = UtcTime(
        required=True,
        metadata={"description": "The later of its creation and its latest traffic: what its period runs from."},
    )
    due_since = UtcTime(required=True, metadata={"description": "Since when it may be erased."})


class PurgeIn(Strict):
    """The account to erase."""

    account_id = fields.UUID(required=True)


class PurgeOut(Strict):
    """The erasure of an account."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(
        required=True,
        allow_none=True,
        metadata={"description": "None once it is done: then nothing here names the account."},
    )
    service = fields.String(required=True, validate=validate.OneOf(SERVICES))
    trigger = fields.String(required=True, validate=validate.OneOf(["policy", "request", "replay"]))
    rule = fields.String(required=True, metadata={"description": "What it is erased by, such as `P7Y after last_traffic`."})
    policy_version = fields.String(required=True)
    run_id = fields.UUID(
        required=True,
        allow_none=True,
        metadata={"description": "The run that planned it; none for an erasure that was asked for."},
    )
    status = fields.String(
        required=True,
        validate=validate.OneOf(["proposed", "waiting", "planned", "running", "done", "cancelled"]),
        metadata={"description": "`waiting` is for a second person's approval; `planned` also while a legal hold lasts."},
    )
    step = fields.String(required=True, validate=validate.OneOf(STEPS))
    counts = fields.Dict(
        required=True,
        keys=fields.String(),
        values=fields.Integer(),
        metadata={"description": "Rows erased so far, by table, and objects."},
    )
    attempts = fields.Integer(required=True, metadata={"description": "How many workers have taken it up."})
    planned_at = UtcTime(required=True)
    shredded_at = UtcTime(
        required=True,
        allow_none=True,
        metadata={"description": "When the data key was destroyed: from then on nothing brings the account back."},
    )
    finished_at = UtcTime(required=True, allow_none=True)
    certificate_id = fields.UUID(required=True, allow_none=True)


@blueprint.route("/due", methods=["GET"])
@endpoint("retention:read")
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(DueOut, "Due"), headers=LISTED)
def list_due(tx: Tx, query: dict[str, Any]) -> Any:
    """List the accounts that are due to be erased, longest idle first."""
    rows = due.list_due(tx, runtime().services.policy, after=_position(after(query)), limit=query["limit"])
    return page(rows, query, _due_shown, _cursor)


@purges.route("", methods=["POST"])
@endpoint("retention:write")
@purges.arguments(PurgeIn)
@purges.response(202, PurgeStarted, headers=STARTED)
@purges.alt_response(404, description="There is no such account.")
def plan_purge(tx: Tx, body: dict[str, Any]) -> Any:
    """Erase a due account; its progress is at Location. New traffic that comes before the erasure begins cancels it.

    Where the guards object, as its `status` then says, it waits for approval by another client.
    """
    row = runs.plan_account(tx, runtime().services.terms(tx), body["account_id"])
    return _started(row)


@purges.route("", methods=["GET"])
@endpoint("retention:read")
@purges.arguments(PageArgs, location="query")
@purges.response(200, page_of(PurgeOut, "Purge"), headers=LISTED)
def list_purges(tx: Tx, query: dict[str, Any]) -> Any:
    """List the erasures of accounts of the client's service, in order of planning."""
    rows = purge.list_purges(tx, after=after_id(query), limit=query["limit"])
    return page(rows, query, _shown, lambda row: row.purge_id.bytes)


@purges.route("/<uuid:purge_id>", methods=["GET"])
@endpoint("retention:read")
@purges.response(200, PurgeOut, headers=VERSIONED)
def read_purge(tx: Tx, purge_id: UUID) -> Any:
    """Read how far an erasure is."""
    row = purge.read_purge(tx, purge_id)
    version = f"{row.status}-{row.step}-{row.attempts}-{sum(row.counts.values())}"
    return _shown(row), 200, {"ETag": f'"{version}"'}


@purges.route("/<uuid:purge_id>/approve", methods=["POST"])
@endpoint("retention:approve")
@purges.response(202, PurgeStarted, headers=STARTED)
@purges.alt_response(404, description="There is no such erasure.")
@purges.alt_response(409, description="It does not wait, or was planned by this client.")
def approve_purge(tx: Tx, purge_id: UUID) -> Any:
    """Let one erasure go ahead that the guards stopped; not for whoever planned it. Others of its run go on waiting."""
    return _started(approval.approve_purge(tx, runtime().services.terms(tx), purge_id))


def _started(row: Purge) -> Any:
    # The account is not named: an answer kept for its Idempotency-Key outlives the account.
    return {"purge_id": row.purge_id}, 202, {"Location": url_for("purges.read_purge", purge_id=row.purge_id)}


def _shown(row: Purge) -> dict[str, Any]:
    return {
        "id": row.purge_id,
        "account_id": row.account_id,
        "service": row.service,
        "trigger": row.trigger,
        "rule": row.rule,
        "policy_version": row.policy_version,
        "run_id": row.run_id,
        "status": row.status,
        "step": row.step,
        "counts": row.counts,
        "attempts": row.attempts,
        "planned_at": row.planned_at,
        "shredded_at": row.shredded_at,
        "finished_at": row.finished_at,
        "certificate_id": row.certificate_id,
    }


def _due_shown(account: DueAccount) -> dict[str, Any]:
    return {
        "account_id": account.account_id,
        "service": account.service,
        "last_activity_at": account.last_activity_at,
        "due_since": account.due_since,
    }


def _cursor(account: DueAccount) -> bytes:
    since_epoch = (account.last_activity_at - EPOCH) // MICROSECOND
    return (since_epoch + BEFORE_EPOCH).to_bytes(8, "big") + account.account_id.bytes


def _position(cursor: bytes | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    since_epoch = int.from_bytes(cursor[:8], "big") - BEFORE_EPOCH
    return EPOCH + since_epoch * MICROSECOND, UUID(bytes=cursor[8:])
