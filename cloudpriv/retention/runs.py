"""Runs: what falls due by the policy is planned together, and judged by the guards.

A run belongs to one service. A dry run is kept as `proposed`: nobody carries it out, and `execute` judges it anew. Erasures
that were asked for need no run: their holder's word is their reason.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased

from cloudpriv.audit import events
from cloudpriv.controller import accounts
from cloudpriv.platform.actor import SERVICES
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ConflictError, NotDueError, NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.policy.register import Policy
from cloudpriv.retention import due, guards, notices
from cloudpriv.retention.due import DueAccount
from cloudpriv.retention.guards import Finding, Terms
from cloudpriv.retention.lease import LEASE
from cloudpriv.retention.tables import OPEN, Purge, PurgeRun

PLANNED_AT_ONCE: Final = 10_000
WOKEN_AT_ONCE: Final = 1000  # the sweep wakes workers for the rest
ON_REQUEST: Final = "GDPR Article 17"  # the rule of an erasure that the account's backend asked for


def plan_due(tx: Tx, terms: Terms, *, limit: int = PLANNED_AT_ONCE) -> list[PurgeRun]:
    """Plan the erasure of all that is due and whose owners had their last notice: a run for each service that has any.

    A run that the guards object to waits for approval. Two planners at once plan nothing twice.
    """
    told: list[DueAccount] = []
    page = due.due_accounts(tx, terms.policy, limit=limit, unplanned=True)
    while page and not told:  # whoever was not told yet holds up nobody behind
        pending = notices.pending_among(tx, terms.policy, page)
        told = [account for account in page if account.account_id not in pending]
        after = (page[-1].last_activity_at, page[-1].account_id)
        page = due.due_accounts(tx, terms.policy, after=after, limit=limit, unplanned=True) if len(page) == limit else []
    return [_begin(tx, terms, service, chosen) for service, chosen in _by_service(told)]


def plan_account(tx: Tx, terms: Terms, account_id: UUID) -> Purge:
    """The open purge of a due account, planned now unless it was before. Raises NotFoundError or NotDueError.

    One that its owner closes, and may still undo, is not due: its purge is planned when the cooling-off is over.
    """
    account = accounts.find_account(tx, account_id, lock=True).row
    opened = open_purge(tx, account_id)
    asked_for = account.status == "closing" and opened is not None and opened.trigger == "request"
    if not (asked_for or due.is_due(terms.policy, account, tx.now)):
        raise NotDueError
    if opened is None:
        anchor = due.last_activity(account.created_at, account.last_traffic_at)
        chosen = DueAccount(account_id, account.service, anchor, due.rule(terms.policy).erasable_from(anchor))
        _begin(tx, terms, account.service, [chosen])
        opened = open_purge(tx, account_id)
    if opened is None:  # another planner was quicker, and its purge has ended since
        raise ConflictError
    return opened


def plan_request(tx: Tx, policy: Policy, account_id: UUID, service: str, *, trigger: str, rule: str) -> Purge:
    """The account's open purge, made to follow `trigger` and `rule` whatever planned it before: nothing more to approve."""
    common = {"trigger": trigger, "rule": rule, "policy_version": policy.version, "status": "planned"}
    made = _insert(tx, None, [(account_id, service)], common)
    purge = open_purge(tx, account_id)
    if purge is None:
        raise ConflictError
    purge.trigger, purge.rule, purge.run_id = trigger, rule, None
    if not made and purge.status in ("waiting", "planned"):  # one that was put off is looked at now
        purge.status = "planned"
        tx.wake.append(("purge", purge.purge_id))
    return purge


def propose(tx: Tx, terms: Terms, *, services: Iterable[str] = SERVICES,
            limit: int = PLANNED_AT_ONCE) -> list[PurgeRun]:  # fmt: skip
    """A dry run for each of the services that has something due: what `execute` would carry out, and what the guards say."""
    found = due.due_accounts(tx, terms.policy, limit=limit, unplanned=True)
    return [
        _begin(tx, terms, service, chosen, proposed=True) for service, chosen in _by_service(found) if service in services
    ]


def execute(tx: Tx, terms: Terms, run_id: UUID) -> PurgeRun:
    """Carry out a proposed run, or have it wait for approval: the guards are asked anew, over what is still due.

    Raises NotFoundError, ConflictError for a run that is not proposed any more.
    """
    run = locked(tx, run_id)
    if run.status != "proposed":
        raise ConflictError(f"This plan is {run.status} already.")
    run.planned_by, run.planned_at = tx.actor.name, tx.now  # whoever executes it answers for it, and does not approve it too
    ids = list(tx.session.scalars(select(Purge.account_id).where(Purge.run_id == run_id, Purge.status == "proposed")))
    found = due.due_accounts(tx, terms.policy, among=[each for each in ids if each], limit=len(ids) or 1, unplanned=True)
    findings = guards.inspect(tx, terms, run.service, found)
    _judge(tx, terms, run, findings)
    _withdraw(tx, run_id, except_for=[account.account_id for account in found])
    release(tx, run, "proposed")
    run.accounts = len(found)
    events.record(tx, "purge_run.execute", subject_id=run_id)
    return run


def read_run(tx: Tx, run_id: UUID) -> PurgeRun:
    """A run of the caller's service, audited. Raises NotFoundError."""
    run = tx.session.get(PurgeRun, run_id)
    if run is None or tx.actor.service not in (None, run.service):
        raise NotFoundError
    events.record(tx, "purge_run.read", subject_id=run_id)
    return run


