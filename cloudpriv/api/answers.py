"""What answers carry, as OpenAPI describes it: headers, and one refusal for each status that a problem can have."""

from http import HTTPStatus
from typing import Any, Final

from cloudpriv.api.problems import MEDIA_TYPE, STATUS

TEXT: Final = {"type": "string"}
HEADERS: Final[dict[str, dict[str, Any]]] = {
    "X-Request-Id": {
        "description": "Names this request; it stands in the trail of reads and changes.",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    },
    "Cache-Control": {"description": "`no-store`: answers may hold personal data.", "required": True, "schema": TEXT},
    "RateLimit": {
        "description": "What is left (draft-ietf-httpapi-ratelimit-headers): `r` requests, new ones in `t` seconds.",
        "required": True,
        "schema": TEXT,
    },
    "RateLimit-Policy": {"description": "The limit: `q` requests in `w` seconds.", "required": True, "schema": TEXT},
    "Retry-After": {
        "description": "Seconds after which the same request may succeed.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"description": "RFC 6750, section 3.", "required": True, "schema": TEXT},
    "ETag": {"description": "The version; send it as If-Match to change what was read.", "required": True, "schema": TEXT},
    "Location": {
        "description": "Where it can be read, or its progress.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Link": {"description": 'The next page (`rel="next"`), while there is one.', "required": False, "schema": TEXT},
    "Content-Language": {"description": "The language of the texts.", "required": True, "schema": TEXT},
    "Content-Disposition": {"description": "A file name, made of the id alone.", "required": True, "schema": TEXT},
}
OF_ALL: Final = ("X-Request-Id", "Cache-Control")
OF_LIMITED: Final = (*OF_ALL, "RateLimit", "RateLimit-Policy")
OF_REFUSALS: Final = {401: ("WWW-Authenticate",), 403: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}

PROBLEM: Final = {
    "type": "object",
    "description": "RFC 9457",
    "additionalProperties": False,
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri-reference",
            "description": "Stable per kind of problem: /problems/<code>.",
        },
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": TEXT,
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "RFC 6901, into the body."},
                    "parameter": {"type": "string", "description": "A parameter of the query, or a header."},
                    "detail": TEXT,
                },
            },
        },
    },
}


def headers(*names: str) -> dict[str, Any]:
    """The headers of these names, for a declared answer."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


VERSIONED: Final = headers("ETag")
CREATED: Final = headers("ETag", "Location")
STARTED: Final = headers("Location")
LISTED: Final = headers("Link")


def refusals() -> dict[str, Any]:
    """A response component for each status of a problem, by the name that `refusal` gives it."""
    return {_name(status): _refusal(status) for status in sorted(set(STATUS.values()))}


def refusal(status: int) -> dict[str, str]:
    """A reference to the component of a refusal."""
    return {"$ref": f"#/components/responses/{_name(status)}"}


def _name(status: int) -> str:
    return f"Problem{status}"


def _refusal(status: int) -> dict[str, Any]:
    codes = sorted(error.code for error, of in STATUS.items() if of == status)
    narrowed = {"status": {"const": status}, "type": {"enum": [f"/problems/{code}" for code in codes]}}
    schema = {"allOf": [{"$ref": "#/components/schemas/Problem"}, {"properties": narrowed}]}
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
        "headers": headers(*OF_LIMITED, *OF_REFUSALS.get(status, ())),
        "content": {MEDIA_TYPE: {"schema": schema}},
    }
