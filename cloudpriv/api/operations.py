"""Health, metrics and the documentation of the API itself."""

import time
from functools import cache
from typing import Any, Final

import structlog
from flask import Flask, Response, current_app, jsonify, render_template, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from redis.exceptions import RedisError
from sqlalchemy import text

from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import INTERNAL, PUBLIC, Call, call, endpoint, now, runtime
from cloudpriv.api.openapi import document
from cloudpriv.audit import figures as log_figures
from cloudpriv.platform.actor import OPERATOR
from cloudpriv.platform.errors import BusyError, UnauthenticatedError
from cloudpriv.retention import figures

log = structlog.get_logger("cloudpriv.requests")
blueprint: Final = Blueprint("operations", __name__, description="Health and documentation.")
REQUESTS: Final = Counter("cloudpriv_requests_total", "Requests answered", ["method", "route", "status"])
SECONDS: Final = Histogram("cloudpriv_request_seconds", "Time to answer", ["method", "route"])
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # any other is a text of the caller
PAGE_POLICY: Final = "default-src 'none'; style-src 'self' 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"


@blueprint.route("/healthz", methods=["GET"])
@endpoint(INTERNAL)
@blueprint.response(200, description="The process answers.")
def healthz() -> Response:
    """Whether the process is alive."""
    return jsonify(status="ok")


@blueprint.route("/readyz", methods=["GET"])
@endpoint(INTERNAL)
@blueprint.response(200, description="Everything needed answers.")
@blueprint.alt_response(503, description="Something does not, or the database came back from a backup.")
def readyz() -> Any:
    """Whether the database and the object store answer, and the database is no backup that waits for its replay.

    Redis is told of, but requests do without it.
    """
    services = runtime().services
    with services.controller.transaction(OPERATOR, now()) as tx:
        tx.session.execute(text("SELECT 1"))
    services.exports.ready()
    runtime().watch.require_replayed(services.controller, services.ledger, services.clock)
    return jsonify(status="ok", redis="ok" if _redis_answers() else "away")


@blueprint.route("/metrics", methods=["GET"])
@endpoint(INTERNAL)
@blueprint.doc(responses={"200": {"description": "Prometheus text format", "content": {"text/plain": {}}}})
def metrics() -> Response:
    """Counters and timings by route, and the state of purges and log while the database answers, for Prometheus."""
    return Response(generate_latest() + _figures(), content_type=CONTENT_TYPE_LATEST)


@blueprint.route("/openapi.json", methods=["GET"])
@endpoint(PUBLIC)
@blueprint.response(200, description="This description of the API (OpenAPI 3.1).")
def openapi() -> Response:
    """The description of this API."""
    return jsonify(document(current_app))


@blueprint.route("/docs", methods=["GET"])
@endpoint(PUBLIC)
@blueprint.doc(responses={"200": {"description": "A page to read", "content": {"text/html": {}}}})
def docs() -> Response:
    """The description of this API, to read."""
    page = render_template("docs.html", api=document(current_app))
    return Response(page, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": PAGE_POLICY})


def install(app: Flask) -> None:
    """Count, time and mark every response."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    call()


def _end(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule else "unknown"
    method = request.method if request.method in METHODS else "unknown"
    this = call()
    seconds = time.perf_counter() - this.began
    requests, timings = _meters(method, route, response.status_code)
    requests.inc()
    timings.observe(seconds)
    headers = response.headers
    headers["X-Request-Id"] = str(this.id)
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Cache-Control", "no-store")
    if response.calculate_content_length() == 0:
        headers.pop("Content-Type", None)  # of nothing
    _log(this, method, route, response.status_code, seconds)
    return response


@cache
def _meters(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """Looked up once: all three come from closed sets."""
    return REQUESTS.labels(method, route, status), SECONDS.labels(method, route)


def _log(this: Call, method: str, route: str, status: int, seconds: float) -> None:
    try:
        caller = this.actor().id
    except UnauthenticatedError:
        caller = None
    log.info(
        "request",
        method=method,
        route=route,
        status=status,
        ms=round(seconds * 1000, 1),
        caller=caller,
        request_id=str(this.id),
    )


def _figures() -> bytes:
    """What the database tells of purges and of the log; nothing while it is away, which is a signal too."""
    services = runtime().services
    try:
        with services.controller.transaction(OPERATOR, now(), read_only=True) as tx:
            found, of_log = figures.read(tx, services.policy), log_figures.read(tx)
    except BusyError:
        return b""
    registry = CollectorRegistry()
    for name, doc, value in (
        ("accounts_due", "Accounts that may be erased", found.due),
        ("oldest_due_seconds", "Since the first of them fell due", found.oldest_due),
        ("oldest_open_purge_seconds", "Since the first open purge was planned", found.oldest_open),
        ("purges_retried", "Open purges whose worker failed or stopped", found.retried),
        ("log_pending", "Audit events and certificates that no published checkpoint covers", of_log.pending),
        ("log_oldest_pending_seconds", "Since the first of them was made", of_log.oldest),
    ):
        Gauge(f"cloudpriv_{name}", doc, registry=registry).set(value)
    for name, doc, counts in (
        ("purges_open", "Purges that have not ended, by status", found.open),
        ("purges_ended_last_day", "Purges that ended within a day, by status", found.ended),
    ):
        gauge = Gauge(f"cloudpriv_{name}", doc, ["status"], registry=registry)
        for status, count in counts.items():
            gauge.labels(status).set(count)
    return generate_latest(registry)


def _redis_answers() -> bool:
    try:
        return bool(runtime().services.redis.ping())
    except RedisError:
        return False
