"""Rate limits by Flask-Limiter, counted in Redis: per client, and per account for password checks.

While Redis is away each process counts in its own memory: a limit that is too generous for a moment, and no outage.
"""

from typing import Final

from flask import Flask, Response, current_app, request
from flask_limiter import Limiter, RateLimitExceeded

from cloudpriv.api import problems
from cloudpriv.api.endpoint import EXTENSION, Runtime, current_actor, runtime
from cloudpriv.platform.errors import RateLimitedError, UnauthenticatedError
from cloudpriv.platform.text import normalised

POLICY: Final = "default"
LIMITER: Final = "cloudpriv_limiter"
UNLIMITED: Final = frozenset({"operations.healthz", "operations.readyz", "operations.metrics"})


def install(app: Flask, run: Runtime) -> None:
    """Limit every route of the app but probes, and tell callers where they stand (draft-ietf-httpapi-ratelimit-headers)."""
    limiter = Limiter(
        _caller,
        app=app,
        default_limits=[run.services.settings.rate_limit],
        default_limits_per_method=False,
        default_limits_exempt_when=lambda: request.endpoint in UNLIMITED,
        storage_uri="redis://",
        storage_options={"connection_pool": run.services.redis.connection_pool},  # type: ignore[dict-item]  # declared too narrowly
        in_memory_fallback_enabled=True,
        strategy="fixed-window",
        key_prefix=EXTENSION,
    )
    app.extensions[LIMITER] = limiter
    app.register_error_handler(RateLimitExceeded, _refuse)
    app.after_request(_told)


def limit_verification(account_name: str) -> None:
    """Count one password check of an account, whose name never reaches Redis. Raises RateLimitExceeded."""
    run = runtime()
    name = run.services.controller.keys.blind_index("verification limit", normalised(account_name)).hex()
    actor = current_actor().id
    with _limiter().limit(run.services.settings.verify_rate_limit, key_func=lambda: f"{actor}:{name}"):
        return


def _limiter() -> Limiter:
    limiter: Limiter = current_app.extensions[LIMITER]
    return limiter


def _caller() -> str:
    """The client's id; the address of whoever has no token, so that guessing secrets is limited too."""
    try:
        return current_actor().id
    except UnauthenticatedError:
        return request.remote_addr or "unknown"


def _refuse(_: RateLimitExceeded) -> Response:
    return problems.refuse(RateLimitedError())


def _told(response: Response) -> Response:
    limit = _limiter().current_limit
    if limit is None:
        return response
    reset = max(0, int(limit.reset_at - runtime().services.clock().timestamp()))
    window = limit.limit.get_expiry()
    response.headers["RateLimit-Policy"] = f'"{POLICY}";q={limit.limit.amount};w={window}'
    response.headers["RateLimit"] = f'"{POLICY}";r={limit.remaining};t={reset}'
    if response.status_code == 429:
        response.headers["Retry-After"] = str(max(1, reset))
    return response