def list_runs(tx: Tx, *, after: UUID | None, limit: int) -> list[PurgeRun]:
    """Runs of the caller's service in order of planning, and one more than `limit` if there is one; audited."""
    query = select(PurgeRun).order_by(PurgeRun.run_id).limit(limit + 1)
    if tx.actor.service is not None:
        query = query.where(PurgeRun.service == tx.actor.service)
    if after is not None:
        query = query.where(PurgeRun.run_id > after)
    found = list(tx.session.scalars(query))
    for run in found[:limit]:
        events.record(tx, "purge_run.read", subject_id=run.run_id)
    return found


def count_open(tx: Tx, run_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    """How many erasures of each run have not ended, those included that wait for approval; proposed ones are none yet."""
    query = select(Purge.run_id, func.count()).where(Purge.run_id.in_(run_ids), Purge.status.in_(OPEN))
    found = {run_id: number for run_id, number in tx.session.execute(query.group_by(Purge.run_id)) if run_id}
    return {run_id: found.get(run_id, 0) for run_id in run_ids}


def open_purge(tx: Tx, account_id: UUID) -> Purge | None:
    """The account's purge that is neither done, cancelled, nor only proposed."""
    return tx.session.scalars(select(Purge).where(Purge.account_id == account_id, Purge.status.in_(OPEN))).one_or_none()


def locked(tx: Tx, run_id: UUID) -> PurgeRun:
    """A run of the caller's service, that nobody else changes until this transaction ends. Raises NotFoundError."""
    run = tx.session.scalar(select(PurgeRun).where(PurgeRun.run_id == run_id).with_for_update())
    if run is None or tx.actor.service not in (None, run.service):
        raise NotFoundError
    return run


def release(tx: Tx, run: PurgeRun, former: str) -> None:
    """Let the run's purges follow its status."""
    status = "planned" if run.status == "approved" else "waiting"
    statement = update(Purge).where(Purge.run_id == run.run_id, Purge.status == former)
    changed = statement.values(status=status, lease_until=tx.now + LEASE).returning(Purge.purge_id, Purge.account_id)
    action = "purge.plan" if former == "proposed" else "purge.approve"
    for number, (purge_id, account_id) in enumerate(tx.session.execute(changed).all()):
        events.record(tx, action, account_id=account_id, subject_id=purge_id)
        if status == "planned" and number < WOKEN_AT_ONCE:
            tx.wake.append(("purge", purge_id))


def _begin(tx: Tx, terms: Terms, service: str, chosen: Sequence[DueAccount], *, proposed: bool = False) -> PurgeRun:
    policy, findings = terms.policy, guards.inspect(tx, terms, service, chosen)
    run = PurgeRun(
        run_id=new_id(),
        service=service,
        status="proposed",
        rule=due.rule_name(policy),
        policy_version=policy.version,
        accounts=len(chosen),
        findings=[finding.as_json() for finding in findings],
        planned_by=tx.actor.name,
        planned_at=tx.now,
    )
    tx.session.add(run)
    if not proposed:
        _judge(tx, terms, run, findings)
    tx.session.flush()
    of_purges = {"proposed": "proposed", "waiting": "waiting", "approved": "planned"}[run.status]
    pairs = [(account.account_id, account.service) for account in chosen]
    common = {"trigger": "policy", "rule": run.rule, "policy_version": policy.version, "status": of_purges}
    run.accounts = _insert(tx, run.run_id, pairs, common)
    events.record(tx, "purge_run.plan", subject_id=run.run_id)
    return run


def _judge(tx: Tx, terms: Terms, run: PurgeRun, findings: Sequence[Finding]) -> None:
    run.findings = [finding.as_json() for finding in findings]
    run.status = "waiting" if findings else "approved"
    if not findings:
        guards.trust(tx, terms, run.service)


def _insert(tx: Tx, run_id: UUID | None, chosen: Sequence[tuple[UUID, str]], common: Mapping[str, str]) -> int:
    """New purges with the `common` columns, except for accounts that have an open one; how many.

    Workers are woken for what may begin.
    """
    rows = [{**_row(tx, account_id, service), "run_id": run_id, **common} for account_id, service in chosen]
    if not rows:
        return 0
    statement = insert(Purge).on_conflict_do_nothing().returning(Purge.purge_id, Purge.account_id)
    made = tx.session.execute(statement, rows).all()
    if common["status"] != "proposed":
        for purge_id, account_id in made:
            events.record(tx, "purge.plan", account_id=account_id, subject_id=purge_id)
    if common["status"] == "planned":
        tx.wake.extend(("purge", purge_id) for purge_id, _ in made[:WOKEN_AT_ONCE])
    return len(made)


def _row(tx: Tx, account_id: UUID, service: str) -> dict[str, Any]:
    return {
        "purge_id": new_id(),
        "account_id": account_id,
        "service": service,
        "step": "keys",
        "counts": {},
        "attempts": 0,
        "planned_at": tx.now,
        "lease_until": tx.now + LEASE,
    }


def _withdraw(tx: Tx, run_id: UUID, *, except_for: Sequence[UUID]) -> None:
    """Cancel what was proposed and is not due any more, or that another plan has taken up."""
    other = aliased(Purge)
    taken = exists().where(other.account_id == Purge.account_id, other.status.in_(OPEN))
    statement = update(Purge).where(Purge.run_id == run_id, Purge.status == "proposed")
    gone = statement.where(Purge.account_id.not_in(except_for) | taken).values(status="cancelled", finished_at=tx.now)
    tx.session.execute(gone, execution_options={"synchronize_session": False})


def _by_service(found: Iterable[DueAccount]) -> list[tuple[str, list[DueAccount]]]:
    grouped: dict[str, list[DueAccount]] = {}
    for account in found:
        grouped.setdefault(account.service, []).append(account)
    return sorted(grouped.items())
