"""The OpenAPI 3.1 document, generated from the routes; `openapi.yaml` is its checked-in copy."""

from copy import deepcopy
from typing import Any, Final

import yaml
from flask import Flask

from cloudpriv.api.endpoint import OPEN, Access, access_of
from cloudpriv.api.problems import MEDIA_TYPE
from cloudpriv.controller.clients import SCOPES

SCHEME: Final = "backend"
PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "Stable per kind of problem: /problems/<code>."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "RFC 6901, into the body."},
                    "parameter": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI document of the app, with what each route demands and how it refuses."""
    spec: dict[str, Any] = deepcopy(app.extensions["flask-smorest"]["apis"][""]["ext_obj"].spec.to_dict())
    components = spec.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    components["responses"] = {
        "Problem": {
            "description": "A problem (RFC 9457)",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    }
    components["securitySchemes"] = {SCHEME: _security_scheme()}
    for rule in app.url_map.iter_rules():
        for method in sorted(rule.methods or ()):
            operation = spec["paths"].get(_template(rule.rule), {}).get(method.lower())
            if operation is not None:
                _complete(operation, access_of(app, rule.endpoint), method)
    return spec


def as_yaml(app: Flask) -> str:
    """The document as it is checked in."""
    return yaml.safe_dump(document(app), sort_keys=False, allow_unicode=True, width=120)


def _complete(operation: dict[str, Any], access: Access, method: str) -> None:
    operation["security"] = [] if access.scope in OPEN else [{SCHEME: [access.scope]}]
    operation["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
    if method == "POST" and access.scope not in OPEN:
        operation.setdefault("parameters", []).append(_header("Idempotency-Key", "Makes the request safe to repeat."))
    if access.scope.endswith(":write") and "If-Match" in operation.get("summary", "") + operation.get("description", ""):
        operation.setdefault("parameters", []).append(_header("If-Match", "The ETag last read.", required=True))


def _header(name: str, text: str, *, required: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": text,
        "schema": {"type": "string"},
    }


def _security_scheme() -> dict[str, Any]:
    flow = {
        "tokenUrl": "/oauth2/token",
        "scopes": {scope: scope.replace(":", ": ") for scope in sorted(SCOPES)},
    }
    return {"type": "oauth2", "flows": {"clientCredentials": flow}}


def _template(rule: str) -> str:
    """`/a/<uuid:id>` as `/a/{id}`."""
    parts = (part.rpartition(":")[2].strip("<>") if part.startswith("<") else part for part in rule.split("/"))
    names = zip(rule.split("/"), parts, strict=True)
    return "/".join(f"{{{name}}}" if raw.startswith("<") else name for raw, name in names)
