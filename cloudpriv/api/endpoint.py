"""What every route goes through: who calls, may they, one transaction, one answer.

A view is decorated with `endpoint`, which names the scope that it needs; an app with a view that names none does not start.
What is here serves the APIs of both planes, and knows of neither: an app has a runtime of its plane (`Common`).
"""

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any, Final, Literal, NoReturn, ParamSpec, Protocol
from uuid import UUID

from flask import Flask, Response, current_app, g, request
from redis import Redis

from cloudpriv.api.auth import bearer
from cloudpriv.platform.actor import Actor
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.errors import DomainError, PreconditionMissingError, StaleError
from cloudpriv.platform.ids import new_id

PUBLIC: Final = "public"
INTERNAL: Final = "internal"  # for probes and scrapers inside the installation; not to be routed to from outside
OPEN: Final = frozenset({PUBLIC, INTERNAL})
OUR_ETAG: Final = re.compile('"([0-9]{1,9})"')
ETAGS: Final = re.compile(r'(W/)?"[^"]*"(\s*,\s*(W/)?"[^"]*")*')
EXTENSION: Final = "cloudpriv"
PLANES: Final = "cloudpriv_planes"  # which plane serves which blueprint, by its name
P = ParamSpec("P")
View = Callable[..., Response]
Served = Literal["controller", "processor", "both"]


class UndeclaredRouteError(Exception):
    """A route does not say what it demands (law 8: such an app does not start)."""


class CommonSettings(Protocol):
    """What the settings of either plane name."""

    @property
    def access_log_dir(self) -> str | None:
        """The folder of the access log, if one is written."""

    @property
    def rate_limit(self) -> str:
        """Requests of one caller."""

    @property
    def trusted_proxies(self) -> int:
        """How many proxies in a row are trusted to tell the caller's address."""


class CommonServices(Protocol):
    """What the services of either plane have."""

    @property
    def settings(self) -> CommonSettings:
        """Settings of the process."""

    @property
    def plane(self) -> Plane:
        """Database and keys."""

    @property
    def redis(self) -> Redis:
        """Where rate limits are counted."""

    @property
    def clock(self) -> Callable[[], datetime]:
        """The time."""


class Common(Protocol):
    """What the routes of an app work with, whichever plane it serves."""

    @property
    def services(self) -> CommonServices:
        """What the process works with."""

    def actor(self, token: str, now: datetime) -> Actor:
        """On whose behalf a token's bearer acts. Raises UnauthenticatedError."""

    def refuse(self) -> NoReturn:
        """Raises ForbiddenError: the caller of this request lacks the scope of the route."""

    def answer(self, tx: Tx, view: Callable[..., Any], kwargs: dict[str, Any], *, names_account: bool) -> Any:
        """Have the view answer within the transaction."""

    def check_ready(self, now: datetime) -> None:
        """Raises BusyError or RestoredError while something that requests need does not answer or fit."""

    def figures(self, now: datetime) -> bytes:
        """What the database tells of the plane's work, as Prometheus reads it; nothing while it is away."""


@dataclass(frozen=True)
class Access:
    """What a route demands: a scope, or PUBLIC or INTERNAL; and whether it is one unit of work."""

    scope: str
    unit: bool


def access_of(app: Flask, name: str) -> Access:
    """What the route of an endpoint's name demands. Raises UndeclaredRouteError when its view was not decorated."""
    access = getattr(app.view_functions[name], "access", None)
    if not isinstance(access, Access):
        raise UndeclaredRouteError(f"no scope is declared for {name}")
    return access


def plane_of(app: Flask, name: str) -> Served:
    """Which plane's app serves the route of an endpoint's name."""
    found: Served = app.extensions[PLANES][name.partition(".")[0]]
    return found


def is_of_api(app: Flask, name: str) -> bool:
    """Whether the route of an endpoint's name is one of the API, where programs call it, and not a page for people."""
    return name.partition(".")[0] in app.extensions[PLANES]


