"""/v1/requests/{id}/code and /verify: who made a request, by a backend's or staff's word, or by a code that is checked."""

from typing import Any, Final
from uuid import UUID

from marshmallow import fields, validate

from cloudpriv.api.answers import VERSIONED
from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint, etag
from cloudpriv.api.problems import refuse
from cloudpriv.api.request_schemas import LONGEST_TEXT, RequestOut, shown
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import Strict, UtcTime, any_text, example, short_text
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import FieldError, InvalidError, WrongCodeError
from cloudpriv.rights import handling, request_codes
from cloudpriv.rights.requests import Identity

blueprint: Final = Blueprint("request_askers", __name__, url_prefix="/v1", description="Who made a request.")
LONGEST_CODE: Final = 40  # with what people type between its letters


class AskerIdentityIn(Strict):
    """How the asker was identified: by the backend that has them signed in, or by documents that staff looked at."""

    method = fields.String(required=True, validate=validate.OneOf(["backend", "documents"]), metadata=example("documents"))
    note = any_text("Extract of the register of companies", longest=LONGEST_TEXT)


class VerificationIn(AskerIdentityIn):
    """How the asker was identified: also by the code that was mailed to their registered address, which is checked."""

    method = fields.String(
        required=True, validate=validate.OneOf(["backend", "documents", "code"]), metadata=example("documents")
    )
    code_id = fields.UUID(metadata={"description": "Of a `code`: the `id` that was answered when it was mailed."})
    code = short_text("ABCD-EFGH", longest=LONGEST_CODE)


class CodeIn(Strict):
    """Who is to be mailed a code."""

    person_id = fields.UUID(
        metadata={"description": "Of a request about the account as a whole: the owner who asked; otherwise not needed."}
    )


class CodeOut(Strict):
    """A code that was mailed: what it is typed for, and how long."""

    id = fields.UUID(required=True, metadata={"description": "The `code_id` to verify with, for five tries."})
    account_id = fields.UUID(required=True)
    request_id = fields.UUID(required=True)
    person_id = fields.UUID(required=True)
    expires_at = UtcTime(required=True)
    mailed = fields.Boolean(
        required=True, metadata={"description": "`false`: one was mailed less than ten minutes ago, which fits still."}
    )


@blueprint.route("/requests/<uuid:request_id>/verify", methods=["POST"])
@endpoint("privacy:write", answer_names_account=True)
@blueprint.arguments(VerificationIn)
@blueprint.response(200, RequestOut, headers=VERSIONED)
@blueprint.alt_response(409, description="Its asker is identified already, or it has ended.")
def verify_request(tx: Tx, body: dict[str, Any], request_id: UUID) -> Any:
    """Note how the asker was identified. What was asked for is carried out, an erasure too, unless a decision is needed.

    Who says `code` sends the one that was mailed to the asker: a wrong one is a try, of which there are five.
    """
    policy = runtime().services.policy
    _check_code(body)
    if body["method"] == "code":
        known = request_codes.verify_by_code(tx, policy, request_id, body["code_id"], body["code"])
    else:
        known = handling.verify(tx, policy, request_id, identified(tx, body, "/note"))
    if known is None:
        return refuse(WrongCodeError())  # not raised: the try is to count
    return shown(known), 200, etag(known.row.version)


@blueprint.route("/requests/<uuid:request_id>/code", methods=["POST"])
@endpoint("privacy:write", answer_names_account=True)
@blueprint.arguments(CodeIn)
@blueprint.response(200, CodeOut)
@blueprint.alt_response(409, description="Its asker is identified already, or it has ended.")
def send_request_code(tx: Tx, body: dict[str, Any], request_id: UUID) -> Any:
    """Mail a one-time code to the asker's registered address, to verify with: at most every ten minutes."""
    code = request_codes.send_code(tx, request_id, body.get("person_id"))
    return {
        "id": code.sent.code_id,
        "account_id": code.row.account_id,
        "request_id": request_id,
        "person_id": code.person_id,
        "expires_at": code.sent.expires_at,
        "mailed": code.sent.mailed,
    }


def identified(tx: Tx, given: dict[str, Any], pointer: str) -> Identity:
    """What a caller says of the asker; raises InvalidError for documents that nobody says anything of."""
    if given["method"] == "documents" and "note" not in given:
        raise InvalidError(errors=(FieldError(pointer, "is needed: which documents, and how they were checked"),))
    return Identity(given["method"], tx.actor.name, given.get("note"))


def _check_code(body: dict[str, Any]) -> None:
    """Raises InvalidError for a code that is missing, or is none of the method's; for a note of a method that has none."""
    by_code = body["method"] == "code"
    needed, wrong = ({"code_id", "code"}, {"note"}) if by_code else (set(), {"code_id", "code"})
    faults = [FieldError(f"/{name}", "is needed") for name in sorted(needed - body.keys())]
    faults += [FieldError(f"/{name}", "does not belong to this method") for name in sorted(wrong & body.keys())]
    if faults:
        raise InvalidError(errors=tuple(faults))
