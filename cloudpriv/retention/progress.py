"""How an erasure goes: what it reaches, waits for and counts, and which step follows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from redis import Redis
from sqlalchemy import text

from cloudpriv.controller.tables import AccountKey
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.retention import erase, holds, queued
from cloudpriv.retention.lease import LEASE, Unit, release
from cloudpriv.retention.tables import Hold

# What has no effect outside the database is not awaited on disk. A crash of the server may take it back, whole, and it is
# done again; the commit that ends the purge awaits all before it.
MAY_BE_REPEATED: Final = text("SET LOCAL synchronous_commit = off")
KEYS: Final = AccountKey.__tablename__
LOOK_AGAIN: Final = timedelta(days=1)  # at what a hold without an end keeps, or a restriction; releasing it wakes a worker


@dataclass(frozen=True)
class Stores:
    """What an erasure reaches beside the database: objects, the queue, the ledger's bucket, and the key that certifies.

    And log data, by `eraser`, where there is a processor plane. `farewell` tells whoever is to be told before an account
    goes, and says whether that is done; it is called under the account's lock.
    """

    objects: ObjectStore
    queue: Redis
    ledger: ObjectStore
    proof_key: Ed25519PrivateKey
    eraser: Plane | None = None
    farewell: Callable[[Tx, UUID], bool] | None = None


def held(unit: Unit, account_id: UUID) -> Sequence[Hold]:
    """What holds keep of the account. What was erased before a restore stays erased, whatever the backup says of holds."""
    return [] if unit.purge.trigger == "replay" else holds.active(unit.tx, account_id)


def put_off(unit: Unit, held: Sequence[Hold]) -> None:
    """Have the purge wait for the next end of the holds that keep it, or for a day."""
    unit.purge.attempts -= 1  # to look at what may not go is none
    end = holds.next_end(held) or unit.tx.now + LOOK_AGAIN
    release(unit.purge, max(end, unit.tx.now + LEASE))  # over by this host's clock and not by the database's


def wait(unit: Unit, until: datetime) -> None:
    """Have the purge wait; nothing was attempted."""
    unit.purge.attempts -= 1
    unit.purge.status = "planned"
    release(unit.purge, max(until, unit.tx.now + LEASE))


def count(unit: Unit, erased: dict[str, int]) -> None:
    """Add what was erased to what the purge has counted, and note when the account's key went."""
    unit.purge.counts = erase.added(unit.purge.counts, erased)
    if erased.get(KEYS):
        unit.purge.shredded_at = unit.tx.now


def close(unit: Unit, status: str) -> None:
    """End the purge as `status`."""
    release(unit.purge, None)
    unit.purge.status, unit.purge.finished_at = status, unit.tx.now


def after_log_data(unit: Unit, account_id: UUID) -> str:
    """The step after that of log data."""
    return "objects" if erase.may_have_objects(unit.tx, account_id) else after_objects(unit, account_id)


def after_objects(unit: Unit, account_id: UUID) -> str:
    """The step after that of objects."""
    return "queue" if queued.subjects(unit.tx, account_id) else "rows"
