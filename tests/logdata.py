"""Makes what tests of log data start from: accounts of the processor plane, who acts on them, and callers of its API."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cloudpriv.api.auth import Tokens
from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.embedded.stack import Stack
from cloudpriv.platform.actor import LOG_DATA_SCOPES, OPERATOR, Actor, Service
from cloudpriv.platform.db import Tx
from cloudpriv.platform.ids import new_id
from cloudpriv.processor import accounts, devices, tasks, tokens
from tests.factories import NOW
from workers import processor as worker

EVERYTHING = 10_000  # tasks that tasks make: more than any test waits for


@contextmanager
def log_transaction(processor: ProcessorServices, actor: Actor = OPERATOR, now: datetime = NOW) -> Iterator[Tx]:
    """One unit of work of a test on the processor plane."""
    with processor.plane.transaction(actor, now) as tx:
        yield tx


def make_log_account(processor: ProcessorServices, now: datetime = NOW) -> UUID:
    """An account of the processor plane."""
    account_id = new_id()
    with log_transaction(processor, now=now) as tx:
        accounts.open_account(tx, account_id)
    return account_id


def owner_actor(account_id: UUID, service: Service = "talk2m") -> Actor:
    """The owner of an account, signed in."""
    return Actor("owner", str(new_id()), service, LOG_DATA_SCOPES["owner"], account_id)


def device_token(processor: ProcessorServices, account_id: UUID, device: str = "pump-1", now: datetime = NOW) -> str:
    """The text of a new token of a device, which is made when there is none of that name."""
    with log_transaction(processor, owner_actor(account_id), now) as tx:
        device_id = devices.ensure_device(tx, accounts.open_account(tx, account_id), device)
        return tokens.make_token(tx, "device", f"token of {device}", device_id)[1]


def reader_token(processor: ProcessorServices, account_id: UUID, now: datetime = NOW) -> str:
    """The text of a new reader's token."""
    with log_transaction(processor, owner_actor(account_id), now) as tx:
        return tokens.make_token(tx, "reader", "dashboard")[1]


def device_actor(processor: ProcessorServices, account_id: UUID, device: str = "pump-1", now: datetime = NOW) -> Actor:
    """Who acts with a device's token."""
    return _bearer_of(processor, device_token(processor, account_id, device, now))


def reader_actor(processor: ProcessorServices, account_id: UUID, now: datetime = NOW) -> Actor:
    """Who acts with a reader's token."""
    return _bearer_of(processor, reader_token(processor, account_id, now))


def carry_out(processor_worker: ProcessorServices) -> int:
    """Do all open tasks whose time has come, and those that come of them; how many."""
    for done in range(EVERYTHING):
        with processor_worker.plane.transaction(OPERATOR, processor_worker.clock()) as tx:
            waiting = tasks.unfinished(tx, limit=1)
        if not waiting:
            return done
        worker.carry_out(processor_worker, waiting[0])
    raise AssertionError("tasks never end")


def issuer(stack: Stack, processor: ProcessorServices) -> Tokens:
    """What signs access tokens and sessions in the embedded stack."""
    return Tokens(Path(stack.environment["CLOUDPRIV_SIGNING_KEY_FILE"]), processor.settings.token_issuer)


class Caller:
    """Speaks HTTP to an app with a bearer token."""

    def __init__(self, app: Flask, token: str, account_id: UUID) -> None:
        self.http: FlaskClient = app.test_client()
        self.token = token
        self.account_id = account_id

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> TestResponse:
        """One request with the token; `body` goes as JSON."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return self.http.open(path, method=method, json=body, headers=headers, **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        """GET with the token."""
        return self.send("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> TestResponse:
        """POST with the token; `body` goes as JSON, `data` as it is."""
        return self.send("POST", path, body, **options)


def _bearer_of(processor: ProcessorServices, text: str) -> Actor:
    with processor.plane.statement(OPERATOR, NOW) as tx:
        found = tokens.find_token(tx, text)
    assert found is not None
    return found.actor
