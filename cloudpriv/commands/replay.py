"""`cloudpriv purge replay`: after a restore, erase again what the ledger outside the database knows as erased."""

from dataclasses import asdict, replace
from typing import Any

import click

from cloudpriv.audit import log
from cloudpriv.bootstrap import Services
from cloudpriv.commands.context import as_json, fail, operator, report, report_one, services
from cloudpriv.retention import replay as replays
from cloudpriv.retention.replay import Returned, State


@click.command()
@click.argument("plan", required=False)
@click.option("--execute", is_flag=True, help="Really erase what PLAN, of a dry run, has shown.")
@click.option("--even-in-use", is_flag=True, help="Also erase accounts that were used after their erasure.")
@as_json
@click.pass_context
def replay(ctx: click.Context, plan: str | None, execute: bool, even_in_use: bool, json_output: bool) -> None:
    """After a restore: erase again what was erased since the backup."""
    if execute and plan is None:
        raise click.UsageError("--execute needs the PLAN that a dry run has shown.")
    with services(ctx, "worker") as built:
        found = _look(built)
        if execute:
            if plan != found.plan:
                fail("what there is to erase is not what that plan showed: look again with `cloudpriv purge replay`")
            _carry_out(built, even_in_use=even_in_use)
            found = replace(found, unfinished=_look(built).unfinished)
    _report(found, execute, json_output)
    if execute and found.unfinished:
        wait = "wait for something that was running: in a minute, look again with `cloudpriv purge replay`"
        fail(f"{found.unfinished} erasures {wait}")


def _look(built: Services) -> State:
    return replays.look(built.controller, built.ledger, built.clock)


def _carry_out(built: Services, *, even_in_use: bool) -> None:
    origin = log.origin_base(built.settings.issuer)
    plane, stores = built.controller, built.stores
    replays.carry_out(
        plane, stores, built.policy, built.clock, actor=operator(), origin_base=origin, even_in_use=even_in_use
    )  # fmt: skip


def _report(found: State, executed: bool, json_output: bool) -> None:
    if json_output:
        report_one(asdict(found), True)
        return
    rows = sum(account.rows for account in found.returned)
    report_one(asdict(found) | {"returned": len(found.returned), "rows_of_returned": rows}, False)
    title = "Erased again" if executed else "To be erased again"
    report([_short(each) for each in found.returned], False, title=title, empty="No erased account came back.")
    if not executed and found.needs_replay:
        click.echo(f"This was a dry run. To erase these accounts for good: cloudpriv purge replay {found.plan} --execute")


def _short(account: Returned) -> dict[str, Any]:
    """What of an account fits in a terminal of 80 columns, its id in one piece."""
    used = account.last_used_at
    return {
        "account_id": account.account_id,
        "erased_at": f"{account.erased_at:%Y-%m-%d %H:%M}",
        "last_used_at": used and f"{used:%Y-%m-%d %H:%M}",
    }
