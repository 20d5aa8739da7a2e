"""The steps of an erasure. Each ends in a commit that moves the purge's row, and each may be done again from its start."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from redis import Redis
from sqlalchemy import text

from cloudpriv.audit import certificates, events
from cloudpriv.controller import log_data as told
from cloudpriv.controller.tables import Account, AccountKey
from cloudpriv.platform import jobs
from cloudpriv.platform.db import Plane, Tx, database_time
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.policy.register import Policy
from cloudpriv.processor.upkeep import erasure
from cloudpriv.retention import certify, due, erase, holds, ledger, log_data, queued
from cloudpriv.retention.lease import LEASE, PAUSE, Grip, Unit, release
from cloudpriv.retention.ledger import Entry
from cloudpriv.retention.tables import Hold

log = structlog.get_logger(__name__)

STEPS: Final = ("keys", "logdata", "objects", "queue", "rows", "verify", "certificate", "done")
# What has no effect outside the database is not awaited on disk. A crash of the server may take it back, whole, and it is
# done again; the commit that ends the purge awaits all before it.
MAY_BE_REPEATED: Final = text("SET LOCAL synchronous_commit = off")
KEYS: Final = AccountKey.__tablename__
TOLD_AGAIN: Final = timedelta(minutes=1)  # at whether the mails that an erasure waits for were taken
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


@dataclass(frozen=True)
class Erasure:
    """One worker at one purge."""

    grip: Grip
    stores: Stores
    policy: Policy
    account_id: UUID


def begin(grip: Grip, stores: Stores, policy: Policy) -> tuple[UUID, str | None]:
    """Recheck and shred, unless that was done before: the account, and the step to go on with, None to end here.

    From the recheck to the commit log data takes no point, which would be traffic; its key goes right after the account's.
    """
    with ExitStack() as until_shredded:
        with grip.unit_with_account() as (unit, account):
            account_id = account.account_id
            if unit.purge.step != "keys":
                return account_id, unit.purge.step
            held, now = _held(unit, account_id), min(unit.tx.now, database_time(unit.tx))
            if _may_not_begin(unit, account, policy, held, now) or _has_to_tell(unit, stores, account_id):
                return account_id, None
            across = until_shredded.enter_context(log_data.closed(stores.eraser, unit.tx.now))
            if across and _has_log_data_of_late(unit, across, account, policy, now):
                return account_id, None
            step = _shred(unit, account_id, held, log_data_follows=across is not None)
            account.status = "purging"
        if across:
            erasure.order(across, account_id)
    return account_id, step


def _may_not_begin(unit: Unit, account: Account, policy: Policy, held: Sequence[Hold], now: datetime) -> bool:
    """Whether the erasure ends here, since the account is not due, or waits for the end of a hold or a restriction."""
    tx, purge = unit.tx, unit.purge
    if purge.trigger == "policy":
        told.hear(tx, account)
        if _is_over(unit, account, policy, now):
            return True
        purge.rule, purge.policy_version = due.rule_name(policy), policy.version
    kept_whole = any(each.scope == "account" for each in held)
    if kept_whole or (account.status == "restricted" and purge.trigger != "replay"):
        _put_off(unit, held)
        purge.status = "planned"
        return True
    if account.status == "closing" and account.closes_at is not None and account.closes_at > now:
        _wait(unit, account.closes_at)  # its owner may still undo it
        return True
    return False


def _has_to_tell(unit: Unit, stores: Stores, account_id: UUID) -> bool:
    """Whether the erasure waits until recipients of the data are told. Before a restore they were told already."""
    if stores.farewell is None or unit.purge.trigger == "replay" or stores.farewell(unit.tx, account_id):
        return False
    _wait(unit, unit.tx.now + TOLD_AGAIN)
    return True


def _has_log_data_of_late(unit: Unit, across: Tx, account: Account, policy: Policy, now: datetime) -> bool:
    """Whether the erasure ends here, since log data had traffic that nobody has told of yet."""
    by_policy = unit.purge.trigger == "policy"
    log_data.close(unit.tx, across, account, due.rule(policy).anchor_cutoff(now) if by_policy else None)
    return by_policy and _is_over(unit, account, policy, now)


def _is_over(unit: Unit, account: Account, policy: Policy, now: datetime) -> bool:
    """Cancel a purge by policy of an account that is not due; `now` is the slower clock: neither alone makes one due."""
    if due.is_due(policy, account, now):
        return False
    _close(unit, "cancelled")
    events.record(unit.tx, "purge.cancel", account_id=account.account_id, subject_id=unit.purge.purge_id)
    return True


def _shred(unit: Unit, account_id: UUID, held: Sequence[Hold], *, log_data_follows: bool) -> str:
    """Delete the data key; the step after that of log data, which a crash must not find with the account still there."""
    _count(unit, erase.shred_key(unit.tx, account_id, held))
    following = _after_log_data(unit, account_id)
    unit.purge.step = "logdata" if log_data_follows else following
    if unit.purge.step == "rows":
        unit.tx.session.execute(MAY_BE_REPEATED)
    return following


def _after_log_data(unit: Unit, account_id: UUID) -> str:
    return "objects" if erase.may_have_objects(unit.tx, account_id) else _after_objects(unit, account_id)


def _order_log_data(work: Erasure) -> str:
    """Have log data erased, where a worker stopped between the account's key and the order."""
    with log_data.closed(work.stores.eraser, work.grip.clock()) as across:
        if across:
            erasure.order(across, work.account_id)
    with work.grip.unit("logdata") as unit:
        unit.purge.step = _after_log_data(unit, work.account_id)
        return unit.purge.step


