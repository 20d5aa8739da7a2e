"""Fixtures of API tests of the processor plane: its app on this test's database, and callers of an account."""

from dataclasses import replace
from uuid import UUID

import pytest
from flask import Flask

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.app import create_processor_app
from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.embedded.stack import Stack
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.watch import Watch
from tests.logdata import Caller, device_token, issuer, make_log_account, reader_token
from tests.stack import fresh_database


@pytest.fixture(scope="session")
def any_log_app(stack: Stack) -> Flask:
    """The processor plane's API on whatever database is set: its routes take long to make, and are the same for all."""
    with fresh_database(stack) as database:
        made = create_processor_app(database.processor("api"))
    made.testing = True
    return made


@pytest.fixture
def log_app(any_log_app: Flask, processor: ProcessorServices) -> Flask:
    """The processor plane's API on a fresh database."""
    any_log_app.extensions[EXTENSION] = replace(any_log_app.extensions[EXTENSION], services=processor, watch=Watch())
    return any_log_app


@pytest.fixture
def log_account(processor: ProcessorServices) -> UUID:
    """An account of the processor plane."""
    return make_log_account(processor)


@pytest.fixture
def device(log_app: Flask, processor: ProcessorServices, log_account: UUID) -> Caller:
    """The device `pump-1` of the account, with its token."""
    return Caller(log_app, device_token(processor, log_account), log_account)


@pytest.fixture
def reader(log_app: Flask, processor: ProcessorServices, log_account: UUID) -> Caller:
    """A program of the customer with a reader's token of the account."""
    return Caller(log_app, reader_token(processor, log_account), log_account)


@pytest.fixture
def owner(log_app: Flask, processor: ProcessorServices, stack: Stack, log_account: UUID) -> Caller:
    """The owner of the account, signed in."""
    session = issuer(stack, processor).issue_session(
        "talk2m", log_account, new_id(), "owner", processor.clock(), session_id=new_id()
    )
    return Caller(log_app, session, log_account)


@pytest.fixture
def vendor(log_app: Flask, processor: ProcessorServices, stack: Stack, log_account: UUID) -> Caller:
    """A client of the vendor with the one scope that reaches the plane."""
    token = issuer(stack, processor).issue(new_id(), "talk2m", "logdata:support", processor.clock())
    return Caller(log_app, token, log_account)