class Call:
    """One request: when it came, its id, who sends it and what that one may still do, each found out once."""

    __slots__ = ("_actor", "_refusal", "allowance", "began", "id", "limit", "now", "run")

    def __init__(self, run: Common) -> None:
        self.run = run
        self.now = run.services.clock()
        self.id = new_id()
        self.began = time.perf_counter()
        self.limit: Any = None
        self.allowance: Any = None
        self._actor: Actor | None = None
        self._refusal: DomainError | None = None

    def actor(self) -> Actor:
        """Who calls. Raises UnauthenticatedError, and BusyError while it cannot be found out."""
        if self._actor is None:
            self._actor = self._found_out()
        return self._actor

    def known_caller(self) -> str | None:
        """The id of who calls, if that was found out."""
        return None if self._actor is None else self._actor.id

    def _found_out(self) -> Actor:
        """Asked once: what a token is not, it is not the second time."""
        if self._refusal is not None:
            raise self._refusal
        try:
            return self.run.actor(bearer(request.headers.get("Authorization")), self.now)
        except DomainError as refusal:
            self._refusal = refusal
            raise

    def act_as(self, actor: Actor) -> None:
        """From here on the caller is `actor`: for routes whose callers are known by something else than a bearer token."""
        self._actor = actor

    def transaction(self, *, read_only: bool = False) -> AbstractContextManager[Tx]:
        """A unit of work on the app's plane on behalf of the caller."""
        return self.run.services.plane.transaction(self.actor(), self.now, request_id=self.id, read_only=read_only)

    def statement(self) -> AbstractContextManager[Tx]:
        """A unit of work of one statement on the app's plane on behalf of the caller."""
        return self.run.services.plane.statement(self.actor(), self.now, request_id=self.id)


def call() -> Call:
    """The current request."""
    found: Call | None = g.get("call")
    if found is None:
        found = g.call = Call(current_app.extensions[EXTENSION])
    return found


def now() -> datetime:
    """The time of the current request, read once."""
    return call().now


def request_id() -> UUID:
    """The id of the current request, sent back as X-Request-Id."""
    return call().id


def current_actor() -> Actor:
    """Who calls. Raises UnauthenticatedError."""
    return call().actor()


def transaction(*, read_only: bool = False) -> AbstractContextManager[Tx]:
    """A unit of work on the app's plane on behalf of the caller."""
    return call().transaction(read_only=read_only)


def endpoint(scope: str, *, unit: bool = True, answer_names_account: bool = False,
             first: Callable[[], None] | None = None) -> Callable[[Callable[..., Any]], View]:  # fmt: skip
    """Guard a view: token, scope, then one transaction that the view gets as its first argument.

    `unit=False` leaves transactions to the view. A POST with an Idempotency-Key is carried out once, in one transaction with
    the answer that is kept; `answer_names_account` says that the answer names the account it tells of, as `account_id` or
    else as its `id`. `first` is what has to pass beside the scope, before a transaction is open.
    """

    def decorate(view: Callable[..., Any]) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if scope in OPEN:
                return view(*args, **kwargs)
            this = call()
            if scope not in this.actor().scopes:
                this.run.refuse()
            if first is not None:
                first()
            if not unit:
                return view(*args, **kwargs)
            with this.transaction() as tx:
                return this.run.answer(tx, view, kwargs, names_account=answer_names_account)

        guarded.access = Access(scope, unit)  # type: ignore[attr-defined]  # read by `access_of`
        return guarded

    return decorate


def expected_version() -> int:
    """The version that If-Match names. Raises PreconditionMissingError without, also for `*` and for what is no ETag, which
    would let a change of somebody else be overwritten; StaleError for no version of ours."""
    given = request.headers.get("If-Match", "*").strip()
    if ETAGS.fullmatch(given) is None:
        raise PreconditionMissingError
    tag = OUR_ETAG.fullmatch(given)  # a weak one never matches (RFC 9110, 13.1.1)
    if tag is None:
        raise StaleError
    return int(tag[1])


def etag(version: int) -> dict[str, str]:
    """The ETag header of a version."""
    return {"ETag": f'"{version}"'}
