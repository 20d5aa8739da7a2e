"""`cloudpriv purge`: plan what is due, look at the plan, carry it out, approve what the guards stopped."""

from dataclasses import asdict
from typing import Any, Final
from uuid import UUID

import click

from cloudpriv.bootstrap import Services
from cloudpriv.commands.context import as_json, fail, operator, report, require_replayed, services
from cloudpriv.platform.actor import SERVICES
from cloudpriv.retention import due, plans, runs, verdicts
from cloudpriv.retention import purge as purges
from cloudpriv.retention.tables import PurgeRun

LIMIT: Final = 1000
PLAN: Final = click.argument("run_id", metavar="PLAN", type=click.UUID)


@click.group()
def purge() -> None:
    """What the policy says must go."""


@purge.command()
@click.option("--service", "chosen", type=click.Choice(SERVICES), multiple=True, help="Only of this service.")
@click.option("--limit", type=click.IntRange(1), default=LIMIT, show_default=True, help="At most this many accounts.")
@as_json
@click.pass_context
def plan(ctx: click.Context, chosen: tuple[str, ...], limit: int, json_output: bool) -> None:
    """Show what is due, as a plan for each service; nothing is erased."""
    with services(ctx, "worker") as built:
        with built.controller.transaction(operator(), built.clock()) as tx:
            proposed = runs.propose(tx, built.terms(tx), services=chosen or SERVICES, limit=limit)
        shown = [_shown(built, run) for run in proposed]
    _report(shown, json_output, empty=f"Nothing is due by {due.rule_name(built.policy)}.")
    if not json_output:
        for run in proposed:
            click.echo(f"Nothing was erased. To erase these accounts for good: cloudpriv purge run {run.run_id} --execute")


@purge.command("run")
@PLAN
@click.option("--execute", is_flag=True, help="Really erase; without it this shows the plan.")
@as_json
@click.pass_context
def run_plan(ctx: click.Context, run_id: UUID, execute: bool, json_output: bool) -> None:
    """Erase the accounts of a plan, unless a guard stops it."""
    with services(ctx, "worker") as built:
        with built.controller.transaction(operator(), built.clock()) as tx:
            run = runs.read_run(tx, run_id)
        if execute:
            require_replayed(built)
            run = _execute(built, run)
        shown = _shown(built, run)
    _report([shown], json_output)
    if execute and run.status == "waiting":
        fail(f"the guards stopped this plan; somebody else may let it go ahead: cloudpriv purge approve {run_id}")
    if not execute and not json_output:
        click.echo(f"This was a dry run. To erase these accounts for good: cloudpriv purge run {run_id} --execute")


@purge.command()
@PLAN
@as_json
@click.pass_context
def approve(ctx: click.Context, run_id: UUID, json_output: bool) -> None:
    """Let a plan go ahead that the guards stopped; not for whoever made it."""
    with services(ctx, "worker") as built:
        with built.controller.transaction(operator(), built.clock()) as tx:
            run = runs.approve(tx, built.terms(tx), run_id)
        shown = _shown(built, run)
    _report([shown], json_output)
    if not json_output:
        approved = f"Approved: workers begin. Without one: cloudpriv purge run {run_id} --execute"
        click.echo(
            approved if run.status == "approved" else "Not approved: the guards find more now. Look, and approve again."
        )


@purge.command("list")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@as_json
@click.pass_context
def list_plans(ctx: click.Context, limit: int, json_output: bool) -> None:
    """List plans and how they stand."""
    with services(ctx, "worker") as built, built.controller.transaction(operator(), built.clock()) as tx:
        rows = [_summary(run) for run in runs.list_runs(tx, after=None, limit=limit)[:limit]]
    report(rows, json_output, empty="No plans yet.")


@purge.command()
@click.argument("account_id", metavar="ACCOUNT", type=click.UUID)
@as_json
@click.pass_context
def why(ctx: click.Context, account_id: UUID, json_output: bool) -> None:
    """Say whether an account would be erased now, and what stands in the way."""
    with services(ctx, "worker") as built, built.controller.transaction(operator(), built.clock()) as tx:
        found = verdicts.judge(tx, built.policy, account_id)
    report([asdict(found)], json_output)


def _execute(built: Services, run: PurgeRun) -> PurgeRun:
    """Have the plan judged, unless it was before, and carry out what may begin."""
    if run.status == "proposed":
        with built.controller.transaction(operator(), built.clock()) as tx:
            run = runs.execute(tx, built.terms(tx), run.run_id)
            tx.wake.clear()  # carried out here; the sweep finds what this process leaves
    with built.controller.transaction(operator(), built.clock()) as tx:
        found = plans.contents(tx, built.policy, run.run_id)
    for each in found:
        if each.status in ("planned", "running"):
            purges.run(built.controller, built.stores, built.policy, each.purge_id, built.clock)
    return run


def _shown(built: Services, run: PurgeRun) -> dict[str, Any]:
    with built.controller.transaction(operator(), built.clock()) as tx:
        accounts = [asdict(each) for each in plans.contents(tx, built.policy, run.run_id)]
        erased = purges.list_purges(tx, after=None, limit=LIMIT, run_id=run.run_id)
    certificates = [{"purge_id": row.purge_id, "certificate_id": row.certificate_id} for row in erased if row.certificate_id]
    return {**_summary(run), "findings": run.findings, "accounts": accounts, "erased": certificates}


def _summary(run: PurgeRun) -> dict[str, Any]:
    return {
        "plan": run.run_id,
        "service": run.service,
        "status": run.status,
        "planned_at": run.planned_at,
        "planned_by": run.planned_by,
        "approved_by": run.approved_by,
        "stopped_by": ", ".join(finding["guard"] for finding in run.findings),
    }


def _report(shown: list[dict[str, Any]], json_output: bool, *, empty: str = "") -> None:
    if json_output or not shown:
        report(shown, json_output, empty=empty)
        return
    for each in shown:
        click.echo(f"Plan {each['plan']} ({each['service']}): {each['status']}")
        report(each["accounts"], False, empty="No account is left to erase.")
        if each["erased"]:
            report(each["erased"], False, title="Erased")
        for finding in each["findings"]:
            click.echo(f"Guard {finding['guard']}: {finding['detail']}.")
