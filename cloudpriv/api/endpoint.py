"""What every route goes through: who calls, may they, one transaction, one answer however often it is asked.

A view is decorated with `endpoint`, which names the scope that it needs; an app with a view that names none does not start.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any, Final, ParamSpec
from uuid import UUID

from flask import Flask, Response, current_app, g, request

from cloudpriv.api.auth import Tokens, bearer
from cloudpriv.api.body import whole_body
from cloudpriv.bootstrap import Services
from cloudpriv.controller import idempotency
from cloudpriv.controller.idempotency import Answer
from cloudpriv.platform.actor import Actor
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import (
    FieldError,
    ForbiddenError,
    InvalidError,
    PreconditionMissingError,
    StaleError,
)
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.passwords import Passwords
from cloudpriv.retention.restored import Watch

PUBLIC: Final = "public"
INTERNAL: Final = "internal"  # for probes and scrapers inside the installation; not to be routed to from outside
OPEN: Final = frozenset({PUBLIC, INTERNAL})
EXTENSION: Final = "cloudpriv"
KEPT_HEADERS: Final = ("ETag", "Location", "Content-Type")
P = ParamSpec("P")
View = Callable[..., Response]


class UndeclaredRouteError(Exception):
    """A route does not say what it demands (law 8: such an app does not start)."""


@dataclass(frozen=True)
class Runtime:
    """What the routes of one app work with."""

    services: Services
    tokens: Tokens
    passwords: Passwords
    watch: Watch


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


def runtime() -> Runtime:
    """The runtime of the current app."""
    found: Runtime = current_app.extensions[EXTENSION]
    return found


class Call:
    """One request: when it came, its id, who sends it and what that one may still do, each found out once."""

    __slots__ = ("_actor", "allowance", "began", "id", "limit", "now", "run")

    def __init__(self, run: Runtime) -> None:
        self.run = run
        self.now = run.services.clock()
        self.id = new_id()
        self.began = time.perf_counter()
        self.limit: Any = None
        self.allowance: Any = None
        self._actor: Actor | None = None

    def actor(self) -> Actor:
        """Who calls. Raises UnauthenticatedError."""
        if self._actor is None:
            self._actor = self.run.tokens.actor(bearer(request.headers.get("Authorization")), self.now)
        return self._actor

    def transaction(self, *, read_only: bool = False) -> AbstractContextManager[Tx]:
        """A unit of work on the controller plane on behalf of the caller."""
        plane = self.run.services.controller
        return plane.transaction(self.actor(), self.now, request_id=self.id, read_only=read_only)

    def statement(self) -> AbstractContextManager[Tx]:
        """A unit of work of one statement on the controller plane on behalf of the caller."""
        return self.run.services.controller.statement(self.actor(), self.now, request_id=self.id)


def call() -> Call:
    """The current request."""
    found: Call | None = g.get("call")
    if found is None:
        found = g.call = Call(runtime())
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
    """A unit of work on the controller plane on behalf of the caller."""
    return call().transaction(read_only=read_only)


def endpoint(scope: str, *, unit: bool = True, answer_names_account: bool = False) -> Callable[[Callable[..., Any]], View]:
    """Guard a view: token, scope, then one transaction that the view gets as its first argument.

    `unit=False` leaves transactions to the view. A POST with an Idempotency-Key is carried out once, in one transaction with
    the answer that is kept; `answer_names_account` says that the answer's `id` is the account it tells of.
    """

    def decorate(view: Callable[..., Any]) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if scope in OPEN:
                return view(*args, **kwargs)
            this = call()
            if scope not in this.actor().scopes:
                raise ForbiddenError
            if not unit:
                return view(*args, **kwargs)
            with this.transaction() as tx:
                return _once(tx, view, kwargs, answer_names_account)

        guarded.access = Access(scope, unit)  # type: ignore[attr-defined]  # read by `access_of`
        return guarded

    return decorate


def expected_version() -> int:
    """The version that If-Match names. Raises PreconditionMissingError without, StaleError for no version of ours."""
    if "If-Match" not in request.headers:
        raise PreconditionMissingError
    tags = request.if_match.as_set(include_weak=False)  # a weak one never matches (RFC 9110, 13.1.1)
    tag = tags.pop() if len(tags) == 1 else ""
    if not (tag.isascii() and tag.isdigit() and len(tag) < 10):
        raise StaleError
    return int(tag)


def etag(version: int) -> dict[str, str]:
    """The ETag header of a version."""
    return {"ETag": f'"{version}"'}


def _once(tx: Tx, view: Callable[..., Any], kwargs: dict[str, Any], names_account: bool) -> Any:
    header = request.headers.get("Idempotency-Key") if request.method == "POST" else None
    if header is None:
        return view(tx, **kwargs)
    claimed = idempotency.claim(tx, _idempotency_key(header), _fingerprint())
    if claimed.earlier is not None:
        return _given_again(claimed.earlier)
    response = current_app.make_response(view(tx, **kwargs))
    kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    account_id = UUID(response.get_json()["id"]) if names_account else kwargs.get("account_id")
    answer = Answer(response.status_code, {"headers": kept, "body": response.get_data(as_text=True)})
    until = runtime().services.policy.rule_for("idempotency_keys").erasable_from(tx.now)
    idempotency.keep_answer(tx, claimed, account_id, request_id(), answer, expires_at=until)
    return response


def _idempotency_key(header: str) -> str:
    """The key, an RFC 8941 string: quoted, printable ASCII, up to 255 characters."""
    inner = header[1:-1]
    quoted = len(header) > 2 and header[0] == header[-1] == '"' and '"' not in inner
    if not (quoted and inner.isascii() and inner.isprintable() and len(inner) <= 255):
        problem = FieldError("Idempotency-Key", "must be a quoted string of printable ASCII, 1 to 255 characters", "query")
        raise InvalidError(errors=(problem,))
    return inner


def _fingerprint() -> bytes:
    return b"\0".join((request.method.encode(), request.full_path.encode(), whole_body()))


def _given_again(earlier: Answer) -> Response:
    return Response(earlier.content["body"], earlier.status, headers=earlier.content["headers"])
