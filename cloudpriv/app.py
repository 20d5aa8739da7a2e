"""The APIs of both planes as WSGI applications: the only place where blueprints meet authentication."""

from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Final

from flask import Flask
from flask_smorest import Api
from werkzeug.middleware.proxy_fix import ProxyFix

from cloudpriv.api import (
    access_log,
    accounts,
    audit,
    consents,
    credentials,
    devices,
    disclosures,
    dmweb,
    exports,
    forecast,
    holds,
    limits,
    me,
    me_requests,
    oauth,
    opendsr,
    operations,
    owners,
    people,
    policy,
    problems,
    proof,
    purge_runs,
    request_askers,
    requests,
    restriction,
    retention,
    sessions,
    traffic,
)
from cloudpriv.api.auth import Checker, Tokens, public_checker
from cloudpriv.api.endpoint import EXTENSION, PLANES, Common, Served, access_of
from cloudpriv.api.logdata import access
from cloudpriv.api.logdata import access_log as log_access
from cloudpriv.api.logdata import deletions as log_deletions
from cloudpriv.api.logdata import exports as log_exports
from cloudpriv.api.logdata import instructions as log_instructions
from cloudpriv.api.logdata import points as log_points
from cloudpriv.api.logdata import reading as log_reading
from cloudpriv.api.logdata import record as log_record
from cloudpriv.api.logdata import retention as log_retention
from cloudpriv.api.logdata import tokens as log_tokens
from cloudpriv.api.runtime import Runtime
from cloudpriv.bootstrap import ProcessorServices, Services
from cloudpriv.config import SettingsError
from cloudpriv.platform import watch
from cloudpriv.platform.passwords import Passwords
from cloudpriv.portal import app as portal
from cloudpriv.retention.restored import Watch

BLUEPRINTS: Final[dict[Served, tuple[Any, ...]]] = {
    "controller": (
        accounts.blueprint,
        people.blueprint,
        credentials.blueprint,
        devices.blueprint,
        traffic.blueprint,
        retention.blueprint,
        retention.purges,
        holds.blueprint,
        purge_runs.blueprint,
        forecast.blueprint,
        requests.blueprint,
        request_askers.blueprint,
        exports.blueprint,
        disclosures.blueprint,
        restriction.blueprint,
        consents.blueprint,
        owners.blueprint,
        me.blueprint,
        me_requests.blueprint,
        audit.blueprint,
        proof.blueprint,
        policy.blueprint,
        sessions.blueprint,
        oauth.blueprint,
    ),
    "processor": (
        opendsr.blueprint,
        dmweb.blueprint,
        log_tokens.blueprint,
        log_access.blueprint,
        log_points.blueprint,
        log_reading.blueprint,
        log_exports.blueprint,
        log_deletions.blueprint,
        log_instructions.blueprint,
        log_retention.blueprint,
        log_record.blueprint,
    ),
    "both": (operations.blueprint,),
}
READINESS: Final = timedelta(seconds=30)  # balancers ask every few seconds, and a look is a few requests to the object store
MAX_BODY: Final = 64 * 1024  # of all routes but bulk ones, which set their own; the longest person has half of it


class _Api(Api):  # type: ignore[misc]  # flask-smorest carries no types
    ERROR_SCHEMA = None

    def _register_error_handlers(self) -> None:
        """Ours are installed instead: flask-smorest's answer JSON that is no problem document."""


def create_app(services: Services) -> Flask:
    """The controller plane's app on these services. Raises UndeclaredRouteError for a route without a declared scope."""
    run = Runtime(services, _tokens(services), _passwords(services), Watch(READINESS))
    app = _installed(documented_app("controller"), run, services.settings.issuer)
    limits.install(app, run, verification=services.settings.verify_rate_limit)
    oauth.install(app)
    portal.install(app, run)
    return app


def create_processor_app(services: ProcessorServices) -> Flask:
    """The processor plane's app on these services. Raises UndeclaredRouteError for a route without a declared scope."""
    run = access.Runtime(services, _checker(services), watch.Watch(READINESS))
    app = _installed(documented_app("processor"), run, services.settings.url)
    limits.install(app, run)
    return app


def documented_app(*planes: Served) -> Flask:
    """The routes alone, of these planes or all, enough to describe the API.

    Raises UndeclaredRouteError for a route without a declared scope.
    """
    app = Flask("cloudpriv", static_folder=None)
    app.url_map.merge_slashes = False  # //v1 is nothing of ours; Werkzeug would redirect, in HTML
    app.config.update(API_TITLE="cloudpriv", API_VERSION="v1", OPENAPI_VERSION="3.1.0")
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of Flask's default provider
    api = _Api(app)
    served = {plane: BLUEPRINTS[plane] for plane in BLUEPRINTS if not planes or plane in (*planes, "both")}
    for blueprint in chain.from_iterable(served.values()):
        api.register_blueprint(blueprint)
    app.extensions[PLANES] = {blueprint.name: plane for plane, of in served.items() for blueprint in of}
    for rule in app.url_map.iter_rules():
        access_of(app, rule.endpoint)
    return app


def _installed(app: Flask, run: Common, url: str) -> Flask:
    """The app, public at `url`, with what every response of either plane goes through."""
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY, MAX_FORM_MEMORY_SIZE=MAX_BODY)
    app.extensions[EXTENSION] = run
    problems.install(app)
    operations.install(app, https=url.startswith("https://"))
    access_log.install(app)
    proxies = run.services.settings.trusted_proxies
    if proxies:  # what else they forward decides nothing here: our own URLs are settings
        behind = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=0, x_host=0)
        app.wsgi_app = behind  # type: ignore[method-assign]  # Flask's own way to wrap it
    return app


def _tokens(services: Services) -> Tokens:
    key_file = services.settings.signing_key_file
    if key_file is None:
        raise SettingsError("CLOUDPRIV_SIGNING_KEY_FILE: Environment variable not set.")
    return Tokens(Path(key_file), services.settings.issuer)


def _checker(services: ProcessorServices) -> Checker:
    settings = services.settings
    if settings.token_key_file is None:
        raise SettingsError("CLOUDPRIV_PROCESSOR_TOKEN_KEY_FILE: Environment variable not set.")
    try:
        return public_checker(Path(settings.token_key_file), settings.token_issuer)
    except ValueError as fault:
        raise SettingsError(f"CLOUDPRIV_PROCESSOR_TOKEN_KEY_FILE: {fault}") from None


def _passwords(services: Services) -> Passwords:
    settings = services.settings
    return Passwords(
        time_cost=settings.argon2_time_cost,
        memory_kib=settings.argon2_memory_kib,
        parallelism=settings.argon2_parallelism,
        concurrency=settings.hash_concurrency,
        breached=Path(settings.breached_passwords_file) if settings.breached_passwords_file else None,
    )
