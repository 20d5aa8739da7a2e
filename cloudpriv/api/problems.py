"""Every refusal as an RFC 9457 problem: one table from error class to status, type and title.

`type` is a path below the API's own documentation, stable per error, resolvable at `/problems/<code>`.
"""

import json
from typing import Any, Final

import structlog
from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException

from cloudpriv.platform import errors
from cloudpriv.platform.errors import DomainError, FieldError

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = "2"
STATUS: Final[dict[type[DomainError], int]] = {
    errors.UnauthenticatedError: 401,
    errors.InvalidCredentialsError: 401,
    errors.ForbiddenError: 403,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.AccountClosingError: 409,
    errors.IdempotencyRunningError: 409,
    errors.NotReadyError: 409,
    errors.NotDueError: 409,
    errors.SecondPersonNeededError: 409,
    errors.GoneError: 410,
    errors.StaleError: 412,
    errors.TooLargeError: 413,
    errors.UnsupportedTypeError: 415,
    errors.InvalidError: 422,
    errors.WrongCodeError: 422,
    errors.TransferRefusedError: 422,
    errors.UnreadableError: 422,
    errors.IdempotencyMismatchError: 422,
    errors.AccountRestrictedError: 423,
    errors.PersonRestrictedError: 423,
    errors.PreconditionMissingError: 428,
    errors.RateLimitedError: 429,
    errors.BusyError: 503,
    errors.RestoredError: 503,
}
# RFC 9110, 15.5.2 and RFC 6750, 3.1.
CHALLENGES: Final[dict[type[DomainError], str]] = {
    errors.UnauthenticatedError: 'Bearer realm="cloudpriv"',
    errors.InvalidCredentialsError: 'Bearer realm="cloudpriv"',
    errors.ForbiddenError: 'Bearer realm="cloudpriv", error="insufficient_scope"',
}


def problem(status: int, code: str, detail: str, field_errors: tuple[FieldError, ...] = ()) -> Response:
    """A problem response."""
    return Response(problem_document(status, code, detail, field_errors), status, content_type=MEDIA_TYPE)


def problem_document(status: int, code: str, detail: str, field_errors: tuple[FieldError, ...] = ()) -> str:
    """A problem as JSON; `title` is the code in words."""
    body: dict[str, Any] = {
        "type": f"/problems/{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
    }
    if field_errors:
        body["errors"] = [_member(error) for error in field_errors]
    return json.dumps(body)


def refuse(error: DomainError) -> Response:
    """The problem of a domain error."""
    response = problem(STATUS[type(error)], error.code, error.detail, error.errors)
    challenge = CHALLENGES.get(type(error))
    if challenge is not None:
        response.headers["WWW-Authenticate"] = challenge
    if isinstance(error, errors.BusyError | errors.RateLimitedError):
        waiting = isinstance(error, errors.RateLimitedError) and error.after
        response.headers["Retry-After"] = str(waiting or RETRY_SECONDS)
    return response


def install(app: Flask) -> None:
    """Answer every failure of the app with a problem."""
    app.register_error_handler(DomainError, refuse)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def _http(fault: HTTPException) -> Response:
    if fault.code == 413:
        return refuse(errors.TooLargeError())
    code = (fault.name or "error").lower().replace(" ", "_")
    response = problem(fault.code or 500, code, fault.description or fault.name)
    for name, value in fault.get_headers():
        if name.lower() != "content-type":
            response.headers[name] = value
    return response


def _unexpected(fault: Exception) -> Response:
    if current_app.testing:
        raise fault
    log.error("unexpected", route=str(request.url_rule), fault=type(fault).__name__, exc_info=True)
    return problem(500, "internal", "Something went wrong on our side.")


def _member(error: FieldError) -> dict[str, str]:
    place = "pointer" if error.location == "body" else "parameter"
    return {place: error.pointer, "detail": error.detail}
