"""Commands about proof: certificates of erasure, and the log that they and the trail stand in.

What verifies a file needs nothing but the file and the key: no settings, no servers.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click

from cloudpriv.audit import certificates, log, verification
from cloudpriv.audit.merkle import ProofError
from cloudpriv.audit.tiles import LogError
from cloudpriv.commands.context import as_json, fail, report, report_one, services
from cloudpriv.platform.actor import OPERATOR

FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
MOST_FAULTS: Final = 100  # shown one by one; one change of a tile makes hundreds


def _key_text(_ctx: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    """Verifier keys as given, or those of the file of this name."""
    return Path(given).read_text() if given and Path(given).is_file() else given


def _with_key(*, required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    help_text = "The log's verifier key, or a file of them, one a line (`audit key`)."
    return click.option("--key", "vkeys", required=required, callback=_key_text, metavar="VKEY|FILE", help=help_text)


@click.group()
def certificate() -> None:
    """Certificates of erasures."""


@certificate.command("show")
@click.argument("certificate_id", metavar="ID", type=click.UUID)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it here instead of printing it.")
@click.pass_context
def show_certificate(ctx: click.Context, certificate_id: UUID, output: Path | None) -> None:
    """Show a certificate with its signature and proof, as JSON."""
    with services(ctx, "worker") as built, built.controller.transaction(OPERATOR, built.clock(), read_only=True) as tx:
        found = json.dumps(certificates.document(tx, certificate_id), ensure_ascii=False, indent=2)
    if output is None:
        click.echo(found)
    else:
        output.write_text(found + "\n")


@certificate.command("verify")
@click.argument("file", type=FILE)
@_with_key(required=True)
@as_json
def verify_certificate(file: Path, vkeys: str, json_output: bool) -> None:
    """Verify a certificate's file offline; exit 1 says what is wrong."""
    try:
        document = certificates.read_document(file.read_text())
        checkpoint = certificates.verify(document, vkeys)
    except (ProofError, UnicodeDecodeError) as fault:
        fail(f"{file.name} is not proved: {fault}")
    content = document["certificate"]
    shown = {name: content.get(name) for name in ("id", "purge_id", "service", "issued_at")}
    report_one({"verified": True, **shown, "log": checkpoint.origin, "log_size": checkpoint.size}, json_output)


@click.group()
def audit() -> None:
    """The trail of events and the log that proves it."""


@audit.command("key")
@click.pass_context
def show_key(ctx: click.Context) -> None:
    """Print the verifier key of every log, the newest first."""
    with services(ctx, "worker") as built, built.controller.transaction(OPERATOR, built.clock(), read_only=True) as tx:
        for vkey in log.verifier_keys(tx):
            click.echo(vkey)


@audit.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_context
def export_log(ctx: click.Context, file: Path) -> None:
    """Write all leaves that are published and their checkpoints to a file (NDJSON), for `audit verify`."""
    with (
        services(ctx, "worker") as built,
        built.controller.transaction(OPERATOR, built.clock(), read_only=True) as tx,
        os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target,
    ):
        try:
            target.writelines(verification.exported(tx))
        except (ProofError, LogError) as fault:
            fail(f"the log cannot be exported whole: {fault}")


@audit.command("verify")
@click.argument("file", type=FILE, required=False)
@_with_key(required=False)
@as_json
@click.pass_context
def verify_log(ctx: click.Context, file: Path | None, vkeys: str | None, json_output: bool) -> None:
    """Verify an exported file offline (needs --key), or without a file the running database; exit 1 says what is wrong."""
    if file is None:
        _verify_database(ctx, vkeys, json_output)
    elif vkeys is None:
        raise click.UsageError("A file is verified with --key.")
    else:
        _verify_file(file, vkeys, json_output)


def _verify_file(file: Path, vkeys: str, json_output: bool) -> None:
    try:
        with file.open("rb") as lines:
            sizes = verification.verify_lines(lines, vkeys)
    except ProofError as fault:
        fail(f"{file.name} is not what was signed: {fault}")
    report([{"log": origin, "leaves": size} for origin, size in sizes.items()], json_output, title="Verified")


def _verify_database(ctx: click.Context, vkeys: str | None, json_output: bool) -> None:
    with services(ctx, "worker") as built, built.controller.transaction(OPERATOR, built.clock(), read_only=True) as tx:
        count = 0
        for count, fault in enumerate(verification.faults(tx, built.ledger, vkeys), start=1):
            if count <= MOST_FAULTS:
                click.echo(fault, err=True)
        sizes = verification.sizes(tx, built.ledger)
    if count:
        fail(f"the trail is not what was logged and signed (faults: {count})")
    report(sizes, json_output, title="Verified", empty="There is no log yet.")
