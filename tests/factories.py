"""Makes what tests start from: accounts, people, devices, through the services that the product uses."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, devices, people
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.devices import KnownDevice
from cloudpriv.controller.people import KnownPerson
from cloudpriv.platform.actor import OPERATOR, Actor, Service
from cloudpriv.platform.db import Tx

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
BACKEND = Actor("client", "00000000-0000-7000-8000-000000000001", "talk2m")
BOSS = Actor("client", "00000000-0000-7000-8000-000000000002", "talk2m")  # who approves what BACKEND planned
numbers = count(1)


@contextmanager
def transaction(services: Services, actor: Actor = OPERATOR, now: datetime = NOW) -> Iterator[Tx]:
    """One unit of work of a test."""
    with services.controller.transaction(actor, now) as tx:
        yield tx


def make_account(services: Services, *, service: Service = "talk2m", account_name: str | None = None,
                 created_at: datetime | None = None, now: datetime = NOW) -> OpenedAccount:  # fmt: skip
    """An account of a fictitious customer."""
    name = account_name or f"acme-water-{next(numbers)}"
    customer = {"company_name": "Acme Water Ltd", "company_id": "SE556000-0001"}
    with transaction(services, now=now) as tx:
        return accounts.open_account(tx, service, name, customer, created_at)


def make_person(services: Services, account_id: UUID, **identity: Any) -> KnownPerson:
    """A person of an account."""
    document = {"username": f"user-{next(numbers)}", "name": "Kim Example", "email": "kim@example.com", **identity}
    with transaction(services) as tx:
        return people.add_person(tx, account_id, "owner", document)


def make_device(services: Services, account_id: UUID, **identity: Any) -> KnownDevice:
    """A device of an account."""
    number = next(numbers)
    document = {"serial": f"1234-{number:04d}-24", "common_name": f"cosy-{number:04d}", "name": "Pump", **identity}
    with transaction(services) as tx:
        return devices.add_device(tx, account_id, "gateway", document)
