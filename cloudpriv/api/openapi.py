"""The OpenAPI 3.1 document, generated from the routes; `openapi.yaml` is its checked-in copy.

What an operation may refuse follows from what it takes: a token, a body, an id in the path, If-Match. What follows from
nothing else is declared where the route is, by `alt_response`. There is no `default` answer: a status that is not listed
is a fault of this document or of the API.
"""

import re
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Final

import yaml
from flask import Flask

from cloudpriv.api.answers import HEADERS, OF_ALL, OF_LIMITED, PROBLEM, headers, refusal, refusals
from cloudpriv.api.endpoint import INTERNAL, OPEN, Access, Served, access_of, is_of_api, plane_of
from cloudpriv.api.links import add_links
from cloudpriv.api.problems import MEDIA_TYPE
from cloudpriv.controller.clients import SCOPES
from cloudpriv.platform.actor import HOLDER, LOG_DATA_SCOPES, Kind

METHODS: Final = ("get", "post", "put", "patch", "delete")
ABOUT: Final = (
    "The system of record for the personal data of an industrial-IoT cloud. It has two planes, each served by processes of "
    "its own (`x-plane`). Of the controller plane, backends call it with access tokens from `/oauth2/token`; each is bound "
    "to one service and sees nothing of another; account holders use their rights with sessions from `/v1/session`. Of the "
    "processor plane, customers call it with tokens of their account, which its owner makes with such a session. "
    "Refusals are problems (RFC 9457). "
    "What reaches no operation is refused with 404 or 405, what is no HTTP that the server takes with 400, 414, 417, 431 "
    "or 501."
)
# Who may call, by the kinds of callers of the processor plane.
BEARERS: Final[dict[Kind, str]] = {
    "device": "A device's token (`cpd_…`): appends for that one device.",
    "reader": "A reader's token (`cpr_…`): reads, deletes and instructs in its account.",
    "owner": "A session of an account's owner, from `/v1/session` of the controller plane: also makes and revokes tokens.",
}
BACKEND: Final = "backend"
USES: Final = frozenset({"accounts:read", "devices:read", "traffic:read"})  # what is refused of a restricted account
OWN_RIGHTS: Final = "A session of an account holder, from `/v1/session`: uses that person's own rights."
IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A quoted string that makes the request safe to repeat for 24 hours.",
    "schema": {"type": "string", "format": "idempotency-key", "pattern": r'^"[ !#-~]{1,255}"$'},
}
IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The ETag last read.",
    "schema": {"type": "string", "format": "etag", "pattern": '^"[0-9]{1,9}"$'},
}


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI document of the app, with what each route demands and how it refuses."""
    spec: dict[str, Any] = deepcopy(app.extensions["flask-smorest"]["apis"][""]["ext_obj"].spec.to_dict())
    spec["info"] |= {"description": ABOUT, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}}
    components = spec["components"]
    components["schemas"].pop("PaginationMetadata")  # flask-smorest's own pages, which we do not use
    components["schemas"]["Problem"] = PROBLEM
    components |= {"headers": HEADERS, "responses": refusals(), "securitySchemes": _security_schemes()}
    for rule in app.url_map.iter_rules():
        path = _template(rule.rule)
        for method in METHODS if is_of_api(app, rule.endpoint) else ():
            if method.upper() in (rule.methods or ()):
                operation = spec["paths"][path][method]
                operation["operationId"] = rule.endpoint.rpartition(".")[2]
                _complete(operation, access_of(app, rule.endpoint), plane_of(app, rule.endpoint), path, method)
    add_links(spec)
    return spec


def as_yaml(app: Flask) -> str:
    """The document as it is checked in."""
    return yaml.dump(document(app), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)


class _Plain(yaml.SafeDumper):
    """Writes what stands there twice twice: anchors are hard to read, and not every reader of OpenAPI knows them."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _complete(operation: dict[str, Any], access: Access, plane: Served, path: str, method: str) -> None:
    operation["x-plane"] = plane
    operation["security"] = [] if access.scope in OPEN else [{scheme: [access.scope]} for scheme in _callers(access.scope)]
    parameters = operation.setdefault("parameters", [])
    for parameter in parameters:
        _without_null(parameter["schema"])
    if method == "post" and access.unit and access.scope not in OPEN and plane == "controller":
        parameters.append(IDEMPOTENCY_KEY)
    if "If-Match" in operation["summary"]:
        parameters.append(IF_MATCH)
    answers = operation["responses"]
    answers.pop("default", None)  # flask-smorest's
    for status in sorted({*_declared(answers), *_refused(operation, access, path)}):
        if "content" not in answers.get(str(status), {}):
            answers[str(status)] = refusal(status)
    _own_not_found(answers, path)
    of_all = headers(*(OF_ALL if access.scope == INTERNAL else OF_LIMITED))
    for answer in answers.values():
        if "$ref" not in answer:
            answer["headers"] = {**of_all, **answer.get("headers", {})}
    operation["responses"] = dict(sorted(answers.items()))


def _own_not_found(answers: dict[str, Any], path: str) -> None:
    """Where an API of others' making words its refusals by itself: what is no id reaches none of its routes."""
    content = answers.get("404", {}).get("content")
    if content is not None and "{" in path:
        content[MEDIA_TYPE] = {"schema": {"$ref": "#/components/schemas/Problem"}}


def _declared(answers: dict[str, Any]) -> set[int]:
    return {int(status) for status in answers if int(status) >= 400}


def _refused(operation: dict[str, Any], access: Access, path: str) -> set[int]:
    """The statuses that follow from what an operation takes."""
    parameters, closed = operation["parameters"], access.scope not in OPEN
    changes = access.scope.endswith(":write")
    follows = (
        (access.scope != INTERNAL, {429}),
        (closed, {401, 403, 503}),
        (closed and "requestBody" in operation, {413, 415, 422}),
        ("{" in path, {404}),
        (IDEMPOTENCY_KEY in parameters or any(parameter["in"] == "query" for parameter in parameters), {422}),
        (IF_MATCH in parameters, {412, 428}),
        (changes, {409}),
        (changes and "{account_id}" in path, {423}),
        (access.scope in USES and ("{account_id}" in path or path.endswith("/lookup")), {423}),
    )
    return {status for holds, statuses in follows if holds for status in statuses}


def _without_null(schema: dict[str, Any]) -> None:
    """A parameter of a query is there or not; null is a value of JSON alone."""
    if isinstance(schema.get("type"), list):
        schema["type"] = next(kind for kind in schema["type"] if kind != "null")
        schema.pop("default", None)


def _callers(scope: str) -> Sequence[str]:
    """The security schemes that a scope can come with."""
    if scope == HOLDER:
        return [HOLDER]
    of_customers: list[str] = [kind for kind in BEARERS if scope in LOG_DATA_SCOPES[kind]]
    return of_customers or [BACKEND]


def _security_schemes() -> dict[str, Any]:
    flow = {
        "tokenUrl": "/oauth2/token",
        "scopes": {scope: scope.replace(":", ": ") for scope in sorted(SCOPES)},
    }
    bearers: dict[str, Any] = {
        kind: {"type": "http", "scheme": "bearer", "description": text} for kind, text in BEARERS.items()
    }
    holder = {"type": "http", "scheme": "bearer", "description": OWN_RIGHTS}
    return {BACKEND: {"type": "oauth2", "flows": {"clientCredentials": flow}}, HOLDER: holder, **bearers}


def _template(rule: str) -> str:
    """`/a/<uuid:id>` as `/a/{id}`."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)
