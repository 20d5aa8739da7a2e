"""Clients: the cloud backends that call the API, each bound to one service and a set of scopes (RFC 6749, section 4.4)."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, DateTime, LargeBinary, String, Uuid, select
from sqlalchemy.orm import Mapped

from cloudpriv.audit import events
from cloudpriv.platform.actor import Service
from cloudpriv.platform.classify import Category, Erasure, about, withheld
from cloudpriv.platform.db import ControllerBase, Tx
from cloudpriv.platform.errors import InvalidError, NotFoundError
from cloudpriv.platform.ids import new_id

WHY: Final = "a backend of the vendor, not a person"
SCOPES: Final = frozenset({
    "accounts:read", "accounts:write", "credentials:verify", "credentials:write", "devices:read", "devices:write",
    "holds:read", "holds:write",
    "privacy:read", "privacy:write", "retention:read", "retention:write", "retention:approve",
    "traffic:read", "traffic:write", "audit:read", "logdata:support",
})  # fmt: skip


class Client(ControllerBase):
    """A backend that may ask for access tokens; its secret is kept as a hash only."""

    __tablename__ = "clients"
    __table_args__ = (
        CheckConstraint("service IN ('talk2m', 'intesis')", name="service"),
        about(Erasure.KEPT, why=WHY),
    )

    client_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, primary_key=True, why=WHY)
    name: Mapped[str] = withheld(Category.OPERATION, String, why=WHY)
    service: Mapped[str] = withheld(Category.OPERATION, String, why=WHY)
    scopes: Mapped[list[str]] = withheld(Category.OPERATION, ARRAY(String), why=WHY)
    secret_hash: Mapped[bytes] = withheld(Category.OPERATION, LargeBinary, why=WHY)
    created_at: Mapped[datetime] = withheld(Category.OPERATION, DateTime(timezone=True), why=WHY)
    revoked_at: Mapped[datetime | None] = withheld(Category.OPERATION, DateTime(timezone=True), nullable=True, why=WHY)


def register_client(tx: Tx, name: str, service: Service, scopes: Sequence[str]) -> tuple[Client, str]:
    """A new client and its secret, which is shown this once. Raises InvalidError for a scope that does not exist."""
    unknown = sorted(set(scopes) - SCOPES)
    if unknown or not scopes:
        raise InvalidError(f"There is no scope {', '.join(unknown)}." if unknown else "A client needs at least one scope.")
    secret = secrets.token_urlsafe(32)
    client = Client(
        client_id=new_id(),
        name=name,
        service=service,
        scopes=sorted(set(scopes)),
        secret_hash=_hash(secret),
        created_at=tx.now,
    )
    tx.session.add(client)
    events.record(tx, "client.create", subject_id=client.client_id)
    return client, secret


def find_client(tx: Tx, client_id: str) -> Client | None:
    """The client of this id unless it is revoked or the id is none."""
    try:
        key = UUID(client_id)
    except ValueError:
        return None
    query = select(Client).where(Client.client_id == key, Client.revoked_at.is_(None))
    return tx.session.scalars(query).one_or_none()


def list_clients(tx: Tx) -> list[Client]:
    """All clients, oldest first."""
    return list(tx.session.scalars(select(Client).order_by(Client.client_id)))


def revoke_client(tx: Tx, client_id: str) -> None:
    """Give the client no tokens any more. Raises NotFoundError."""
    client = find_client(tx, client_id)
    if client is None:
        raise NotFoundError
    client.revoked_at = tx.now
    events.record(tx, "client.revoke", subject_id=client.client_id)


def secret_matches(client: Client, secret: str) -> bool:
    """Whether this is the client's secret, in constant time. Secrets are 256 random bits, so a plain hash keeps them."""
    return hmac.compare_digest(client.secret_hash, _hash(secret))


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
