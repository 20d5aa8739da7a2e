"""`cloudpriv retention show`: every rule that this installation erases by, in one table."""

from datetime import datetime
from typing import Any

import click

from cloudpriv.bootstrap import Services
from cloudpriv.commands.context import as_json, report, services
from cloudpriv.platform.actor import OPERATOR
from cloudpriv.platform.classify import CLOUD_SERVICES
from cloudpriv.platform.db import Tx
from cloudpriv.retention import clocks, due, duties
from workers.duties import every_clock


@click.group()
def retention() -> None:
    """What is kept, for how long, and when it goes."""


@retention.command()
@as_json
@click.pass_context
def show(ctx: click.Context, json_output: bool) -> None:
    """Show every rule by which this installation erases, what is due by it now, and when it was last seen to."""
    with services(ctx, "worker") as built, built.controller.transaction(OPERATOR, built.clock()) as tx:
        rows = [_row(built, key, number, at) for key, number, at in _state(tx, built)]
    if json_output:
        report(rows, True)
    else:
        report([_short(row) for row in rows], False, title=f"Policy of {built.policy.version}")


def _state(tx: Tx, built: Services) -> list[tuple[str, int, datetime | None]]:
    """Each rule's key, how much is due by it, and when it was last seen to."""
    done = duties.last_done(tx)
    accounts = (CLOUD_SERVICES, due.backlog(tx, built.policy)[0], done.get("plan_due"))
    others = [(each.key, clocks.count_due(tx, built.policy, each), done.get(each.key)) for each in every_clock(built)]
    return [accounts, *others]


def _row(built: Services, key: str, number: int, at: datetime | None) -> dict[str, Any]:
    policy = built.policy
    own = {each.key: each.title for each in policy.housekeeping}
    titles = own | {each.key: each.title for each in policy.activities}
    rule = policy.rule_for(key)
    return {
        "rule": key,
        "what": titles[key][policy.languages[0]],
        "kept": str(rule.period),
        "counted_from": rule.anchor,
        "source": "housekeeping" if key in own else "policy",
        "due": number,
        "last_done": at,
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """What fits in a terminal of 80 columns."""
    at: datetime | None = row["last_done"]
    shown = {name.replace("counted_", ""): value for name, value in row.items() if name != "rule"}
    shown["from"] = str(row["counted_from"]).replace("_", " ")
    return {**shown, "last_done": f"{at:%Y-%m-%d %H:%M}" if at else "never"}
