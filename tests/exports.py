"""What tests of exports start from, and a look into an archive."""

from datetime import datetime, timedelta
from hashlib import blake2b
from io import BytesIO
from uuid import UUID
from zipfile import ZipFile

from sqlalchemy import Engine, insert, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller.tables import TrafficSession
from cloudpriv.rights import export, requests
from cloudpriv.rights.requests import Identity
from tests.factories import NOW, transaction

IDENTIFIED = Identity("backend", "client:00000000-0000-7000-8000-000000000001")


def ask(services: Services, account_id: UUID, now: datetime = NOW) -> UUID:
    """Request a copy of the account's data; the id of its export."""
    with transaction(services, now=now) as tx:
        return requests.receive(tx, services.policy, account_id, "access", identity=IDENTIFIED).answer.export_id


def run(services: Services, export_id: UUID, now: datetime = NOW) -> None:
    """Do what a worker does."""
    export.run(
        services.controller, services.exports, services.policy, export_id, lambda: now, key=services.require_proof_key()
    )


def open_archive(services: Services, export_id: UUID, now: datetime = NOW) -> ZipFile:
    """The archive of a ready export."""
    with transaction(services, now=now) as tx:
        key = requests.open_archive(tx, export_id)
    return ZipFile(BytesIO(b"".join(services.exports.get_stream(key)[1])))


def make_session(services: Services, account_id: UUID, device_id: UUID, number: int = 1, **columns: object) -> None:
    """A session of a device: it starts `number` minutes into 2026-05-31 and lasts one."""
    start = datetime.fromisoformat("2026-05-31T00:00:00Z") + timedelta(minutes=number)
    row = {
        "account_id": account_id,
        "session_key": blake2b(number.to_bytes(8, "big"), digest_size=16).digest(),
        "device_id": device_id,
        "started_at": start,
        "ended_at": start + timedelta(minutes=1),
        "bytes_from_device": number,
        "bytes_to_device": 2 * number,
        "received_at": NOW,
        **columns,
    }
    with transaction(services) as tx:
        tx.session.execute(insert(TrafficSession), row)


def make_sessions(owner: Engine, account_id: UUID, device_id: UUID, number: int) -> None:
    """Very many sessions of a device."""
    statement = """
        INSERT INTO traffic (account_id, session_key, device_id, started_at, ended_at, bytes_from_device, bytes_to_device,
                             remote_address, received_at)
        SELECT :account, decode(md5(i::text), 'hex'), :device, start, start + interval '10 s', i, i * 7, '192.0.2.1', start
        FROM generate_series(1, :number) i, LATERAL (SELECT timestamptz '2025-01-01' + i * interval '1 s' AS start) s
    """.replace("i::text", "CAST(i AS text)")
    with owner.begin() as connection:
        connection.execute(text(statement), {"account": account_id, "device": device_id, "number": number})


def begin_purge(owner: Engine, account_id: UUID) -> None:
    """What a purge commits first: its mark on the account, and the end of its key."""
    with owner.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'purging' WHERE account_id = :id"), {"id": account_id})
        connection.execute(text("DELETE FROM account_keys WHERE account_id = :id"), {"id": account_id})


def fail_exports(owner: Engine) -> None:
    """As after the last attempt at every export there is."""
    with owner.begin() as connection:
        connection.execute(text("UPDATE exports SET status = 'failed', failure = 'internal', expires_at = now()"))


def stored(services: Services, account_id: UUID) -> list[str]:
    """Whatever the object store holds of an account's exports: objects, their versions, unfinished uploads."""
    prefix = f"exports/{account_id}/"
    return [*services.exports.keys(prefix), *(key for key, _ in services.exports.unfinished(prefix))]
