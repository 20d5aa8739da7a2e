"""What no JSON Schema says about a request, told to schemathesis, so that it gets further and takes no refusal for a fault.

Only requests that are meant to be valid are changed: to name what is there, and not to ask for what the API must refuse by
its own judgement. Those refusals are tested in tests/api.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext, Response
from schemathesis.core.failures import Failure
from schemathesis.openapi.checks import EnsureResourceAvailability, UseAfterFree

from cloudpriv.api.traffic import EXAMPLE
from cloudpriv.controller.credentials import check_hint
from cloudpriv.platform.errors import InvalidError
from cloudpriv.rights.cases.grounds import TYPES

cursors: dict[str, str] = {}  # to the path of the list that gave it, whose next page alone it opens
etags: dict[str, str] = {}  # by path
exports: list[str] = []  # ids that are told of in requests alone

# Values of these headers are quoted, which schemathesis finds for formats that it is told of alone.
schemathesis.openapi.format("idempotency-key", st.integers(0, 999_999).map('"{}"'.format))
schemathesis.openapi.format("etag", st.integers(1, 9).map('"{}"'.format))

IDENTITY = {"method": "documents", "note": "passport"}
DEVICE, TAG = "pump-1", "temperature"
KNOWN_NAMES = {"devices": [DEVICE], "tags": [TAG], "rules": [{"device": DEVICE, "tag": TAG, "period": "P90D"}]}
# By the collection that is added to, and the kind of what is.
FITTING: dict[tuple[str, str | None], dict[str, Any]] = {
    ("tokens", "device"): {"device": DEVICE},
    ("tokens", "reader"): {"device": None},
    ("deletions", None): {"device": DEVICE, "tag": TAG, "from": None, "before": None, "all": None},
    ("instructions", "delete"): {"device": DEVICE, "tag": TAG, "from": None, "until": None, "format": None},
    ("instructions", "export"): {"device": DEVICE, "tag": TAG, "from": None, "until": None, "format": "csv"},
    ("instructions", "support_read"): {
        "device": DEVICE, "tag": TAG, "from": None, "format": None,
        "until": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
    },
}  # fmt: skip
STAYS = {
    "DELETE /v1/accounts/{account_id}",
    "DELETE /v1/accounts/{account_id}/restriction",
    "DELETE /v1/accounts/{account_id}/people/{person_id}/restriction",
    "DELETE /v1/logdata/instructions/{instruction_id}",
}
values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())
records = st.dictionaries(st.sampled_from(sorted(EXAMPLE)) | st.text(), values, max_size=4).map(
    lambda changes: json.dumps({**EXAMPLE, **changes}).encode()
)
schemathesis.openapi.media_type("application/x-ndjson", st.lists(records | st.binary(), max_size=20).map(b"\n".join))


@schemathesis.hook
def after_call(_: HookContext, case: "Case[Any]", response: Response) -> None:
    """Note cursors, versions and exports."""
    if not (
        response.content and 200 <= response.status_code < 300 and "json" in response.headers.get("content-type", [""])[0]
    ):
        return
    path, answer = str(urlsplit(response.request.url).path), response.json()
    if "etag" in response.headers:
        etags[path] = response.headers["etag"][0]
    if "next_cursor" in answer and case.operation.method == "get":
        cursors[answer["next_cursor"] or ""] = path
    if "export_id" in answer:
        exports.append(answer["export_id"])


@schemathesis.hook
def map_case(_: HookContext, case: "Case[Any]") -> "Case[Any]":
    """Make a valid request one that can succeed."""
    if case.meta is not None and case.meta.generation.mode.is_positive:
        if "export_id" in (case.path_parameters or {}) and exports:
            case.path_parameters["export_id"] = exports[-1]
        if isinstance(case.query, dict) and cursors.get(case.query.get("cursor", "")) != case.formatted_path:
            case.query.pop("cursor", None)
        if case.headers and "Idempotency-Key" in case.headers:
            case.headers["Idempotency-Key"] = f'"{uuid4()}"'
        if case.headers and "If-Match" in case.headers:
            case.headers["If-Match"] = etags.get(case.formatted_path, case.headers["If-Match"])
        if isinstance(case.body, dict):
            case.body = _acceptable(dict(case.body)) | _named(case)
        if case.formatted_path.startswith("/v1/logdata/"):
            _name_what_is_there(case)
    return case


@schemathesis.hook
def before_call(_: HookContext, case: "Case[Any]", **__: Any) -> None:
    """Have members fit each other still, after what earlier answers told was put into the body."""
    if case.meta is not None and case.meta.generation.mode.is_positive and isinstance(case.body, dict):
        case.body = _acceptable(dict(case.body)) | _named(case)


@schemathesis.hook
def filter_failure(_: HookContext, failure: Failure, case: "Case[Any]", response: Response) -> bool:
    """What is no finding.

    An account stays to be read, with what belongs to it, until the erasure that its deletion begins (202) is done, how it
    stands with a restriction also where there is none, and an instruction after it was withdrawn. Not every request of a
    data subject has results. And a URL can be too long for the server, whatever the operation, as the description of the
    API says of all.
    """
    without_results = isinstance(failure, EnsureResourceAvailability) and case.path.endswith("/results")
    if response.status_code == 414 or without_results:
        return False
    return not (isinstance(failure, UseAfterFree) and failure.operation in STAYS)


def _acceptable(body: dict[str, Any]) -> dict[str, Any]:
    body = _acceptable_right(body)
    created_at = body.get("created_at")
    if isinstance(created_at, str) and datetime.fromisoformat(created_at.upper()) > datetime.now(UTC):
        del body["created_at"]
    if isinstance(body.get("hint"), str) and isinstance(body.get("password"), str) and _is_telling(body):
        body["hint"] = None
    if "authority" in body:
        body |= _acceptable_scope(body)
    return body


def _acceptable_right(body: dict[str, Any]) -> dict[str, Any]:
    """A request, an identification, a decision or a disclosure whose members fit each other."""
    dropped: set[str] = {"received_at", "disclosed_at"}
    if body.get("type") in TYPES:
        dropped |= {"changes"} if body["type"] == "objection" else {"changes", "restrict"}
        body = {"text": "as said", **body} | ({"identity": IDENTITY} if body.get("identity") else {})
    if body.get("method") in ("documents", "code"):  # nobody here reads the mail with the code
        dropped |= {"code", "code_id"}
        body = body | IDENTITY
    if body.get("method") == "backend":
        dropped |= {"code", "code_id"}
    if "decision" in body:
        granted = body["decision"] == "grant"
        dropped |= {"ground", "reason"} if granted else {"outcome"}
        body = body | ({} if granted else {"ground": "excessive"})
    if "reason" in body:
        body = body | {"reason": "as said"}
    if "recipient" in body:
        body = body | {"country": "SE", "person_id": None, "email": None}
    if body.get("decision") == "refuse":
        body = {"reason": "as said", **body}
    return {name: value for name, value in body.items() if name not in dropped}


def _named(case: "Case[Any]") -> dict[str, Any]:
    """Whom a code is mailed to: of an account somebody has to be named, whom nobody here knows; and what nobody guesses."""
    if case.path.endswith("/credentials"):
        return {"password": "brass kettle above the quay"}
    return {"person_id": str(uuid4())} if case.path.endswith("/code") else {}


def _name_what_is_there(case: "Case[Any]") -> None:
    """The device and tag that the test furnished, and members that fit each other."""
    if isinstance(case.query, dict):
        for name, known in (("device", [DEVICE]), ("tag", [TAG])):
            if name in case.query:
                case.query[name] = known if isinstance(case.query[name], list) else known[0]
        case.query.pop("to", None)
    if isinstance(case.body, dict):
        body = case.body | {name: known for name, known in KNOWN_NAMES.items() if name in case.body}
        kind = body.get("kind")
        body |= FITTING.get((case.formatted_path.rpartition("/")[2], kind if isinstance(kind, str) else None), {})
        body.pop("to", None)
        case.body = body  # type: ignore[assignment]  # what JSON can hold


def _acceptable_scope(hold: dict[str, Any]) -> dict[str, Any]:
    """A hold of what there is, named as its scope needs."""
    category = (hold.get("category") or "credentials") if hold.get("scope") == "category" else None
    return {"scope": "category" if category else "account", "category": category, "person_id": None, "until": None}


def _is_telling(body: dict[str, Any]) -> bool:
    try:
        check_hint(body["password"], body["hint"])
    except InvalidError:
        return True
    return False
