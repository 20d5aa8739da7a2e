"""`cloudpriv owners` and `cloudpriv restriction`: what staff does about an account's owners and about its use."""

from typing import Any, Final
from uuid import UUID

import click

from cloudpriv.api.owners import shown
from cloudpriv.commands.context import as_json, operating, report, report_one, services
from cloudpriv.rights import owners as replacements
from cloudpriv.rights import restriction as restrictions
from cloudpriv.rights.owners import Evidence
from cloudpriv.rights.restriction import Ground, Standing

ACCOUNT: Final = click.argument("account_id", metavar="ACCOUNT", type=click.UUID)
PERSON: Final = click.option("--person", "person_id", type=click.UUID, help="Only what is about this person of the account.")


@click.group()
def owners() -> None:
    """Owners, replaced after a documented check of the company."""


@owners.command()
@ACCOUNT
@click.argument("person_id", metavar="PERSON", type=click.UUID)
@click.option("--documents", required=True, help="What of the company was checked, such as an extract of its register.")
@click.option("--note", required=True, help="How it was checked.")
@as_json
@click.pass_context
def replace(ctx: click.Context, /, account_id: UUID, person_id: UUID, json_output: bool, **evidence: str) -> None:
    """Have a person of the account become an owner in seven days; everybody in the account is told."""
    with services(ctx, "api") as built, operating(built) as tx:
        found = shown(replacements.start_replacement(tx, account_id, person_id, Evidence(**evidence)))
    report_one(found, json_output)


@owners.command()
@ACCOUNT
@click.argument("replacement_id", metavar="REPLACEMENT", type=click.UUID)
@click.pass_context
def stop(ctx: click.Context, account_id: UUID, replacement_id: UUID) -> None:
    """Stop a replacement that waits; everybody in the account is told."""
    with services(ctx, "api") as built, operating(built) as tx:
        replacements.stop(tx, account_id, replacement_id)
    click.echo("Stopped.")


@owners.command("list")
@ACCOUNT
@as_json
@click.pass_context
def list_replacements(ctx: click.Context, account_id: UUID, json_output: bool) -> None:
    """List the replacements of an account's owners, the latest first."""
    with services(ctx, "api") as built, operating(built) as tx:
        rows = [shown(each) for each in replacements.list_replacements(tx, account_id)]
    report(rows if json_output else [_short(row) for row in rows], json_output, empty="No owner was replaced.")


@click.group()
def restriction() -> None:
    """Restriction of processing (GDPR Article 18)."""


@restriction.command()
@ACCOUNT
@PERSON
@click.pass_context
def impose(ctx: click.Context, account_id: UUID, person_id: UUID | None) -> None:
    """Restrict the processing of an account, or of one person in it; recipients of the data are told."""
    with services(ctx, "api") as built, operating(built) as tx:
        if person_id is None:
            done = restrictions.restrict_account(tx, account_id)
        else:
            done = restrictions.restrict_person(tx, account_id, person_id)
    click.echo("Restricted." if done else "It was restricted before.")


@restriction.command()
@ACCOUNT
@PERSON
@click.option(
    "--ground", required=True, type=click.Choice(restrictions.GROUNDS), help="Why, as whoever obtained it is told."
)
@click.option("--told", is_flag=True, help="The end has come, and those whom no mail reached were told otherwise.")
@click.pass_context
def lift(ctx: click.Context, account_id: UUID, person_id: UUID | None, ground: Ground, told: bool) -> None:
    """End a restriction for one cause, staff's own first; the last one after a week: whoever obtained it is told before."""
    with services(ctx, "api") as built, operating(built) as tx:
        if person_id is None:
            standing = restrictions.lift_account(tx, account_id, ground, told=told)
        else:
            standing = restrictions.lift_person(tx, account_id, person_id, ground, told=told)
    click.echo(_told(standing))


@restriction.command("show")
@ACCOUNT
@PERSON
@click.pass_context
def show_restriction(ctx: click.Context, account_id: UUID, person_id: UUID | None) -> None:
    """Show what an account, or a person in it, is restricted for, and when that ends."""
    with services(ctx, "api") as built, operating(built) as tx:
        standing = restrictions.read(tx, account_id, person_id)
    click.echo(_told(standing))


def _told(standing: Standing) -> str:
    if standing.ends_at is not None:
        return f"Restricted until {standing.ends_at:%Y-%m-%d %H:%M} UTC; whoever obtained it is told by mail."
    return f"Restricted for: {', '.join(standing.causes)}." if standing.causes else "There is no restriction."


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """What of a replacement fits in a terminal of 80 columns, its id in one piece."""
    return {"replacement": row["id"], "status": row["status"], "owner_from": f"{row['effective_at']:%Y-%m-%d}"}
