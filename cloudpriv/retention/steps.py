"""The steps of an erasure after its beginning. Each ends in a commit that moves the purge's row, and may be done again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from cloudpriv.audit import certificates, events
from cloudpriv.platform import jobs
from cloudpriv.policy.register import Policy
from cloudpriv.processor.upkeep import erasure
from cloudpriv.retention import certify, erase, ledger, log_data, progress, queued
from cloudpriv.retention.lease import LEASE, PAUSE, Grip, Unit, release
from cloudpriv.retention.ledger import Entry
from cloudpriv.retention.progress import Stores
from cloudpriv.retention.tables import Hold

log = structlog.get_logger(__name__)

STEPS: Final = ("keys", "logdata", "objects", "queue", "rows", "verify", "certificate", "done")


@dataclass(frozen=True)
class Erasure:
    """One worker at one purge."""

    grip: Grip
    stores: Stores
    policy: Policy
    account_id: UUID


def _order_log_data(work: Erasure) -> str:
    """Have log data erased, where a worker stopped between the account's key and the order."""
    with log_data.closed(work.stores.eraser, work.grip.clock()) as across:
        if across:
            erasure.order(across, work.account_id)
    with work.grip.unit("logdata") as unit:
        unit.purge.step = progress.after_log_data(unit, work.account_id)
        return unit.purge.step


def _erase_objects(work: Erasure) -> str | None:
    with work.grip.unit("objects") as unit:
        busy_until = erase.leased_until(unit.tx, work.account_id)
        if busy_until is not None:  # an export may still be uploading; it sees the shredded account and stops
            release(unit.purge, busy_until)
            return None
    _erase_found(work)
    with work.grip.unit() as unit:
        unit.purge.step = progress.after_objects(unit, work.account_id)
        return unit.purge.step


def _empty_queue(work: Erasure) -> str:
    """Take the account's jobs out of Redis, while its rows still tell which they are."""
    with work.grip.unit("queue") as unit:
        subjects = queued.withdraw(unit.tx, work.account_id)
    jobs.forget(work.stores.queue, subjects)
    return "rows"


def _erase_rows(work: Erasure) -> str | None:
    with work.grip.unit("rows") as unit:
        unit.tx.session.execute(progress.MAY_BE_REPEATED)
        held = progress.held(unit, work.account_id)
        more = _erase_batch(unit, work.account_id, held)
        if held and not more:
            progress.put_off(unit, held)
            return None
    return "rows" if more else "verify"


def _verify(work: Erasure) -> str | None:
    """Erase the last batch and look everywhere. When nothing is left, all that may fail is behind us, else it waits."""
    objects_left = _erase_found(work)
    log_data_erased = log_data.erased(work.stores.eraser, work.account_id, work.grip.clock())
    with work.grip.unit("verify") as unit:
        held = progress.held(unit, work.account_id)
        if held:
            progress.put_off(unit, held)
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
        progress.close(unit, "done")
        purge.step, purge.account_id = "done", None


WORK: Final[dict[str, Callable[[Erasure], str | None]]] = {
    "logdata": _order_log_data,
    "objects": _erase_objects,
    "queue": _empty_queue,
    "rows": _erase_rows,
    "verify": _verify,
    "certificate": _certify,
}


def _erase_batch(unit: Unit, account_id: UUID, held: Sequence[Hold]) -> bool:
    if not held and progress.KEYS not in unit.purge.counts:  # a hold has kept it
        progress.count(unit, erase.shred_key(unit.tx, account_id))
    erased, more = erase.erase_rows(unit.tx, account_id, held)
    progress.count(unit, erased)
    return more


def _erase_found(work: Erasure) -> int:
    with work.grip.kept():
        found = erase.count_objects(work.stores.objects, work.account_id)
        if found:
            with work.grip.unit() as unit:  # before they go, so that the count survives a stop in between
                known = unit.purge.counts.get(erase.OBJECTS, 0)
                unit.purge.counts = {**unit.purge.counts, erase.OBJECTS: max(found, known)}
            erase.erase_objects(work.stores.objects, work.account_id)
    return found
