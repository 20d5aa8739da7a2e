"""/v1/logdata/retention: how long the customer has its log data kept."""

from typing import Any, Final

from marshmallow import fields, validate

from cloudpriv.api.answers import VERSIONED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint, etag, expected_version, transaction
from cloudpriv.api.logdata.access import account_of, runtime
from cloudpriv.api.schemas import NO_NUL, Strict, UtcTime, example, short_text
from cloudpriv.platform.db import Tx
from cloudpriv.processor.orders import retention
from cloudpriv.processor.orders.retention import RuleIn, Rules

blueprint: Final = Blueprint(
    "log_retention", __name__, url_prefix="/v1/logdata/retention", description="Customer-set retention of log data."
)
NAME: Final = (validate.Length(min=1, max=200), NO_NUL)
MOST_RULES: Final = 100
DEVICE: Final = {"description": "Null: all devices.", **example("pump-3")}
TAG: Final = {"description": "A tag of that device; null: all tags.", **example("level")}
PERIOD: Final = {
    "description": "ISO 8601 in days, months and years, from P10D to P10Y, counted from a point's own time.",
    **example("P90D"),
}


class LogRuleIn(Strict):
    """A rule. The narrowest counts: that of a tag over that of its device, that of a device over that of the account."""

    device = fields.String(load_default=None, allow_none=True, validate=NAME, metadata=DEVICE)
    tag = fields.String(load_default=None, allow_none=True, validate=NAME, metadata=TAG)
    period = short_text("P90D", required=True, longest=20)


class LogRulesIn(Strict):
    """All rules of the account; an empty list has everything kept until the account ends."""

    rules = fields.List(fields.Nested(LogRuleIn), required=True, validate=validate.Length(max=MOST_RULES))


class LogRuleOut(Strict):
    """A rule in force."""

    device = fields.String(required=True, allow_none=True, metadata=DEVICE)
    tag = fields.String(required=True, allow_none=True, metadata=TAG)
    period = fields.String(required=True, metadata=PERIOD)
    set_by = fields.String(required=True)
    set_at = UtcTime(required=True)


class LogRulesOut(Strict):
    """All rules of the account in force."""

    rules = fields.List(fields.Nested(LogRuleOut), required=True)


class SetLogRulesOut(LogRulesOut):
    """All rules of the account in force, and what they would erase if they acted at this moment."""

    would_erase = fields.Integer(
        required=True,
        metadata={"description": "Points that are over by these rules now; from the next day (UTC) on they go."},
    )


@blueprint.route("", methods=["GET"])
@endpoint("logdata:oversee")
@blueprint.response(200, LogRulesOut, headers=VERSIONED)
def read_retention(tx: Tx) -> Any:
    """Read the rules by which log data is erased; without any it is kept until the account ends."""
    rules = retention.read_rules(tx, account_of(tx))
    return shown(rules), 200, etag(rules.version)


@blueprint.route("", methods=["PUT"])
@endpoint("logdata:instruct", unit=False)
@blueprint.arguments(LogRulesIn)
@blueprint.response(200, SetLogRulesOut, headers=VERSIONED)
def set_retention(body: dict[str, Any]) -> Any:
    """Replace all rules; needs If-Match. They act from the next day (UTC) on; what is gone, no longer rule brings back."""
    version = expected_version()
    with transaction() as tx:
        account_id = account_of(tx)
        rules = retention.set_rules(tx, account_id, [RuleIn(**rule) for rule in body["rules"]], version)
    with transaction() as tx:
        would_erase = retention.count_due(tx, runtime().services.objects, account_id, rules)
    return {**shown(rules), "would_erase": would_erase}, 200, etag(rules.version)


def shown(rules: Rules) -> dict[str, Any]:
    """Rules as the API shows them."""
    return {
        "rules": [
            {
                **rules.names.of(retention.scope_of(row)),
                "period": row.period,
                "set_by": row.set_by,
                "set_at": row.set_at,
            }
            for row in rules.rows
        ]
    }
