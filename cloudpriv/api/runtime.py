"""What the routes of the controller plane's API work with."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from flask import current_app
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import text

from cloudpriv.api.auth import Tokens
from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.api.once import answer_once
from cloudpriv.audit import figures as log_figures
from cloudpriv.bootstrap import Services
from cloudpriv.controller import holders
from cloudpriv.platform.actor import OPERATOR, Actor
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import BusyError, ForbiddenError
from cloudpriv.platform.passwords import Passwords
from cloudpriv.retention import figures
from cloudpriv.retention.restored import Watch
from cloudpriv.rights.cases import deadlines


@dataclass(frozen=True)
class Runtime:
    """Services, and what of them lives as long as the app: see `endpoint.Common`."""

    services: Services
    tokens: Tokens
    passwords: Passwords
    watch: Watch

    def actor(self, token: str, now: datetime) -> Actor:
        """The backend that a token was given to, or the account holder whose session it is, in the role of this moment.

        Raises UnauthenticatedError, also for a session of who is erased, or whose account is; BusyError.
        """
        actor = self.tokens.actor(token, now)
        if actor.account_id is None:
            return actor
        with self.services.controller.statement(actor, now) as tx:
            return holders.as_now(tx)

    def refuse(self) -> NoReturn:
        """Raises ForbiddenError: the caller lacks the scope of the route."""
        raise ForbiddenError

    def answer(self, tx: Tx, view: Any, kwargs: dict[str, Any], *, names_account: bool) -> Any:
        """The view's answer, once for each Idempotency-Key."""
        return answer_once(tx, view, kwargs, self.services.policy, names_account=names_account)

    def check_ready(self, now: datetime) -> None:
        """Raises BusyError while database or object store are away, RestoredError before a replay that is due."""
        services = self.services
        with services.controller.transaction(OPERATOR, now) as tx:
            tx.session.execute(text("SELECT 1"))
        services.exports.ready()
        self.watch.require_replayed(services.controller, services.ledger, services.clock)

    def figures(self, now: datetime) -> bytes:
        """What the database tells of purges, of the log and of requests; nothing while it is away, which is a signal too."""
        services = self.services
        try:
            with services.controller.transaction(OPERATOR, now, read_only=True) as tx:
                return _as_metrics(figures.read(tx, services.policy), log_figures.read(tx), deadlines.read(tx))
        except BusyError:
            return b""


def runtime() -> Runtime:
    """The runtime of the current app, which is one of the controller plane."""
    found: Runtime = current_app.extensions[EXTENSION]
    return found


def _as_metrics(found: figures.Figures, of_log: log_figures.Figures, of_requests: deadlines.Figures) -> bytes:
    registry = CollectorRegistry()
    for name, doc, value in (
        ("accounts_due", "Accounts that may be erased", found.due),
        ("oldest_due_seconds", "Since the first of them fell due", found.oldest_due),
        ("oldest_open_purge_seconds", "Since the first open purge was planned", found.oldest_open),
        ("purges_retried", "Open purges whose worker failed or stopped", found.retried),
        ("log_pending", "Audit events and certificates that no published checkpoint covers", of_log.pending),
        ("log_oldest_pending_seconds", "Since the first of them was made", of_log.oldest),
        ("requests_overdue", "Requests of data subjects whose last day to answer is over", of_requests.overdue),
        ("requests_nearly_due", "Requests of data subjects to be answered within seven days", of_requests.nearly_due),
        ("requests_stuck", "Requests of data subjects whose export has failed", of_requests.stuck),
        ("restrictions_untold", "Restrictions that go on as nobody was told that they end", of_requests.untold),
    ):
        Gauge(f"cloudpriv_{name}", doc, registry=registry).set(value)
    for name, doc, counts in (
        ("purges_open", "Purges that have not ended, by status", found.open),
        ("purges_ended_last_day", "Purges that ended within a day, by status", found.ended),
    ):
        gauge = Gauge(f"cloudpriv_{name}", doc, ["status"], registry=registry)
        for status, count in counts.items():
            gauge.labels(status).set(count)
    open_now = Gauge("cloudpriv_requests_open", "Requests that wait for an answer", ["type", "status"], registry=registry)
    for (type_, status), count in of_requests.open.items():
        open_now.labels(type_, status).set(count)
    return generate_latest(registry)
