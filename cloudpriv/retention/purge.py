"""The erasure of an account, step by step, to its certificate and its entry in the ledger.

A purge is a row that says where the work stands; `run` carries it on in bounded transactions, each of which moves the row in
the commit of what it did. So a worker may stop anywhere, and any other goes on. New traffic wins until the data key is gone:
that is decided under the account's row lock, which ingest takes too. What a legal hold covers stays until the hold ends.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, or_, select

from cloudpriv.audit import events
from cloudpriv.controller import accounts
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.errors import BusyError, NotFoundError
from cloudpriv.policy.register import Policy
from cloudpriv.retention import runs
from cloudpriv.retention.lease import LEASE, Grip, NotOursError
from cloudpriv.retention.progress import Stores
from cloudpriv.retention.shredding import begin
from cloudpriv.retention.steps import WORK, Erasure
from cloudpriv.retention.tables import WORKABLE, Purge

log = structlog.get_logger(__name__)


def request_erasure(tx: Tx, policy: Policy, account_id: UUID, version: int) -> Purge:
    """Close the account and have it erased without regard to its traffic (GDPR Article 17).

    Raises NotFoundError, AccountClosingError, AccountRestrictedError, or StaleError unless `version` is the current one.
    """
    account = accounts.lock_account(tx, account_id).row
    accounts.check_version(account.version, version)
    account.status, account.version = "closing", account.version + 1
    purge = runs.plan_request(tx, policy, account_id, account.service, trigger="request", rule=runs.ON_REQUEST)
    events.record(tx, "account.close", account_id=account_id, subject_id=purge.purge_id)
    return purge


def read_purge(tx: Tx, purge_id: UUID) -> Purge:
    """A purge of an account of the caller's service, audited. Raises NotFoundError."""
    purge = tx.session.get(Purge, purge_id)
    if purge is None or tx.actor.service not in (None, purge.service):
        raise NotFoundError
    events.record(tx, "purge.read", account_id=purge.account_id, subject_id=purge_id)
    return purge


def list_purges(tx: Tx, *, after: UUID | None, limit: int, run_id: UUID | None = None) -> list[Purge]:
    """Purges of the caller's service in order of planning, and one more than `limit` if there is one; audited."""
    query = select(Purge).order_by(Purge.purge_id).limit(limit + 1)
    if tx.actor.service is not None:
        query = query.where(Purge.service == tx.actor.service)
    if after is not None:
        query = query.where(Purge.purge_id > after)
    query = query.where(Purge.run_id == run_id) if run_id is not None else query.where(Purge.status != "proposed")
    found = list(tx.session.scalars(query))
    for purge in found[:limit]:
        events.record(tx, "purge.read", account_id=purge.account_id, subject_id=purge.purge_id)
    return found


def unfinished(tx: Tx, limit: int = 500) -> list[UUID]:
    """Open purges that nobody holds and for which a worker is to be woken (again), longest waiting first."""
    idle: ColumnElement[bool] = or_(Purge.lease_until.is_(None), Purge.lease_until <= tx.now)
    query = select(Purge.purge_id).where(Purge.status.in_(WORKABLE), idle)
    return list(tx.session.scalars(query.order_by(Purge.lease_until).limit(limit)))


def waiting(tx: Tx, limit: int) -> list[UUID]:
    """Planned purges that nobody has begun and no hold puts off, in order of planning."""
    query = select(Purge.purge_id).where(Purge.status == "planned", Purge.lease_until <= tx.now + LEASE)
    return list(tx.session.scalars(query.order_by(Purge.purge_id).limit(limit)))


def run(plane: Plane, stores: Stores, policy: Policy, purge_id: UUID, clock: Callable[[], datetime]) -> None:
    """Carry a purge on from its step until it is done, cancelled, or has to wait; nothing to do for one that another holds.

    Raises BusyError when a server is away: the purge is unfinished again in a moment, or once its lease has run out.
    """
    grip = Grip(plane, purge_id, clock)
    try:
        account_id, step = begin(grip, stores, policy)
        work = Erasure(grip, stores, policy, account_id)
        while step is not None:
            step = WORK[step](work)
    except BusyError:
        grip.give_up()
        raise
    except NotOursError:
        log.debug("purge_not_ours", purge=str(purge_id))
