"""Approval: a second person lets go ahead what the guards stopped, a whole run or one erasure of it."""

from uuid import UUID

from sqlalchemy import select

from cloudpriv.audit import events
from cloudpriv.platform.actor import Actor
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ConflictError, NotFoundError, SecondPersonNeededError
from cloudpriv.retention import guards, runs
from cloudpriv.retention.guards import Finding, Terms
from cloudpriv.retention.lease import LEASE
from cloudpriv.retention.tables import Purge, PurgeRun


def approve(tx: Tx, terms: Terms, run_id: UUID) -> PurgeRun:
    """Let a run go ahead that the guards stopped; where they find more than was shown, it goes on waiting with that too.

    Raises NotFoundError, ConflictError for one that does not wait, SecondPersonNeededError for whoever planned it.
    """
    run = runs.locked(tx, run_id)
    if run.status != "waiting":
        raise ConflictError(f"This plan does not wait for approval: it is {run.status}.")
    _check_second_person(tx.actor, run)
    unseen = _unseen(tx, terms, run)
    if unseen:
        run.findings = [*run.findings, *(finding.as_json() for finding in unseen)]
        events.record(tx, "purge_run.stop", subject_id=run_id)
        return run
    run.status, run.approved_by, run.approved_at = "approved", tx.actor.name, tx.now
    guards.trust(tx, terms, run.service)
    runs.release(tx, run, "waiting")
    events.record(tx, "purge_run.approve", subject_id=run_id)
    return run


def approve_purge(tx: Tx, terms: Terms, purge_id: UUID) -> Purge:
    """Let one erasure of a stopped run go ahead, and leave the others waiting. Raises as `approve` does."""
    query = select(Purge).where(Purge.purge_id == purge_id)
    purge = tx.session.scalar(query.with_for_update())
    if purge is None or tx.actor.service not in (None, purge.service):
        raise NotFoundError
    if purge.status != "waiting" or purge.run_id is None:
        raise ConflictError(f"This erasure does not wait for approval: it is {purge.status}.")
    run = tx.session.get_one(PurgeRun, purge.run_id)
    _check_second_person(tx.actor, run)
    unseen = _unseen(tx, terms, run)
    if unseen:
        raise ConflictError(f"The guards find more than when it was planned: {', '.join(each.guard for each in unseen)}.")
    purge.status, purge.lease_until = "planned", tx.now + LEASE
    tx.wake.append(("purge", purge_id))
    events.record(tx, "purge.approve", account_id=purge.account_id, subject_id=purge_id)
    return purge


def _unseen(tx: Tx, terms: Terms, run: PurgeRun) -> list[Finding]:
    """What speaks against any run now and did not when this one was planned: nobody has looked at it."""
    seen = {finding["guard"] for finding in run.findings}
    return [finding for finding in guards.look_around(tx, terms, run.service) if finding.guard not in seen]


def _check_second_person(actor: Actor, run: PurgeRun) -> None:
    if actor.kind == "worker" or actor.name == run.planned_by:
        raise SecondPersonNeededError
