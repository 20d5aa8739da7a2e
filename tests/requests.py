"""What tests of requests start from: staff, account holders, and requests of any type."""

from datetime import datetime
from typing import Any
from uuid import UUID

from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import HOLDER, OPERATOR, Actor, Service
from cloudpriv.rights import requests
from cloudpriv.rights.requests import Identity, KnownRequest
from tests.exports import IDENTIFIED
from tests.factories import NOW, transaction

DOCUMENTS = Identity("documents", "operator:cli", "passport and a letter of the company")


def owner(account_id: UUID, person_id: UUID, service: Service = "talk2m") -> Actor:
    """An account's owner, signed in."""
    return Actor("owner", str(person_id), service, frozenset({HOLDER}), account_id)


def member(account_id: UUID, person_id: UUID, service: Service = "talk2m") -> Actor:
    """A member of an account, signed in."""
    return Actor("member", str(person_id), service, frozenset({HOLDER}), account_id)


def receive(services: Services, account_id: UUID, type_: str = "access", *, now: datetime = NOW, actor: Actor = OPERATOR,
            identity: Identity | None = IDENTIFIED, **about: Any) -> KnownRequest:  # fmt: skip
    """A request, identified unless told otherwise."""
    with transaction(services, actor, now) as tx:
        return requests.receive(tx, services.policy, account_id, type_, identity=identity, **about)


def read(services: Services, known: KnownRequest, actor: Actor = OPERATOR, now: datetime = NOW) -> KnownRequest:
    """The request as it is now."""
    with transaction(services, actor, now) as tx:
        return requests.read_request(tx, known.row.request_id)


def state(services: Services, *known: KnownRequest) -> list[str]:
    """The states of requests."""
    return [read(services, each).row.status for each in known]
