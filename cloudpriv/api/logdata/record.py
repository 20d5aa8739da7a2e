"""/v1/logdata/record: the processor's record for the customer (GDPR Article 30(2)) and the terms in force."""

from typing import Any, Final

from flask import request
from marshmallow import fields

from cloudpriv.api.answers import headers
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint
from cloudpriv.api.logdata import instructions, retention
from cloudpriv.api.logdata.access import account_of, runtime
from cloudpriv.api.schemas import Strict, UtcTime
from cloudpriv.platform.db import Tx
from cloudpriv.policy.register import choose_language
from cloudpriv.processor.orders import record
from cloudpriv.processor.orders.record import Facts

blueprint: Final = Blueprint(
    "log_record", __name__, url_prefix="/v1/logdata/record", description="The processor's record for the customer."
)


class LogFactsOut(Strict):
    """What is held of the account, and what was instructed and done. Counts are by kind, cause, status or type."""

    account_id = fields.UUID(required=True)
    as_of = UtcTime(required=True)
    since = UtcTime(required=True)
    devices = fields.Integer(required=True)
    tags = fields.Integer(required=True)
    points = fields.Integer(required=True, metadata={"description": "Stored, those of deletions under way included."})
    bytes = fields.Integer(required=True, metadata={"description": "Sealed, as they are stored."})
    first_point_at = UtcTime(required=True, allow_none=True)
    last_point_at = UtcTime(required=True, allow_none=True)
    tokens = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    instructions_given = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    instructions_running = fields.List(fields.Nested(instructions.InstructionOut), required=True)
    retention = fields.List(fields.Nested(retention.LogRuleOut), required=True)
    deletions = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    exports = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    requests = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)


class LogRecordOut(Strict):
    """The processor's record. What the policy file says nothing of is null or an empty list."""

    language = fields.String(required=True)
    policy_version = fields.String(required=True)
    terms = fields.Dict(required=True)
    controller = fields.String(required=True, allow_none=True)
    processors = fields.List(
        fields.Dict(),
        required=True,
        metadata={"description": "The companies by service; the account's is that of its service."},
    )
    categories = fields.List(fields.Dict(), required=True)
    sub_processors = fields.List(fields.Dict(), required=True)
    sub_processing = fields.String(required=True, allow_none=True)
    transfers = fields.Dict(required=True)
    security = fields.List(fields.Dict(), required=True)
    assistance = fields.List(fields.Dict(), required=True)
    audits = fields.String(required=True, allow_none=True)
    end = fields.List(fields.Dict(), required=True)
    account = fields.Nested(LogFactsOut, required=True)


@blueprint.route("", methods=["GET"])
@endpoint("logdata:oversee")
@blueprint.doc(parameters=[{"name": "Accept-Language", "in": "header", "schema": {"type": "string"}, "required": False}])
@blueprint.response(200, LogRecordOut, headers=headers("Content-Language"))
def read_record(tx: Tx) -> Any:
    """Read on which terms and how log data is processed, in the language asked for, and what is held and done."""
    policy = runtime().services.policy
    language = choose_language(request.accept_languages, policy.languages)
    answer = {**policy.as_processor_record(language), "account": _shown(record.read(tx, account_of(tx)))}
    return answer, 200, {"Content-Language": language, "Vary": "Accept-Language"}


def _shown(facts: Facts) -> dict[str, Any]:
    told = {name: value for name, value in vars(facts).items() if name not in ("size", "instructions", "running")}
    return {
        **told,
        "bytes": facts.size,
        "instructions_given": facts.instructions,
        "instructions_running": [instructions.shown(each) for each in facts.running],
        "retention": retention.shown(facts.retention)["rules"],
    }
