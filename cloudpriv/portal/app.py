"""The portal on the controller plane's app: its pages, the frame around them, and the headers of every answer.

It is in no description of the API: people use it, not programs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from flask import Blueprint, Flask, Response, redirect, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from cloudpriv.api.endpoint import PUBLIC, access_of, endpoint
from cloudpriv.api.runtime import Runtime
from cloudpriv.platform.errors import DomainError
from cloudpriv.portal import (
    access,
    announcement,
    ask,
    assets,
    closing,
    consents,
    cookies,
    devices,
    exports,
    guard,
    i18n,
    identity,
    notice,
    overview,
    owners,
    pages,
    password,
    requests,
    sessions,
    sign_in,
    traffic,
    unsubscribe,
)

frame: Final = Blueprint("frame", __name__)
BLUEPRINTS: Final = (
    frame,
    overview.blueprint,
    identity.blueprint,
    devices.blueprint,
    traffic.blueprint,
    access.blueprint,
    sign_in.blueprint,
    password.blueprint,
    sessions.blueprint,
    owners.blueprint,
    exports.blueprint,
    requests.blueprint,
    closing.blueprint,
    ask.blueprint,
    consents.blueprint,
    unsubscribe.blueprint,
    announcement.blueprint,
    notice.blueprint,
)
PREFIX: Final = "/portal/"
TRANSLATIONS: Final = Path(__file__).with_name("translations")
YEAR: Final = 365 * 24 * 3600
CONTENT_POLICY: Final = "; ".join((
    "default-src 'none'",
    "style-src 'self'",
    "script-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
))  # fmt: skip
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
HSTS: Final = f"max-age={YEAR}; includeSubDomains"


def install(app: Flask, run: Runtime) -> None:
    """Serve the portal. Raises UndeclaredRouteError for a route without a declared access."""
    i18n.install(app, str(TRANSLATIONS))
    pages.ENVIRONMENT.globals["csrf_token"] = guard.csrf_token
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    for rule in app.url_map.iter_rules():
        access_of(app, rule.endpoint)
    for kind in (DomainError, HTTPException, Exception):
        _tell_in_words(app, kind)
    app.after_request(_headers(run.services.settings.issuer.startswith("https://")))


@frame.get("/")
@endpoint(PUBLIC)
def root() -> AnyResponse:
    """Whoever types the address alone means the portal."""
    return redirect(PREFIX, 302)


@frame.get("/portal")
@endpoint(PUBLIC)
def without_slash() -> AnyResponse:
    """The portal's first page. Werkzeug would lead there by an address made of the Host header, which anybody may write."""
    return redirect(PREFIX, 308)


@frame.get("/portal/static/<version>/<name>")
@endpoint(PUBLIC)
def asset(version: str, name: str) -> Response:
    """A file of the frame."""
    return assets.send(version, name)


@frame.post("/portal/language")
@endpoint(PUBLIC)
def choose_language() -> AnyResponse:
    """Show the portal in another language from here on, in this browser, and go back to the page.

    A form, since addresses of pages that mails lead to have secrets in them, which belong in no query. It needs no token,
    since error pages have it too and it changes nothing but this browser's language; yet no other site may send it.
    """
    if not guard.is_sent_from_here():
        return guard.stale_form()
    chosen = request.form.get("to", "")
    answer = guard.redirected(guard.own_path(request.form.get("next")))
    return cookies.put(answer, cookies.LANGUAGE, chosen, i18n.LASTS) if chosen in i18n.LANGUAGES else answer


def _here() -> bool:
    return request.path.startswith(PREFIX) or request.path in ("/", "/portal")


def _tell_in_words(app: Flask, kind: type[Exception]) -> None:
    """Answer a failure of a page with a page: what the API answers with a problem, with its status and headers."""
    answered: Callable[[Any], Any] = app.error_handler_spec[None][None][kind]

    def tell(fault: Any) -> Any:
        return _as_page(answered(fault)) if _here() else answered(fault)

    app.register_error_handler(kind, tell)


def _as_page(problem: Response) -> Response:
    page = pages.error(problem.status_code, problem.get_json()["type"].rpartition("/")[2])
    for name in ("Allow", "Retry-After"):
        if name in problem.headers:
            page.headers[name] = problem.headers[name]
    return page


def _headers(https: bool) -> Callable[[Response], Response]:
    """What goes with every answer of the portal; with HSTS where its public address is one of https."""
    always = HEADERS | ({"Strict-Transport-Security": HSTS} if https else {})

    def mark(response: Response) -> Response:
        if _here():
            response.headers.update(always)
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    return mark
