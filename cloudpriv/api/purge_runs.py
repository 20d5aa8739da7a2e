"""/v1/purge-runs: what was planned to be erased together, what the guards found in it, and its approval."""

from typing import Any, Final
from uuid import UUID

from marshmallow import fields, validate

from cloudpriv.api.answers import LISTED, VERSIONED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import PageArgs, Strict, UtcTime, after_id, page, page_of
from cloudpriv.platform.actor import SERVICES
from cloudpriv.platform.db import Tx
from cloudpriv.retention import approval, guards, runs
from cloudpriv.retention.tables import PurgeRun

blueprint: Final = Blueprint("purge_runs", __name__, url_prefix="/v1/purge-runs", description="Plans of erasures, approved.")


class FindingOut(Strict):
    """What a guard found."""

    guard = fields.String(required=True, validate=validate.OneOf(guards.GUARDS))
    detail = fields.String(required=True, metadata={"description": "The same in words."})
    figures = fields.Dict(required=True, keys=fields.String(), metadata={"description": "What it was found by."})


class RunOut(Strict):
    """A run: accounts of one service that fell due together."""

    id = fields.UUID(required=True)
    service = fields.String(required=True, validate=validate.OneOf(SERVICES))
    status = fields.String(
        required=True,
        validate=validate.OneOf(["proposed", "waiting", "approved"]),
        metadata={
            "description": "`proposed` is a dry run; `waiting` was stopped by a guard, until somebody approves; `approved` "
            "goes ahead, with `approved_by`, or since no guard objected."
        },
    )
    rule = fields.String(required=True)
    policy_version = fields.String(required=True)
    accounts = fields.Integer(required=True)
    open = fields.Integer(required=True, metadata={"description": "Erasures of it that have not ended."})
    findings = fields.List(fields.Nested(FindingOut), required=True)
    planned_by = fields.String(required=True, metadata={"description": "Kind and id of who planned it."})
    planned_at = UtcTime(required=True)
    approved_by = fields.String(required=True, allow_none=True)
    approved_at = UtcTime(required=True, allow_none=True)


@blueprint.route("", methods=["GET"])
@endpoint("retention:read")
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(RunOut, "PurgeRun"), headers=LISTED)
def list_runs(tx: Tx, query: dict[str, Any]) -> Any:
    """List the runs of the client's service, in order of planning."""
    rows = runs.list_runs(tx, after=after_id(query), limit=query["limit"])
    left = runs.count_open(tx, [row.run_id for row in rows])
    return page(rows, query, lambda row: _shown(row, left[row.run_id]), lambda row: row.run_id.bytes)


@blueprint.route("/<uuid:run_id>", methods=["GET"])
@endpoint("retention:read")
@blueprint.response(200, RunOut, headers=VERSIONED)
def read_run(tx: Tx, run_id: UUID) -> Any:
    """Read a run, and what stopped it if something did."""
    return _answer(tx, runs.read_run(tx, run_id))


@blueprint.route("/<uuid:run_id>/approve", methods=["POST"])
@endpoint("retention:approve")
@blueprint.response(200, RunOut, headers=VERSIONED)
@blueprint.alt_response(404, description="There is no such run.")
@blueprint.alt_response(409, description="It does not wait, or was planned by this client.")
def approve_run(tx: Tx, run_id: UUID) -> Any:
    """Let a whole run go ahead that the guards stopped; not for whoever planned it.

    Where the guards find more now than `findings` showed, that is added and the run stays `waiting`: approve it again.
    """
    return _answer(tx, approval.approve(tx, runtime().services.terms(tx), run_id))


def _answer(tx: Tx, row: PurgeRun) -> Any:
    left = runs.count_open(tx, [row.run_id])[row.run_id]
    return _shown(row, left), 200, {"ETag": f'"{row.status}-{left}"'}


def _shown(row: PurgeRun, left: int) -> dict[str, Any]:
    return {
        "id": row.run_id,
        "service": row.service,
        "status": row.status,
        "rule": row.rule,
        "policy_version": row.policy_version,
        "accounts": row.accounts,
        "open": left,
        "findings": row.findings,
        "planned_by": row.planned_by,
        "planned_at": row.planned_at,
        "approved_by": row.approved_by,
        "approved_at": row.approved_at,
    }