def _erase_objects(work: Erasure) -> str | None:
    with work.grip.unit("objects") as unit:
        busy_until = erase.leased_until(unit.tx, work.account_id)
        if busy_until is not None:  # an export may still be uploading; it sees the shredded account and stops
            release(unit.purge, busy_until)
            return None
    _erase_found(work)
    with work.grip.unit() as unit:
        unit.purge.step = _after_objects(unit, work.account_id)
        return unit.purge.step


def _after_objects(unit: Unit, account_id: UUID) -> str:
    return "queue" if queued.subjects(unit.tx, account_id) else "rows"


def _empty_queue(work: Erasure) -> str:
    """Take the account's jobs out of Redis, while its rows still tell which they are."""
    with work.grip.unit("queue") as unit:
        subjects = queued.withdraw(unit.tx, work.account_id)
    jobs.forget(work.stores.queue, subjects)
    return "rows"


def _erase_rows(work: Erasure) -> str | None:
    with work.grip.unit("rows") as unit:
        unit.tx.session.execute(MAY_BE_REPEATED)
        held = _held(unit, work.account_id)
        more = _erase_batch(unit, work.account_id, held)
        if held and not more:
            _put_off(unit, held)
            return None
    return "rows" if more else "verify"


def _verify(work: Erasure) -> str | None:
    """Erase the last batch and look everywhere. When nothing is left, all that may fail is behind us, else it waits."""
    objects_left = _erase_found(work)
    log_data_erased = log_data.erased(work.stores.eraser, work.account_id, work.grip.clock())
    with work.grip.unit("verify") as unit:
        held = _held(unit, work.account_id)
        if held:
            _put_off(unit, held)
            unit.purge.step = "rows"
            return None
        _erase_batch(unit, work.account_id, held)
        if log_data_erased is None:  # the processor plane's workers are at it
            unit.purge.attempts -= 1
            release(unit.purge, unit.tx.now + PAUSE)
            return None
        tables_left = erase.tables_left(unit.tx, work.account_id)
        if objects_left or tables_left:
            log.error("erasure_incomplete", purge=str(work.grip.purge_id), objects=objects_left, tables=tables_left)
            release(unit.purge, unit.tx.now + LEASE)
            return None
        unit.purge.erased_at = unit.tx.now
        unit.purge.counts = {**unit.purge.counts, **log_data_erased, erase.ACCOUNTS: 1}
        unit.purge.step = "certificate"
        entry = certify.ledger_entry(unit.purge, work.account_id)
    _conclude(work, entry, first=True)  # its key has the time of this moment
    return None


