"""Fixtures of tests about people's rights."""

from collections.abc import Iterator

import pytest

from cloudpriv.bootstrap import Services
from tests.consents import Kim
from tests.mailbox import Mailbox, mail_server, with_mail


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """What the mail server took."""
    with mail_server() as found:
        yield found


@pytest.fixture
def postman(worker_services: Services, mailbox: Mailbox) -> Services:
    """A worker's services with that mail server."""
    return with_mail(worker_services, mailbox)


@pytest.fixture
def kim(services: Services, worker_services: Services, mailbox: Mailbox) -> Kim:
    """A person who has not said anything about consents."""
    return Kim(services, worker_services, mailbox)
