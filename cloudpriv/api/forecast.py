"""/v1/retention/forecast: how much falls due in which month."""

from typing import Any, Final

from marshmallow import fields, validate

from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import Pattern, QueryInteger, Strict, UtcTime
from cloudpriv.platform.actor import SERVICES
from cloudpriv.platform.db import Tx
from cloudpriv.retention import forecast
from cloudpriv.retention.tables import ForecastMonth

blueprint: Final = Blueprint(
    "forecast", __name__, url_prefix="/v1/retention/forecast", description="What the policy will have erased, and when."
)
CENTURY: Final = 1200  # months; no period is longer


class ForecastArgs(Strict):
    """Query of the forecast."""

    months = QueryInteger(
        validate=validate.Range(min=1, max=CENTURY),
        metadata={"description": "How many months, from the present one on; all without it."},
    )
    service = fields.String(
        validate=validate.OneOf(SERVICES),
        metadata={"description": "One service only. A client's own is all that it sees."},
    )


class ForecastMonthOut(Strict):
    """What falls due in one month of one service. The present month has what is overdue."""

    service = fields.String(required=True, validate=validate.OneOf(SERVICES))
    month = fields.String(
        required=True,
        validate=Pattern("^[0-9]{4}-(0[1-9]|1[0-2])$", "Must be a month."),
        metadata={"description": "A calendar month in UTC.", "examples": ["2026-11"]},
    )
    accounts = fields.Integer(required=True, metadata={"description": "Accounts that fall due, held ones among them."})
    records = fields.Integer(required=True, metadata={"description": "Their traffic records."})
    held_accounts = fields.Integer(
        required=True, metadata={"description": "Those of them that are restricted, or held whole or in part."}
    )
    held_records = fields.Integer(required=True, metadata={"description": "The traffic records of the held ones."})


class ForecastOut(Strict):
    """What falls due, by service and month; months with nothing are there as zeros."""

    counted_at = UtcTime(required=True, metadata={"description": "When it was counted: at most a day ago."})
    rule = fields.String(required=True, metadata={"description": "What it falls due by, such as `P7Y after last_traffic`."})
    items = fields.List(fields.Nested(ForecastMonthOut), required=True)


@blueprint.route("", methods=["GET"])
@endpoint("retention:read")
@blueprint.arguments(ForecastArgs, location="query")
@blueprint.response(200, ForecastOut)
def read_forecast(tx: Tx, query: dict[str, Any]) -> Any:
    """Read how many accounts and records fall due in each month, and how much of that is held."""
    found = forecast.read(tx, runtime().services.policy, **query)
    return {"counted_at": found.counted_at, "rule": found.rule, "items": [shown(row) for row in found.months]}


def shown(row: ForecastMonth) -> dict[str, Any]:
    """A month of the forecast as its members are called everywhere outside."""
    return {
        "service": row.service,
        "month": f"{row.month:%Y-%m}",
        "accounts": row.accounts,
        "records": row.records,
        "held_accounts": row.held_accounts,
        "held_records": row.held_records,
    }
