"""Short commands about the installation: database, clients, the API's description, the policy."""

import json
from pathlib import Path
from typing import Any, Final

import click

from cloudpriv import database
from cloudpriv.api.openapi import as_yaml, document
from cloudpriv.app import documented_app
from cloudpriv.commands.context import (
    as_json,
    chosen_planes,
    chosen_stack,
    fail,
    of_planes,
    operating,
    report,
    report_one,
    screen,
    services,
)
from cloudpriv.controller import clients
from cloudpriv.database import PlaneName
from cloudpriv.platform.actor import SERVICES, Service
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.policy import register

BEGINNINGS: Final[dict[PlaneName, str]] = {"controller": "", "processor": "processor_"}  # of what is told of a plane

BY_NAME: Final = {"logdata:support"}  # lets support read log data where the customer has it: no backend needs that


@click.group()
def db() -> None:
    """The schema of each plane's database."""


@db.command()
@of_planes
@as_json
@click.pass_context
def upgrade(ctx: click.Context, plane: str | None, json_output: bool) -> None:
    """Bring the schema up to date, as its owner."""
    reached = {}
    with chosen_stack(ctx):
        for each in chosen_planes(ctx, plane):
            with database.owner_engine(each) as engine:
                reached[f"{BEGINNINGS[each]}revision"] = database.upgrade(engine, each)
    report_one(reached, json_output)


@db.command()
@of_planes
@as_json
@click.pass_context
def check(ctx: click.Context, plane: str | None, json_output: bool) -> None:
    """Compare the schema with this version; exit 1 when they differ."""
    with chosen_stack(ctx):
        found = {each: _compared(each) for each in chosen_planes(ctx, plane)}
    report_one({BEGINNINGS[each] + name: value for each, told in found.items() for name, value in told.items()}, json_output)
    stale = [each for each, told in found.items() if told["revision"] != told["newest"] or told["differences"] != "none"]
    if stale:
        fail(f"the schema of the {' and the '.join(stale)} plane is not that of this version: run `cloudpriv db upgrade`")


def _compared(plane: PlaneName) -> dict[str, Any]:
    with database.owner_engine(plane) as engine:
        found, differences = database.current(engine), database.differences(engine, plane)
    return {"revision": found, "newest": database.head(plane), "differences": differences or "none"}


@click.group()
def client() -> None:
    """Backends that may call the API."""


@client.command("create")
@click.argument("name")
@click.option("--service", type=click.Choice(SERVICES), required=True, help="The service whose accounts it sees.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    help="A scope, or several separated by blanks; 'all' for all but logdata:support, which is named where it is meant.",
)
@as_json
@click.pass_context
def create_client(ctx: click.Context, name: str, service: Service, scopes: tuple[str, ...], json_output: bool) -> None:
    """Register a backend; its secret is printed this once."""
    wanted = {scope for given in scopes for scope in given.split()}
    granted = sorted(clients.SCOPES - BY_NAME if wanted == {"all"} else wanted)
    if not granted or not clients.SCOPES.issuperset(granted):
        raise click.BadParameter(f"choose from all, {', '.join(sorted(clients.SCOPES))}", param_hint="'--scope'")
    with services(ctx, "migration") as built, operating(built) as tx:
        made, secret = clients.register_client(tx, name, service, granted)
        shown: dict[str, Any] = {"client_id": made.client_id, "client_secret": secret, "service": service}
    report_one({**shown, "scope": " ".join(granted)}, json_output)


@client.command("list")
@as_json
@click.pass_context
def list_clients(ctx: click.Context, json_output: bool) -> None:
    """List backends."""
    with services(ctx, "migration") as built, operating(built) as tx:
        rows = [
            {
                "client_id": c.client_id,
                "name": c.name,
                "service": c.service,
                "created_at": c.created_at,
                "revoked_at": c.revoked_at,
            }
            for c in clients.list_clients(tx)
        ]
    report(rows, json_output, empty="No clients yet.")


@client.command("revoke")
@click.argument("client_id")
@click.pass_context
def revoke_client(ctx: click.Context, client_id: str) -> None:
    """Take a backend's right to new tokens; running ones end within ten minutes."""
    with services(ctx, "migration") as built, operating(built) as tx:
        try:
            clients.revoke_client(tx, client_id)
        except NotFoundError:
            fail("no client that may have tokens has this id; `cloudpriv client list` shows the ids")
    click.echo("Revoked.")


@click.command()
@click.option(
    "--check", "checked", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Compare with this file."
)
@click.option("--json", "json_output", is_flag=True, help="Print JSON instead of YAML.")
def openapi(checked: Path | None, json_output: bool) -> None:
    """Print the OpenAPI document of this version, or check that a file is it."""
    app = documented_app()
    text = as_yaml(app)
    if checked is None:
        click.echo(json.dumps(document(app), ensure_ascii=False) if json_output else text, nl=json_output)
    elif checked.read_text() != text:
        fail(f"{checked} is not in step with the code: run `cloudpriv openapi > {checked}`")


@click.group()
def policy() -> None:
    """The privacy policy in force."""


@policy.command()
@click.option("--language", type=click.Choice(["en", "sv", "fr", "es"]), default="en", show_default=True)
@click.option("--file", "path", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Another policy file.")
@as_json
def show(language: str, path: Path | None, json_output: bool) -> None:
    """Show every processing activity and how long it is kept."""
    loaded = register.load(path)
    whole = loaded.as_register(language)
    if json_output:
        click.echo(json.dumps(whole, ensure_ascii=False))
        return
    screen.print(f"{whole['title']}, version {whole['version']}", style="bold")
    rows = [
        {"activity": each["title"], "role": each["role"], "kept": _kept(each["retention"])} for each in whole["activities"]
    ]
    report(rows, False)


def _kept(retention: dict[str, Any]) -> str:
    parts = (retention.get("period"), retention.get("anchor"), retention.get("kind"))
    return " ".join(str(part) for part in parts if part)
