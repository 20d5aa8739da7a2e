"""What tests of the proof start from: a key, events, certificates, a published log."""

from datetime import datetime
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, select, text

from cloudpriv.audit import certificates, checkpoints, events, log, tiles
from cloudpriv.audit.events import AuditEvent
from cloudpriv.audit.merkle import WIDTH
from cloudpriv.audit.tables import Log
from cloudpriv.bootstrap import Services
from cloudpriv.platform.ids import new_id
from tests.factories import NOW, transaction

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
BASE = "privacy.example.com"


def make_events(services: Services, count: int) -> list[UUID]:
    """Events of accounts, in the order that the log takes them."""
    accounts = sorted(new_id() for _ in range(count))
    with transaction(services) as tx:
        events.record_each(tx, "account.read", accounts)
    with transaction(services) as tx:
        ids = tx.connection.execute(text("SELECT event_id FROM audit_events ORDER BY event_id DESC LIMIT :n"), {"n": count})
        return list(ids.scalars())[::-1]


def make_certificate(services: Services, purge_id: UUID | None = None, key: Ed25519PrivateKey = KEY) -> UUID:
    """A certificate of some erasure."""
    body = {"rule": "traffic/P7Y", "counts": {"traffic": 3, "people": 1}, "erased_at": NOW}
    with transaction(services) as tx:
        return certificates.issue(tx, key, purge_id=purge_id or new_id(), service="talk2m", body=body)


def advance(services: Services, key: Ed25519PrivateKey = KEY, now: datetime = NOW) -> int:
    """Log what is pending."""
    return log.advance(services.controller, services.ledger, key, BASE, lambda: now)


def vkeys(services: Services) -> str:
    """The verifier keys of all logs, one a line."""
    with transaction(services) as tx:
        return "\n".join(log.verifier_keys(tx))


def newest(services: Services) -> str:
    """The newest checkpoint."""
    with transaction(services) as tx:
        note = checkpoints.newest_checkpoint(tx)
    assert note is not None
    return note


def hash_anew(services: Services) -> None:
    """What an owner of the database does after changing events, to have them look as if they had always been so."""
    with transaction(services) as tx:
        log_row = tx.session.scalars(select(Log)).one()
        ids = [entry for number in range(-(-log_row.size // WIDTH)) for entry in tiles.entries(tx, log_row.log, number)]
        stored = tx.session.execute(select(AuditEvent.__table__)).mappings()
        leaves = {row["event_id"]: events.leaf(row) for row in stored}
        log_row.size = 0
        tiles.append(tx, log_row, [(entry, leaves[entry]) for entry in ids])


def change(owner: Engine, statement: str, **values: object) -> None:
    """What only the owner of the database could do."""
    with owner.begin() as connection:
        assert connection.execute(text(statement), values).rowcount
