"""Commands about log data: of an account's owner, over HTTP with the owner's own password; and of an operator."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final
from uuid import UUID

import click

from cloudpriv.client.holder import Holder
from cloudpriv.commands.context import as_json, chosen_stack, operator, processor_services, report, report_one
from cloudpriv.platform.actor import SERVICES
from cloudpriv.processor.tokens import KINDS
from cloudpriv.processor.upkeep import acceptance

TOKENS: Final = "/v1/logdata/tokens"
PASSWORD: Final = "CLOUDPRIV_PASSWORD"  # noqa: S105  the name of a variable
OPTIONS: Final = (
    click.option("--account", required=True, help="The account's name."),
    click.option("--username", required=True, help="Its owner's; the password is asked for, or CLOUDPRIV_PASSWORD."),
    click.option("--service", type=click.Choice(SERVICES), default="talk2m", show_default=True),
    click.option("--url", envvar="CLOUDPRIV_API_URL", default="http://127.0.0.1:8080", show_default=True, help="The API."),
    click.option("--logdata-url", envvar="CLOUDPRIV_LOGDATA_URL", default="http://127.0.0.1:8081", show_default=True,
                 help="The API of log data."),
)  # fmt: skip


def _as_owner(command: Callable[..., None]) -> Callable[..., None]:
    """With the options that say who signs in, and where."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@contextmanager
def _signed_in(account: str, username: str, service: str, url: str, logdata_url: str) -> Iterator[Holder]:
    password = os.environ.get(PASSWORD) or click.prompt("Password", hide_input=True, err=True)
    with Holder(url, logdata_url) as holder:
        holder.sign_in(service, account, username, password)
        yield holder


@click.group()
def logdata() -> None:
    """Log data, which is the customer's."""


def _line(token: dict[str, Any]) -> str:
    """A token in a line that begins with its id, whole, to be copied, whatever the width."""
    used = f"last used {token['last_used_at'][:16]}Z" if token["last_used_at"] else "never used"
    state = f"revoked {token['revoked_at'][:16]}Z" if token["revoked_at"] else used
    device = f", for {token['device']}" if token["device"] else ""
    return f"{token['id']}  {token['kind']} {token['name']}{device}: {state}"


@logdata.group()
def token() -> None:
    """Tokens for devices that append and programs that read, as the account's owner."""


@token.command("create")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What it is for.")
@click.option("--device", help="The device that a token of kind device appends for; made when there is none of that name.")
@_as_owner
@as_json
def create_token(name: str, kind: str, device: str | None, json_output: bool, **who: Any) -> None:
    """Make a token; its text is printed this once."""
    if (kind == "device") != (device is not None):
        raise click.UsageError("--device is needed with --kind device, and with no other")
    wanted = {"kind": kind, "name": name} | ({"device": device} if device else {})
    with _signed_in(**who) as holder:
        report_one(holder.request("POST", TOKENS, wanted).json(), json_output)


@token.command("list")
@_as_owner
@as_json
def list_tokens(json_output: bool, **who: Any) -> None:
    """List tokens, revoked ones too."""
    with _signed_in(**who) as holder:
        found = list(holder.items(TOKENS))
    if json_output:
        report(found, json_output)
        return
    for each in found:
        click.echo(_line(each))
    if not found:
        click.echo("No tokens yet.")


@token.command("revoke")
@click.argument("token_id", metavar="TOKEN", type=click.UUID)
@_as_owner
def revoke_token(token_id: UUID, **who: Any) -> None:
    """Revoke a token: from the next request on it opens nothing."""
    with _signed_in(**who) as holder:
        holder.request("DELETE", f"{TOKENS}/{token_id}")
    click.echo("Revoked.")


@logdata.command("restored")
@click.option("--execute", is_flag=True, help="Go on with the database as it is.")
@click.option("--revoke-tokens", is_flag=True, help="With --execute: revoke all tokens, those revoked since the backup too.")
@as_json
@click.pass_context
def accept_restored(ctx: click.Context, execute: bool, revoke_tokens: bool, json_output: bool) -> None:
    """After a restore of log data's database: show what it lacks, and go on with it."""
    if revoke_tokens and not execute:
        raise click.UsageError("--revoke-tokens needs --execute")
    with chosen_stack(ctx), processor_services("api") as built:
        found: dict[str, Any] = asdict(acceptance.look(built.plane, built.objects, built.clock))
        if execute:
            accepted = acceptance.accept(built.plane, built.objects, built.clock, operator(), revoke_tokens=revoke_tokens)
            found |= dict(zip(("instructions_withdrawn", "tokens_revoked"), accepted, strict=True))
    report_one(found, json_output)
    if not (revoke_tokens or json_output):
        click.echo("Tokens that were revoked since the backup are valid again; --execute --revoke-tokens revokes all.")
