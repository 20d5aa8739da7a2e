"""Fixtures of the portal's tests: an app on this test's database at a time of the test's choice, and people who use it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask

from cloudpriv.api import throttle
from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.app import create_app
from cloudpriv.bootstrap import Services
from cloudpriv.embedded.stack import Stack
from cloudpriv.retention.restored import Watch
from tests.holders import Holder, Time, make_holder
from tests.mailbox import Mailbox, mail_server, with_mail
from tests.stack import fresh_database


@pytest.fixture(scope="session")
def any_portal(stack: Stack) -> Flask:
    """The API and the portal on whatever database is set: their routes take long to make, and are the same for all."""
    with fresh_database(stack) as database:
        made = create_app(database.services("api"))
    made.testing = True
    return made


@pytest.fixture
def time() -> Time:
    """The time that the app takes it to be; a test may set it."""
    return Time()


@pytest.fixture
def app(any_portal: Flask, services: Services, time: Time) -> Flask:
    """The API and the portal on a fresh database."""
    at_that_time = replace(services, clock=time)
    any_portal.extensions[EXTENSION] = replace(any_portal.extensions[EXTENSION], services=at_that_time, watch=Watch())
    throttle.ALONE.clear()
    return any_portal


@pytest.fixture
def kim(app: Flask, services: Services) -> Holder:
    """The owner of an account, not signed in."""
    return make_holder(app, services)


@pytest.fixture
def alex(app: Flask, services: Services, kim: Holder) -> Holder:
    """A member of kim's account, not signed in."""
    return make_holder(app, services, kim.account_id, role="member", username="alex", name="Alex Example")


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """What the mail server took."""
    with mail_server() as found:
        yield found


@pytest.fixture
def postman(worker_services: Services, mailbox: Mailbox) -> Services:
    """A worker's services with that mail server."""
    return with_mail(worker_services, mailbox)
