"""Health, metrics and the documentation of the API itself."""

import time
from functools import cache
from typing import Any, Final

import structlog
from flask import Flask, Response, current_app, jsonify, render_template, request
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from redis.exceptions import RedisError

from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import INTERNAL, PUBLIC, Call, call, endpoint, now
from cloudpriv.api.openapi import document

log = structlog.get_logger("cloudpriv.requests")
blueprint: Final = Blueprint("operations", __name__, description="Health and documentation.")
REQUESTS: Final = Counter("cloudpriv_requests_total", "Requests answered", ["method", "route", "status"])
SECONDS: Final = Histogram("cloudpriv_request_seconds", "Time to answer", ["method", "route"])
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # any other is a text of the caller
POLICY: Final = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"  # should a browser show an answer as a page
HSTS: Final = "max-age=31536000; includeSubDomains"
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
    call().run.check_ready(now())
    return jsonify(status="ok", redis="ok" if _redis_answers() else "away")


@blueprint.route("/metrics", methods=["GET"])
@endpoint(INTERNAL)
@blueprint.doc(responses={"200": {"description": "Prometheus text format", "content": {"text/plain": {}}}})
def metrics() -> Response:
    """Counters and timings by route, and the state of the plane's work while the database answers, for Prometheus."""
    return Response(generate_latest() + call().run.figures(now()), content_type=CONTENT_TYPE_LATEST)


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


def install(app: Flask, *, https: bool) -> None:
    """Count, time and mark every response; with `https`, which the public address has, browsers are held to it."""
    app.before_request(_begin)
    app.after_request(_end)
    if https:
        app.after_request(_hold_to_tls)


def _hold_to_tls(response: Response) -> Response:
    response.headers["Strict-Transport-Security"] = HSTS
    return response


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
    headers.setdefault("Content-Security-Policy", POLICY)
    headers.setdefault("Referrer-Policy", "no-referrer")
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
    log.info(
        "request",
        method=method,
        route=route,
        status=status,
        ms=round(seconds * 1000, 1),
        caller=this.known_caller(),
        request_id=str(this.id),
    )


def _redis_answers() -> bool:
    try:
        return bool(call().run.services.redis.ping())
    except RedisError:
        return False
