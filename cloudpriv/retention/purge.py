"""The erasure of an account, from its plan to its entry in the ledger.

A purge is a row that says where the work stands; `run` carries it on in bounded transactions, each of which moves the row in
the commit of what it did. So a worker may stop anywhere, and any other goes on. New traffic wins until the data key is gone:
that is decided under the account's row lock, which ingest takes too.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, or_, select, text
from sqlalchemy.dialects.postgresql import insert

from cloudpriv.audit import events
from cloudpriv.controller import accounts
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.errors import NotDueError, NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.policy.register import Policy
from cloudpriv.retention import due, erase
from cloudpriv.retention.lease import LEASE, Hold, NotOursError, Unit, release
from cloudpriv.retention.tables import OPEN, LedgerEntry, Purge

log = structlog.get_logger(__name__)

STEPS: Final = ("keys", "objects", "rows", "proof", "done")
# What has no effect outside the database is not awaited on disk. A crash of the server may take it back, whole, and it is
# done again; the commit that ends the purge awaits all before it.
MAY_BE_REPEATED: Final = text("SET LOCAL synchronous_commit = off")
ON_REQUEST: Final = "GDPR Article 17"  # the rule of an erasure that the account's backend asked for


def plan_due(tx: Tx, policy: Policy, *, account_ids: Sequence[UUID] | None = None, limit: int = 1000) -> list[UUID]:
    """Plan the erasure of up to `limit` due accounts that have no open purge, longest idle first; the new purges' ids.

    `account_ids` chooses among them. Workers are woken after the commit: what is planned is carried out. Two planners at
    once plan nothing twice.
    """
    found = due.due_accounts(tx, policy, among=account_ids, limit=limit, unplanned=True)
    rule = due.rule_name(policy)
    planned = [_plan(tx, policy, each.account_id, each.service, trigger="policy", rule=rule) for each in found]
    return [purge_id for purge_id in planned if purge_id is not None]


def plan_account(tx: Tx, policy: Policy, account_id: UUID) -> Purge:
    """The open purge of a due account, planned now unless it was before. Raises NotFoundError or NotDueError."""
    account = accounts.find_account(tx, account_id, lock=True).row
    if not (account.status == "closing" or due.is_due(policy, account, tx.now)):
        raise NotDueError
    _plan(tx, policy, account_id, account.service, trigger="policy", rule=due.rule_name(policy))
    return _open_purge(tx, account_id)


def request_erasure(tx: Tx, policy: Policy, account_id: UUID, version: int) -> Purge:
    """Close the account and have it erased without regard to its traffic (GDPR Article 17).

    Raises NotFoundError, AccountClosingError, AccountRestrictedError, or StaleError unless `version` is the current one.
    """
    account = accounts.lock_account(tx, account_id).row
    accounts.check_version(account.version, version)
    account.status, account.version = "closing", account.version + 1
    _plan(tx, policy, account_id, account.service, trigger="request", rule=ON_REQUEST)
    purge = _open_purge(tx, account_id)
    purge.trigger, purge.rule = "request", ON_REQUEST  # it may have been planned by policy before
    events.record(tx, "account.close", account_id=account_id, subject_id=purge.purge_id)
    return purge


def read_purge(tx: Tx, purge_id: UUID) -> Purge:
    """A purge of an account of the caller's service, audited. Raises NotFoundError."""
    purge = tx.session.get(Purge, purge_id)
    if purge is None or tx.actor.service not in (None, purge.service):
        raise NotFoundError
    _audit(tx, "purge.read", purge)
    return purge


def list_purges(tx: Tx, *, after: UUID | None, limit: int) -> list[Purge]:
    """Purges of the caller's service in order of planning, and one more than `limit` if there is one; audited."""
    query = select(Purge).order_by(Purge.purge_id).limit(limit + 1)
    if tx.actor.service is not None:
        query = query.where(Purge.service == tx.actor.service)
    if after is not None:
        query = query.where(Purge.purge_id > after)
    found = list(tx.session.scalars(query))
    for purge in found[:limit]:
        _audit(tx, "purge.read", purge)
    return found


def unfinished(tx: Tx, limit: int = 500) -> list[UUID]:
    """Open purges that nobody holds and for which a worker is to be woken (again), longest waiting first."""
    waiting: ColumnElement[bool] = or_(Purge.lease_until.is_(None), Purge.lease_until <= tx.now)
    query = select(Purge.purge_id).where(Purge.status.in_(OPEN), waiting)
    return list(tx.session.scalars(query.order_by(Purge.lease_until).limit(limit)))


def waiting(tx: Tx, limit: int) -> list[UUID]:
    """Planned purges that nobody has begun, in order of planning."""
    query = select(Purge.purge_id).where(Purge.status == "planned").order_by(Purge.purge_id).limit(limit)
    return list(tx.session.scalars(query))


def run(plane: Plane, objects: ObjectStore, policy: Policy, purge_id: UUID, clock: Callable[[], datetime]) -> None:
    """Carry a purge on from its step until it is done, cancelled, or has to wait; nothing to do for one that another holds.

    Raises BusyError when the database or the object store is away: the purge is unfinished again once its lease has run out.
    """
    hold = Hold(plane, purge_id, clock)
    try:
        account_id, step = _begin(hold, policy)
        while step is not None:
            step = WORK[step](hold, objects, account_id)
    except NotOursError:
        log.debug("purge_not_ours", purge=str(purge_id))


