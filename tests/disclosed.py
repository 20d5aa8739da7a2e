"""Disclosures that tests start from, and who acts in them beside backends: account holders."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import HOLDER, Actor, Kind
from cloudpriv.rights import disclosures
from cloudpriv.rights.disclosures import KnownDisclosure
from tests.factories import BACKEND, NOW, transaction

ALL: Sequence[str] = ("account", "connected_devices", "credentials", "identification", "traffic_metadata")


def holder(account_id: UUID, person_id: UUID, kind: Kind = "owner") -> Actor:
    """An account holder in the portal."""
    return Actor(kind, str(person_id), "talk2m", frozenset({HOLDER}), account_id)


def disclose(services: Services, account_id: UUID, **members: Any) -> KnownDisclosure:
    """A disclosure of all data of an account, or of a person in it, to a distributor in Sweden."""
    given = {
        "person_id": None,
        "recipient": "Nordic Distribution AB",
        "email": "privacy@distributor.example",
        "categories": ALL,
        "purpose": "sales",
        "country": "SE",
        "safeguard": None,
        "reference": "ND-17",
        "disclosed_at": NOW,
        **members,
    }
    with transaction(services, BACKEND) as tx:
        return disclosures.record(tx, services.policy, account_id, **given)
