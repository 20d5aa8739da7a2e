"""`cloudpriv requests`: what people asked for, what is overdue, and what staff does about it.

What would erase is a dry run unless --execute: to grant an erasure, and to identify who asked for one.
"""

import shlex
from datetime import UTC
from typing import Any, Final, cast
from uuid import UUID

import click
from marshmallow import ValidationError

from cloudpriv.api.request_schemas import AskedFields, asked_for, shown, summary
from cloudpriv.bootstrap import Services
from cloudpriv.commands.context import as_json, operating, report, report_one, services
from cloudpriv.mail_templates import LOCALES
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import WrongCodeError
from cloudpriv.rights import handling, request_codes
from cloudpriv.rights import requests as subject_requests
from cloudpriv.rights.cases import case, states
from cloudpriv.rights.requests import Channel, Identity, KnownRequest

ID: Final = click.argument("request_id", metavar="REQUEST", type=click.UUID)
EXECUTE: Final = click.option("--execute", is_flag=True, help="Really erase; without it an erasure is only shown.")
DAY: Final = click.DateTime(["%Y-%m-%d"])
ERASED: Final = "erasure"


@click.group()
def requests() -> None:
    """Requests of data subjects: enter, list, show, identify, decide, extend."""


@requests.command()
@click.argument("account_id", metavar="ACCOUNT", type=click.UUID)
@click.option("--type", required=True, type=click.Choice(subject_requests.TYPES), help="What it asks for.")
@click.option("--person", "person_id", type=click.UUID, help="Whom of the account it is about; without, the whole account.")
@click.option("--channel", type=click.Choice(["letter", "mail"]), default="letter", show_default=True)
@click.option(
    "--received-on", required=True, type=DAY, metavar="YYYY-MM-DD", help="When it came in; the month counts from it."
)
@click.option("--text", help="What it says, in its own words.")
@click.option("--restrict", is_flag=True, default=None, help="Of an objection: nothing is processed until it is decided.")
@click.option("--language", type=click.Choice(LOCALES), default=LOCALES[0], show_default=True, help="Of an archive's page.")
@as_json
@click.pass_context
def enter(ctx: click.Context, /, account_id: UUID, json_output: bool, **given: Any) -> None:
    """Enter a request that came by letter or mail; it waits until its asker is identified (`requests verify`)."""
    details = _asked(type=given["type"], text=given["text"], restrict=given["restrict"])
    received_at = given["received_on"].replace(tzinfo=UTC)
    with services(ctx, "api") as built, operating(built) as tx:
        known = handling.receive(tx, built.policy, account_id, given["type"], person_id=given["person_id"], details=details,
                                 channel=cast(Channel, given["channel"]), received_at=received_at,
                                 language=given["language"])  # fmt: skip
        found = shown(known)
    report_one(found, json_output)