def _begin(hold: Hold, policy: Policy) -> tuple[UUID, str | None]:
    """Recheck and shred, unless that was done before: the account, and the step to go on with."""
    with hold.unit_with_account() as (unit, account):
        tx, purge, account_id = unit.tx, unit.purge, account.account_id
        if purge.step != "keys":
            return account_id, purge.step
        if purge.trigger == "policy":
            if not due.is_due(policy, account, tx.now):
                _close(unit, "cancelled")
                events.record(tx, "purge.cancel", account_id=account_id, subject_id=purge.purge_id)
                return account_id, None
            purge.rule, purge.policy_version = due.rule_name(policy), policy.version
        account.status = "purging"
        purge.counts = erase.shred_key(tx, account_id)
        purge.step = "objects" if erase.may_have_objects(tx, account_id) else "rows"
        if purge.step == "rows":
            tx.session.execute(MAY_BE_REPEATED)
        return account_id, purge.step


def _erase_objects(hold: Hold, objects: ObjectStore, account_id: UUID) -> str | None:
    with hold.unit("objects") as unit:
        busy_until = erase.leased_until(unit.tx, account_id)
        if busy_until is not None:  # an export may still be uploading; it sees the shredded account and stops
            release(unit.purge, busy_until)
            return None
    _erase_found(hold, objects, account_id)
    return "rows"


def _erase_rows(hold: Hold, _: ObjectStore, account_id: UUID) -> str | None:
    with hold.unit("rows") as unit:
        unit.tx.session.execute(MAY_BE_REPEATED)
        more = _erase_batch(unit, account_id)
    return "rows" if more else "proof"


def _prove(hold: Hold, objects: ObjectStore, account_id: UUID) -> str | None:
    """Erase the last batch and look everywhere. When nothing is left, all ends in this transaction, else later."""
    objects_left = _erase_found(hold, objects, account_id)
    with hold.unit("proof") as unit:
        _erase_batch(unit, account_id)
        tables_left = erase.tables_left(unit.tx, account_id)
        if objects_left or tables_left:
            log.error("erasure_incomplete", purge=str(hold.purge_id), objects=objects_left, tables=tables_left)
            release(unit.purge, unit.tx.now + LEASE)
        else:
            _finish(unit, account_id)
    return None


WORK: Final = {"objects": _erase_objects, "rows": _erase_rows, "proof": _prove}


def _erase_batch(unit: Unit, account_id: UUID) -> bool:
    erased, more = erase.erase_rows(unit.tx, account_id)
    unit.purge.counts = erase.added(unit.purge.counts, erased)
    return more


def _erase_found(hold: Hold, objects: ObjectStore, account_id: UUID) -> int:
    found = erase.count_objects(objects, account_id)
    if found:
        with hold.unit() as unit:  # before they go, so that the count survives a stop in between
            unit.purge.counts = {**unit.purge.counts, erase.OBJECTS: max(found, unit.purge.counts.get(erase.OBJECTS, 0))}
        erase.erase_objects(objects, account_id)
    return found


def _finish(unit: Unit, account_id: UUID) -> None:
    tx, purge = unit.tx, unit.purge
    counts = erase.added(purge.counts, erase.erase_account(tx, account_id))
    _close(unit, "done")
    purge.step, purge.counts, purge.account_id = "done", counts, None
    entry = LedgerEntry(
        account_hash=erase.hash_of(account_id),
        service=purge.service,
        trigger=purge.trigger,
        rule=purge.rule,
        policy_version=purge.policy_version,
        counts=counts,
        erased_at=tx.now,
    )
    tx.session.add(entry)
    events.record(tx, "account.erased", account_id=account_id, subject_id=purge.purge_id)


def _close(unit: Unit, status: str) -> None:
    release(unit.purge, None)
    unit.purge.status, unit.purge.finished_at = status, unit.tx.now


def _plan(tx: Tx, policy: Policy, account_id: UUID, service: str, *, trigger: str, rule: str) -> UUID | None:
    """A new purge's id, None when the account has an open one."""
    row = {
        "purge_id": new_id(),
        "account_id": account_id,
        "service": service,
        "trigger": trigger,
        "rule": rule,
        "policy_version": policy.version,
        "status": "planned",
        "step": "keys",
        "counts": {},
        "attempts": 0,
        "planned_at": tx.now,
        "lease_until": tx.now + LEASE,
    }
    statement = insert(Purge).values(row).on_conflict_do_nothing().returning(Purge.purge_id)
    purge_id = tx.session.scalar(statement)
    if purge_id is not None:
        tx.wake.append(("purge", purge_id))
        events.record(tx, "purge.plan", account_id=account_id, subject_id=purge_id)
    return purge_id


def _open_purge(tx: Tx, account_id: UUID) -> Purge:
    return tx.session.scalars(select(Purge).where(Purge.account_id == account_id, Purge.status.in_(OPEN))).one()


def _audit(tx: Tx, action: str, purge: Purge) -> None:
    events.record(tx, action, account_id=purge.account_id, subject_id=purge.purge_id)
