"""/v1/policy: the register of processing in force (GDPR Articles 13 and 30)."""

from typing import Any, Final

from flask import request
from marshmallow import Schema, fields

from cloudpriv.api.answers import headers
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import PUBLIC, call, endpoint
from cloudpriv.api.runtime import runtime
from cloudpriv.policy.register import Policy, choose_language

blueprint: Final = Blueprint("policy", __name__, url_prefix="/v1/policy", description="The privacy policy as a register.")
ENTRIES: Final = ("statements", "controllers", "services", "lawful_bases", "anchors", "activities", "rights", "exercise")
Next: Final = Schema.from_dict(
    {
        "version": fields.String(required=True),
        "valid_from": fields.String(required=True, metadata={"format": "date"}),
        "major": fields.Boolean(required=True),
    },
    name="NextPolicy",
)
Register: Final = Schema.from_dict(
    {
        "language": fields.String(required=True),
        "version": fields.String(required=True),
        "valid_from": fields.String(required=True, metadata={"format": "date"}),
        "languages": fields.List(fields.String(), required=True),
        "title": fields.String(required=True),
        "supervisory_authority": fields.Dict(required=True),
        "sharing": fields.Dict(required=True),
        "major": fields.Boolean(
            required=True, metadata={"description": "Whether it changes so much that every owner is told."}
        ),
        "next": fields.Nested(
            Next,
            required=True,
            allow_none=True,
            metadata={"description": "The version that is announced and not in force yet; null while there is none."},
        ),
        "housekeeping": fields.List(
            fields.Dict(), required=True, metadata={"description": "What is kept of the service itself."}
        ),
        "processor": fields.Dict(
            required=True,
            allow_none=True,
            metadata={"description": "On which terms log data is processed."},
        ),
        **{name: fields.List(fields.Dict(), required=True) for name in ENTRIES},
    },
    name="Register",
)


@blueprint.route("", methods=["GET"])
@endpoint(PUBLIC)
@blueprint.doc(parameters=[{"name": "Accept-Language", "in": "header", "schema": {"type": "string"}, "required": False}])
@blueprint.response(200, Register, headers=headers("Content-Language"))
def read_policy() -> Any:
    """The register in force, in the language asked for (English, Swedish, French or Spanish)."""
    policies, now = runtime().services.policies, call().now
    policy = policies.at(now)
    language = choose_language(request.accept_languages, policy.languages)
    register = {**policy.as_register(language), "next": _in_short(policies.after(now))}
    return register, 200, {"Content-Language": language, "Vary": "Accept-Language"}


def _in_short(policy: Policy | None) -> dict[str, Any] | None:
    if policy is None:
        return None
    return {"version": policy.version, "valid_from": policy.valid_from.isoformat(), "major": policy.major}
