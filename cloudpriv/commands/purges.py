"""`cloudpriv purge`: plan what is due, look at the plan, carry it out, approve what the guards stopped."""

import shlex
from collections import Counter
from dataclasses import asdict
from typing import Any, Final
from uuid import UUID

import click

from cloudpriv.bootstrap import Services
from cloudpriv.commands.context import as_json, fail, operating, report, report_one, require_replayed, services
from cloudpriv.platform.actor import SERVICES
from cloudpriv.retention import approval, due, plans, runs, verdicts
from cloudpriv.retention import purge as purges
from cloudpriv.retention.tables import OPEN, PurgeRun

LIMIT: Final = 1000
COUNTED: Final = ("people", "devices", "traffic", "other_rows")
UNDER_WAY: Final = frozenset({"proposed", *OPEN})
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
        with operating(built) as tx:
            proposed = runs.propose(tx, built.terms(tx), services=chosen or SERVICES, limit=limit)
        shown = [_shown(built, run) for run in proposed]
    _report(shown, json_output, empty=f"Nothing is due by {due.rule_name(built.policy)}.")
    if not json_output:
        for run in proposed:
            click.echo(_next_step(ctx, run))


@purge.command("run")
@PLAN
@click.option("--execute", is_flag=True, help="Really erase; without it this shows the plan.")
@as_json
@click.pass_context
def run_plan(ctx: click.Context, run_id: UUID, execute: bool, json_output: bool) -> None:
    """Erase the accounts of a plan, unless a guard stops it."""
    with services(ctx, "worker") as built:
        with operating(built) as tx:
            run = runs.read_run(tx, run_id)
        if execute:
            require_replayed(built)
            run = _execute(built, run)
        shown = _shown(built, run)
    _report([shown], json_output)
    if execute and run.status == "waiting":
        fail(f"the guards stopped this plan; somebody else may let it go ahead: {_command(ctx, 'approve', run)}")
    if not json_output and any(each["status"] in UNDER_WAY for each in shown["accounts"]):
        click.echo(_next_step(ctx, run))


@purge.command()
@PLAN
@as_json
@click.pass_context
def approve(ctx: click.Context, run_id: UUID, json_output: bool) -> None:
    """Let a plan go ahead that the guards stopped; not for whoever made it."""
    with services(ctx, "worker") as built:
        with operating(built) as tx:
            run = approval.approve(tx, built.terms(tx), run_id)
        shown = _shown(built, run)
    _report([shown], json_output)
    if not json_output:
        more = "Not approved: the guards find more now. Look, and approve again."
        click.echo(_next_step(ctx, run) if run.status == "approved" else more)


@purge.command("list")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@as_json
@click.pass_context
def list_plans(ctx: click.Context, limit: int, json_output: bool) -> None:
    """List plans and how they stand."""
    with services(ctx, "worker") as built, operating(built) as tx:
        found = runs.list_runs(tx, after=None, limit=limit)[:limit]
        left = runs.count_open(tx, [run.run_id for run in found])
        rows = [{**_summary(run), "open": left[run.run_id]} for run in found]
    report(rows if json_output else [_listed(row) for row in rows], json_output, empty="No plans yet.")


@purge.command()
@click.argument("account_id", metavar="ACCOUNT", type=click.UUID)
@as_json
@click.pass_context
def why(ctx: click.Context, account_id: UUID, json_output: bool) -> None:
    """Say whether an account would be erased now, and what stands in the way."""
    with services(ctx, "worker") as built, operating(built) as tx:
        found = verdicts.judge(tx, built.policy, account_id)
    if json_output:
        report([asdict(found)], True)
    else:
        report_one(asdict(found), False)


def _execute(built: Services, run: PurgeRun) -> PurgeRun:
    """Have the plan judged, unless it was before, and carry out what may begin."""
    if run.status == "proposed":
        with operating(built) as tx:
            run = runs.execute(tx, built.terms(tx), run.run_id)
            tx.wake.clear()  # carried out here; the sweep finds what this process leaves
    with operating(built) as tx:
        found = plans.contents(tx, built.policy, run.run_id)
    for each in found:
        if each.status in ("planned", "running"):
            purges.run(built.controller, built.stores, built.policy, each.purge_id, built.clock)
    return run


def _shown(built: Services, run: PurgeRun) -> dict[str, Any]:
    with operating(built) as tx:
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
        report([_short(account) for account in each["accounts"]], False, empty="No account is left to erase.")
        if each["accounts"]:
            click.echo(_sum(each["accounts"]))
        if each["erased"]:
            report(each["erased"], False, title="Erased")
        for finding in each["findings"]:
            click.echo(f"Guard {finding['guard']}: {finding['detail']}.")


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    """What of a plan fits in a terminal of 80 columns."""
    return {
        "plan": row["plan"],
        "service": row["service"],
        "status": row["status"],
        "open": row["open"],
        "planned": f"{row['planned_at']:%Y-%m-%d}",
    }


def _short(account: dict[str, Any]) -> dict[str, Any]:
    """What of an account fits in a terminal of 80 columns, its id in one piece."""
    return {
        "account_id": account["account_id"],
        "status": account["status"],
        "due_since": f"{account['due_since']:%Y-%m-%d}",
        "rows": f"{sum(account[name] for name in COUNTED):,}",
    }


def _sum(accounts: list[dict[str, Any]]) -> str:
    statuses = Counter(account["status"] for account in accounts)
    standing = ", ".join(f"{status} {number:,}" for status, number in statuses.items())
    held = ", ".join(f"{name.replace('_', ' ')} {sum(account[name] for account in accounts):,}" for name in COUNTED)
    return f"In all: accounts {len(accounts):,} ({standing}), {held}."


def _next_step(ctx: click.Context, run: PurgeRun) -> str:
    """What there is to do with a plan that has accounts left."""
    if run.status == "waiting":
        return f"It waits for the approval of somebody other than {run.planned_by}: {_command(ctx, 'approve', run)}"
    if run.status == "approved":
        why = "Of what stays, `cloudpriv purge why ACCOUNT` tells why."
        return f"Approved: workers erase what is planned. Without one: {_command(ctx, 'run', run)} --execute\n{why}"
    stopped = "The guards will have it wait for a second person. " if run.findings else ""
    return f"Nothing was erased. {stopped}To erase these accounts for good: {_command(ctx, 'run', run)} --execute"


def _command(ctx: click.Context, verb: str, run: PurgeRun) -> str:
    """A command about a plan, on the same servers as this one."""
    folder = ctx.find_root().obj
    chosen = f" --embedded {shlex.quote(str(folder))}" if folder else ""
    return f"cloudpriv{chosen} purge {verb} {run.run_id}"