def _certify(work: Erasure) -> None:
    """Go on where a worker stopped after everything was verified."""
    with work.grip.unit("certificate") as unit:
        entry = certify.ledger_entry(unit.purge, work.account_id)
    _conclude(work, entry, first=False)


def _conclude(work: Erasure, entry: Entry, *, first: bool) -> None:
    """Write the ledger's object, then the certificate and the ledger's row in the transaction that ends the purge."""
    with work.grip.kept():
        ledger.store(work.stores.ledger, entry, first=first)
    with work.grip.unit("certificate") as unit:
        tx, purge = unit.tx, unit.purge
        erase.erase_account(tx, work.account_id)
        body = certify.certificate_body(work.policy, purge, entry.account_hash)
        key, purge_id, service = work.stores.proof_key, purge.purge_id, purge.service
        purge.certificate_id = certificates.issue(tx, key, purge_id=purge_id, service=service, body=body)
        certify.enter(tx, entry, purge.certificate_id)
        events.record(tx, "account.erased", account_id=work.account_id, subject_id=purge_id)
        _close(unit, "done")
        purge.step, purge.account_id = "done", None


WORK: Final[dict[str, Callable[[Erasure], str | None]]] = {
    "logdata": _order_log_data,
    "objects": _erase_objects,
    "queue": _empty_queue,
    "rows": _erase_rows,
    "verify": _verify,
    "certificate": _certify,
}


def _held(unit: Unit, account_id: UUID) -> Sequence[Hold]:
    """What holds keep of the account. What was erased before a restore stays erased, whatever the backup says of holds."""
    return [] if unit.purge.trigger == "replay" else holds.active(unit.tx, account_id)


def _put_off(unit: Unit, held: Sequence[Hold]) -> None:
    """Have the purge wait for the next end of a hold, or for a day."""
    unit.purge.attempts -= 1  # to look at what may not go is none
    end = holds.next_end(held) or unit.tx.now + LOOK_AGAIN
    release(unit.purge, max(end, unit.tx.now + LEASE))  # over by this host's clock and not by the database's


def _wait(unit: Unit, until: datetime) -> None:
    """Have the purge wait; nothing was attempted."""
    unit.purge.attempts -= 1
    unit.purge.status = "planned"
    release(unit.purge, max(until, unit.tx.now + LEASE))


def _erase_batch(unit: Unit, account_id: UUID, held: Sequence[Hold]) -> bool:
    if not held and KEYS not in unit.purge.counts:  # a hold has kept it
        _count(unit, erase.shred_key(unit.tx, account_id))
    erased, more = erase.erase_rows(unit.tx, account_id, held)
    _count(unit, erased)
    return more


def _count(unit: Unit, erased: dict[str, int]) -> None:
    unit.purge.counts = erase.added(unit.purge.counts, erased)
    if erased.get(KEYS):
        unit.purge.shredded_at = unit.tx.now


def _erase_found(work: Erasure) -> int:
    with work.grip.kept():
        found = erase.count_objects(work.stores.objects, work.account_id)
        if found:
            with work.grip.unit() as unit:  # before they go, so that the count survives a stop in between
                known = unit.purge.counts.get(erase.OBJECTS, 0)
                unit.purge.counts = {**unit.purge.counts, erase.OBJECTS: max(found, known)}
            erase.erase_objects(work.stores.objects, work.account_id)
    return found


def _close(unit: Unit, status: str) -> None:
    release(unit.purge, None)
    unit.purge.status, unit.purge.finished_at = status, unit.tx.now
