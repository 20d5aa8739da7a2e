"""Rate limits, counted in Redis by the `limits` library: per client, and per account for password checks.

A process takes a client's allowance from Redis in portions of a hundredth, so that most requests cost no round trip: a
client can lose at most a portion per process and window to that, and never gain. While Redis is away each process counts
in its own memory: a limit that is too generous for a moment, and no outage.
"""

from dataclasses import dataclass
from threading import Lock
from typing import Final

from flask import Flask, Response, current_app, request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter
from redis.exceptions import RedisError

from cloudpriv.api.endpoint import EXTENSION, Common, call, current_actor
from cloudpriv.platform.errors import BusyError, RateLimitedError, UnauthenticatedError
from cloudpriv.platform.text import normalised

POLICY: Final = "default"
CALLER: Final = "caller"
VERIFICATION: Final = "verification"
LIMITS: Final = "cloudpriv_limits"
LATER: Final = frozenset({"dmweb"})  # blueprints whose callers are known by their parameters, and who are limited then
UNLIMITED: Final = frozenset({"operations.healthz", "operations.readyz", "operations.metrics"})
PORTIONS: Final = 100
MOST_KEYS: Final = 10_000


@dataclass
class Allowance:
    """What one caller may still do in this window: locally, and in Redis when last asked."""

    here: int
    elsewhere: int
    reset: float


class Limits:
    """Hands out allowances of one limit."""

    def __init__(self, item: RateLimitItem, run: Common) -> None:
        self.item = item
        pool = run.services.redis.connection_pool
        self._shared = FixedWindowRateLimiter(RedisStorage("redis://", connection_pool=pool))
        self._alone = FixedWindowRateLimiter(MemoryStorage())
        self._allowances: dict[str, Allowance] = {}
        self._lock = Lock()

    def take(self, key: str, now: float) -> Allowance:
        """One request of `key`. Raises RateLimitedError when its window is used up."""
        with self._lock:
            held = self._allowances.get(key)
            if held is not None and held.here > 0 and held.reset > now:
                held.here -= 1
                return Allowance(held.here, held.elsewhere, held.reset)
        return self._fetch(key)

    def _fetch(self, key: str) -> Allowance:
        portion = max(1, self.item.amount // PORTIONS)
        granted, remaining, reset = self._ask(key, portion)
        fetched = Allowance(granted - 1, remaining, reset)
        call().allowance = fetched
        if not granted:
            raise RateLimitedError
        with self._lock:
            if len(self._allowances) >= MOST_KEYS:
                self._allowances.clear()
            self._allowances[key] = fetched
        return fetched

    def _ask(self, key: str, portion: int) -> tuple[int, int, float]:
        try:
            return _consume(self._shared, self.item, key, portion)
        except RedisError:
            return _consume(self._alone, self.item, key, 1)


def install(app: Flask, run: Common, **rates: str) -> None:
    """Limit every route of the app but probes, and tell callers where they stand (draft-ietf-httpapi-ratelimit-headers).

    `rates` are limits beside that of a caller, by the names that routes know them by.
    """
    named = {CALLER: run.services.settings.rate_limit, **rates}
    app.extensions[LIMITS] = {name: Limits(parse(rate), run) for name, rate in named.items()}
    app.before_request(_limit_caller)
    app.after_request(_tell)


def limit_verification(account_name: str) -> None:
    """Count one password check of an account, whose name never reaches Redis. Raises RateLimitedError."""
    _take(VERIFICATION, f"{current_actor().id}:{_hidden(normalised(account_name))}")


def limit_caller() -> None:
    """Count one request of the client, or of the address of whoever has no token. Raises RateLimitedError."""
    _take(CALLER, _caller())


def _hidden(of: str) -> str:
    """What Redis is told of a name or an address."""
    return call().run.services.plane.keys.blind_index("verification limit", of).hex()


def _limit_caller() -> None:
    if request.endpoint not in UNLIMITED and request.blueprint not in LATER:
        limit_caller()


def _take(kind: str, key: str) -> None:
    limits: Limits = current_app.extensions[LIMITS][kind]
    this = call()
    this.limit = limits.item
    this.allowance = limits.take(f"{kind}:{key}", this.now.timestamp())


def _caller() -> str:
    """The client's id; the address of whoever has no token, so that guessing secrets is limited too."""
    try:
        return current_actor().id
    except (UnauthenticatedError, BusyError):
        return _hidden(request.remote_addr or "unknown")


def _consume(limiter: FixedWindowRateLimiter, item: RateLimitItem, key: str, portion: int) -> tuple[int, int, float]:
    """How many requests are granted (0 when none), how many are left to others, and when the window ends."""
    granted = next((cost for cost in dict.fromkeys((portion, 1)) if limiter.hit(item, EXTENSION, key, cost=cost)), 0)
    reset, remaining = limiter.get_window_stats(item, EXTENSION, key)
    return granted, remaining, reset


def _tell(response: Response) -> Response:
    this = call()
    if this.allowance is None:
        return response
    allowance: Allowance = this.allowance
    item: RateLimitItem = this.limit
    seconds = max(0, round(allowance.reset - this.now.timestamp()))
    response.headers["RateLimit-Policy"] = f'"{POLICY}";q={item.amount};w={item.get_expiry()}'
    response.headers["RateLimit"] = f'"{POLICY}";r={max(0, allowance.here + allowance.elsewhere)};t={seconds}'
    if response.status_code == 429 and allowance.here < 0:  # refused here, not by a rule of the page's own
        response.headers["Retry-After"] = str(max(1, seconds))
    return response
