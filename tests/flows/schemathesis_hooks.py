"""What no JSON Schema says about a request, told to schemathesis, so that it takes no refusal for a fault.

Only requests that are meant to be valid are changed, and only in what the API must judge by itself: the refusals are
tested in tests/api.
"""

from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext, Response

from cloudpriv.controller.credentials import check_hint
from cloudpriv.platform.errors import InvalidError

numbers = count(1)
cursors: dict[str, str] = {}  # to the path of the list that gave it, whose next page alone it opens

# Values of these headers are quoted, which schemathesis finds for formats that it is told of alone.
schemathesis.openapi.format("idempotency-key", st.integers(0, 999_999).map('"{}"'.format))
schemathesis.openapi.format("etag", st.integers(1, 9).map('"{}"'.format))


@schemathesis.hook
def after_call(_: HookContext, case: "Case[Any]", response: Response) -> None:
    """Note cursors."""
    if case.operation.method == "get" and response.status_code == 200 and b'"next_cursor"' in response.content:
        if not response.headers["content-type"][0].startswith("application/json"):
            return
        cursors[response.json().get("next_cursor") or ""] = str(urlsplit(response.request.url).path)


@schemathesis.hook
def map_case(_: HookContext, case: "Case[Any]") -> "Case[Any]":
    """Take out of a valid request what only looks valid: a made-up cursor, a key used before, a time to come, a bad hint."""
    if case.meta is not None and case.meta.generation.mode.is_positive:
        if isinstance(case.query, dict) and cursors.get(case.query.get("cursor", "")) != case.formatted_path:
            case.query.pop("cursor", None)
        if case.headers and "Idempotency-Key" in case.headers:
            case.headers["Idempotency-Key"] = f'"{next(numbers)}"'
        if isinstance(case.body, dict):
            case.body = _acceptable(dict(case.body))
    return case


def _acceptable(body: dict[str, Any]) -> dict[str, Any]:
    created_at = body.get("created_at")
    if isinstance(created_at, str) and datetime.fromisoformat(created_at.upper()) > datetime.now(UTC):
        del body["created_at"]
    if isinstance(body.get("hint"), str) and isinstance(body.get("password"), str) and _is_telling(body):
        body["hint"] = None
    return body


def _is_telling(body: dict[str, Any]) -> bool:
    try:
        check_hint(body["password"], body["hint"])
    except InvalidError:
        return True
    return False