@requests.command("list")
@click.option("--overdue", is_flag=True, help="Only those whose last day to answer is over.")
@click.option("--nearly-due", is_flag=True, help="Only those due within seven days.")
@click.option("--status", type=click.Choice(states.OPEN), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@as_json
@click.pass_context
def list_open(ctx: click.Context, /, limit: int, json_output: bool, **chosen: Any) -> None:
    """List the requests that wait for an answer, oldest first."""
    with services(ctx, "api") as built, operating(built) as tx:
        found = subject_requests.list_open(tx, **chosen, after=None, limit=limit)
        rows = [summary(each) for each in found[:limit]]
    report(rows if json_output else [_short(row) for row in rows], json_output, empty="No request waits for an answer.")
    if len(found) > limit and not json_output:
        click.echo(f"There are more than {limit}: see --limit.")


@requests.command()
@ID
@as_json
@click.pass_context
def show(ctx: click.Context, request_id: UUID, json_output: bool) -> None:
    """Show a request with what was asked and said."""
    with services(ctx, "api") as built, operating(built) as tx:
        found = shown(subject_requests.read_request(tx, request_id))
    report_one(found, json_output)


@requests.command()
@ID
@click.option("--person", "person_id", type=click.UUID, help="Of a whole account: the owner who asked for it.")
@as_json
@click.pass_context
def code(ctx: click.Context, request_id: UUID, person_id: UUID | None, json_output: bool) -> None:
    """Mail a one-time code to the asker's registered address, to verify with; at most every ten minutes."""
    with services(ctx, "api") as built, operating(built) as tx:
        made = request_codes.send_code(tx, request_id, person_id)
        found = {"code_id": made.sent.code_id, "person_id": made.person_id, "expires_at": made.sent.expires_at}
    report_one({**found, "mailed": made.sent.mailed}, json_output)
    if not made.sent.mailed and not json_output:
        click.echo("A code was mailed less than ten minutes ago: that one still fits.")


@requests.command()
@ID
@click.option("--note", help="Which documents were looked at, and how they were checked.")
@click.option("--code", "typed", help="The code that was mailed to the asker, with --code-id.")
@click.option("--code-id", type=click.UUID, help="What `requests code` told.")
@EXECUTE
@as_json
@click.pass_context
def verify(ctx: click.Context, /, request_id: UUID, execute: bool, json_output: bool, **shown_by: Any) -> None:
    """Note how the asker was identified, by documents or by a code; then it is carried out, unless staff has to decide."""
    words = _identifying(**shown_by)
    with services(ctx, "api") as built, operating(built) as tx:
        dry = _is_dry(tx, request_id, execute, "verify")
        known = _read(tx, request_id) if dry else _verified(tx, built, request_id, shown_by)
        found = None if known is None else shown(known)
    if found is None:
        raise WrongCodeError  # after the try was counted
    _told(ctx, found, json_output, dry, f"requests verify {request_id} {words}")


@requests.command()
@ID
@click.option("--grant", "decision", flag_value="grant", help="Grant it.")
@click.option("--refuse", "decision", flag_value="refuse", help="Refuse it, with --ground and --reason.")
@click.option("--outcome", help="What was done, where staff did it.")
@click.option("--ground", type=click.Choice(list(subject_requests.GROUNDS)), help="Why it may be refused.")
@click.option("--reason", help="Why the ground applies, in words to the person.")
@EXECUTE
@as_json
@click.pass_context
def decide(ctx: click.Context, /, request_id: UUID, execute: bool, json_output: bool, **decision: str | None) -> None:
    """Grant a request that waits for staff, or refuse one; the person is told by letter."""
    _check(decision)
    with services(ctx, "api") as built, operating(built) as tx:
        dry = decision["decision"] == "grant" and _is_dry(tx, request_id, execute, "begin")
        known = _read(tx, request_id) if dry else _decided(tx, built, request_id, decision)
        found = shown(known)
    _told(ctx, found, json_output, dry, f"requests decide {request_id} --grant")


@requests.command()
@ID
@click.option("--reason", required=True, help="Why the answer takes longer; the person is told.")
@as_json
@click.pass_context
def extend(ctx: click.Context, request_id: UUID, reason: str, json_output: bool) -> None:
    """Put off the answer by two months: once, and inside the first month."""
    with services(ctx, "api") as built, operating(built) as tx:
        found = shown(subject_requests.extend(tx, built.policy, request_id, reason))
    report_one(found, json_output)


@requests.command()
@ID
@as_json
@click.pass_context
def withdraw(ctx: click.Context, request_id: UUID, json_output: bool) -> None:
    """End a request on its asker's word; an account that it was closing stays."""
    with services(ctx, "api") as built, operating(built) as tx:
        found = shown(handling.withdraw(tx, request_id))
    report_one(found, json_output)


@requests.command()
@ID
@as_json
@click.pass_context
def restart(ctx: click.Context, request_id: UUID, json_output: bool) -> None:
    """Begin the export of a request anew whose last one failed, or takes over an hour."""
    with services(ctx, "api") as built, operating(built) as tx:
        found = shown(subject_requests.restart_export(tx, request_id))
    report_one(found, json_output)


def _asked(**given: object) -> dict[str, Any]:
    """What is asked for, by the rules of the API. Raises UsageError for a text that is none, InvalidError as `asked_for`."""
    try:
        body: dict[str, Any] = AskedFields().load({name: value for name, value in given.items() if value is not None})
    except ValidationError as fault:
        raise click.UsageError(f"--text: {fault.messages_dict['text'][0]}") from None
    return asked_for(body)


def _read(tx: Tx, request_id: UUID) -> KnownRequest:
    return subject_requests.read_request(tx, request_id)


def _is_dry(tx: Tx, request_id: UUID, execute: bool, event: states.Event) -> bool:
    """Whether the step would erase and was not confirmed. Raises ConflictError for a step that cannot be taken at all."""
    row = case.find(tx, request_id).row
    if row.type != ERASED or execute:
        return False
    case.check_own_answer(row)
    states.next_state(row.status, event)
    return True


def _identifying(note: str | None, typed: str | None, code_id: UUID | None) -> str:
    """How the asker is identified, as it is typed once more. Raises UsageError for neither documents nor a code, or both."""
    if (note is None) == (typed is None) or (typed is None) != (code_id is None):
        raise click.UsageError("say --note, or --code and --code-id")
    return f"--note {shlex.quote(note)}" if note is not None else f"--code {shlex.quote(typed or '')} --code-id {code_id}"


def _verified(tx: Tx, built: Services, request_id: UUID, shown_by: dict[str, Any]) -> KnownRequest | None:
    """None for a wrong code."""
    if shown_by["note"] is None:
        return request_codes.verify_by_code(tx, built.policy, request_id, shown_by["code_id"], shown_by["typed"])
    identity = Identity("documents", tx.actor.name, shown_by["note"])
    return handling.verify(tx, built.policy, request_id, identity)


def _decided(tx: Tx, built: Services, request_id: UUID, decision: dict[str, str | None]) -> KnownRequest:
    if decision["decision"] == "grant":
        return handling.grant(tx, built.policy, request_id, decision["outcome"])
    return handling.refuse(tx, built.policy, request_id, decision["ground"] or "", decision["reason"] or "")


def _check(decision: dict[str, str | None]) -> None:
    """Raises UsageError for a decision that is none, or that lacks what it needs."""
    needed = {"grant": ((), ("ground", "reason")), "refuse": (("ground", "reason"), ("outcome",))}
    if decision["decision"] is None:
        raise click.UsageError("say --grant or --refuse")
    required, foreign = needed[decision["decision"]]
    if not all(decision[name] for name in required):
        raise click.UsageError("a refusal needs --ground and --reason")
    if any(decision[name] for name in foreign):
        raise click.UsageError(
            f"--{' and --'.join(foreign)} {'belongs' if len(foreign) == 1 else 'belong'} to another decision"
        )


def _told(ctx: click.Context, found: dict[str, Any], json_output: bool, dry: bool, command: str) -> None:
    report_one({**found, "dry_run": dry} if json_output else found, json_output)
    if dry and not json_output:
        folder = ctx.find_root().obj
        chosen = f" --embedded {shlex.quote(str(folder))}" if folder else ""
        what = "the account closes, after 14 days in which that can be undone" if found["scope"] == "account" else (
            "the person is erased at once"
        )  # fmt: skip
        click.echo(f"Nothing was done. It is an erasure: {what}. To do it: cloudpriv{chosen} {command} --execute")


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """What of a request fits in a terminal of 80 columns, its id in one piece."""
    return {"request": row["id"], "type": row["type"], "status": row["status"].replace("_", " "), "due": row["due_on"]}
