"""Who calls the processor plane's API: customers' tokens, account holders' sessions, and the vendor's tokens, refused.

A customer's token is looked up in each request, so that revoking it works at once. Whatever is wrong with a token, the
answer is the same.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NoReturn
from uuid import UUID

from flask import current_app, request
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import text

from cloudpriv.api.auth import Checker
from cloudpriv.api.endpoint import EXTENSION, call
from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.actor import LOG_DATA_SCOPES, OPERATOR, Actor
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import BusyError, ForbiddenError, UnauthenticatedError
from cloudpriv.platform.watch import Watch
from cloudpriv.processor import events, tokens
from cloudpriv.processor.storage import restored
from cloudpriv.processor.upkeep import figures

STRANGER: Final = Actor("client", "unauthenticated")
CUSTOMERS: Final = frozenset({"device", "reader", "owner"})
VENDOR: Final = "Log data is the customer's; a token of the vendor reads it only by an instruction."
DATAMAILBOX: Final = "dmweb"
READER_NEEDED: Final = "The DataMailbox API needs a reader token; this is another."
AN_ID: Final = re.compile("[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")


@dataclass(frozen=True)
class Runtime:
    """Services, and what checks the tokens that the controller plane signs: see `endpoint.Common`."""

    services: ProcessorServices
    checker: Checker
    watch: Watch

    def actor(self, token: str, now: datetime) -> Actor:
        """On whose behalf a token's bearer acts. Raises UnauthenticatedError; RestoredError once a probe found a restore."""
        self.watch.require_found()
        if tokens.is_of_customer(token):
            return self._bearer_of(token, now)
        actor = self.checker.actor(token, now)
        # A token of the vendor can hold no scope of a customer, whoever signs what.
        return replace(actor, scopes=actor.scopes & LOG_DATA_SCOPES[actor.kind])

    def refuse(self, detail: str = VENDOR) -> NoReturn:
        """Raises ForbiddenError; that the vendor tried stands in the log that customers see, though nothing else is done.

        The vendor is told `detail`.
        """
        this = call()
        if this.actor().kind != "client":
            raise ForbiddenError(READER_NEEDED if request.blueprint == DATAMAILBOX else None)
        route = "" if request.url_rule is None else f"{request.method} {request.url_rule.rule}"
        named = [UUID(each) for each in request.args.getlist("account_id") if AN_ID.fullmatch(each)]
        with this.transaction() as tx:
            concerned = tokens.accounts_concerned(tx, named, (request.view_args or {}).get("instruction_id"))
            for account_id, instruction_id in concerned:
                events.record_refusal(tx, account_id, route, instruction_id)
        raise ForbiddenError(detail)

    def answer(self, tx: Tx, view: Any, kwargs: dict[str, Any], *, names_account: bool) -> Any:  # noqa: ARG002  endpoint.Common
        """The view's answer."""
        return view(tx, **kwargs)

    def check_ready(self, now: datetime) -> None:
        """Raises BusyError while database or object store are away, RestoredError until a restore is accepted."""
        with self.services.plane.transaction(OPERATOR, now) as tx:
            tx.session.execute(text("SELECT 1"))
        self.services.objects.ready()
        services = self.services
        self.watch.require(lambda: restored.require_current(services.plane, services.objects, services.clock), now)

    def figures(self, now: datetime) -> bytes:
        """What the database tells of work that waits; nothing while it is away, which is a signal too."""
        try:
            with self.services.plane.transaction(OPERATOR, now, read_only=True) as tx:
                return _as_metrics(figures.read(tx))
        except BusyError:
            return b""

    def _bearer_of(self, token: str, now: datetime) -> Actor:
        plane, this = self.services.plane, call()
        with plane.statement(STRANGER, now, request_id=this.id) as tx:
            found = tokens.find_token(tx, token)
        if found is None:
            raise UnauthenticatedError
        if not found.is_use_told(now):
            with plane.statement(found.actor, now, request_id=this.id) as tx:
                tokens.note_use(tx, found)
        return found.actor


def runtime() -> Runtime:
    """The runtime of the current app, which is one of the processor plane."""
    found: Runtime = current_app.extensions[EXTENSION]
    return found


def customer_of(token: str, now: datetime) -> Actor:
    """The customer that a token stands for, where it comes by another way than the Authorization header.

    The request is from then on that customer's. Raises UnauthenticatedError, and ForbiddenError for anybody but a customer.
    """
    this = call()
    actor = runtime().actor(token, now)
    this.act_as(actor)
    if actor.kind not in CUSTOMERS:
        this.run.refuse()
    return actor


def account_of(tx: Tx) -> UUID:
    """The account of the acting customer: the only one whose log data the request is about."""
    if tx.actor.account_id is None:
        raise ForbiddenError
    return tx.actor.account_id


def _as_metrics(found: figures.Figures) -> bytes:
    registry = CollectorRegistry()
    for name, doc, value in (
        ("log_tasks_oldest_seconds", "Since the first open task was asked for", found.oldest),
        ("log_tasks_retried", "Open tasks that failed before", found.retried),
    ):
        Gauge(f"cloudpriv_{name}", doc, registry=registry).set(value)
    open_tasks = Gauge("cloudpriv_log_tasks_open", "Tasks that wait for a worker, by kind", ["kind"], registry=registry)
    for kind, count in found.open.items():
        open_tasks.labels(kind).set(count)
    return generate_latest(registry)
