"""Commands about exports: make the archive of an account or of one person in it, and check one.

What checks an archive needs nothing but the file and the key: no settings, no servers.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click

from cloudpriv.bootstrap import Services
from cloudpriv.commands.context import as_json, fail, operating, report_one, services
from cloudpriv.mail_templates import LOCALES
from cloudpriv.platform.errors import BusyError
from cloudpriv.rights import export as exports
from cloudpriv.rights import requests
from cloudpriv.rights.archive import check as archive_check
from cloudpriv.rights.archive.check import ArchiveError
from cloudpriv.rights.requests import Identity
from cloudpriv.rights.tables import Export

POLL_SECONDS: Final = 1.0
FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
MAKE: Final = "account"


class _OrAccount(click.Group):
    """A group whose first word may be an account's id instead of a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command's name in front where it is left out."""
        named = not args or args[0] in self.commands or args[0] in ctx.help_option_names
        return super().parse_args(ctx, args if named else [MAKE, *args])


@click.group(cls=_OrAccount)
def export() -> None:
    """Export what is held of an account, and check archives: `export ACCOUNT`, `export verify FILE`."""


@export.command(MAKE)
@click.argument("account_id", metavar="ACCOUNT", type=click.UUID)
@click.option("--person", "person_id", type=click.UUID, help="Only what is about this person of the account.")
@click.option("--language", type=click.Choice(LOCALES), default=LOCALES[0], show_default=True, help="Of the readable page.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the archive here (ACCOUNT.zip).")
@as_json
@click.pass_context
def make(ctx: click.Context, /, account_id: UUID, output: Path | None, json_output: bool, **whose: Any) -> None:
    """Export all that is held of an account, or of one person in it, as a zip archive."""
    target = output or Path(f"{account_id}.zip")
    export_id = _asked(ctx, account_id, **whose)
    with services(ctx, "worker") as built:
        made = _made(built, export_id)
        if made.status == "failed":
            raise BusyError(f"The export has failed ({made.failure}).")
        with operating(built) as tx:
            key = requests.open_archive(tx, export_id)
        _save(built.exports.get_stream(key)[1], target)
    report_one({"archive": target, "size": made.size, "sha256": made.sha256}, json_output)


@export.command("verify")
@click.argument("file", type=FILE)
@click.option("--key", "vkeys", required=True, metavar="VKEY|FILE",
              help="The log's verifier key, or a file of them, one a line (`audit key`).")  # fmt: skip
@as_json
def verify(file: Path, vkeys: str, json_output: bool) -> None:
    """Check an archive offline: the signature, and every file's size, digest and rows; exit 1 says what is wrong."""
    keys = Path(vkeys).read_text() if Path(vkeys).is_file() else vkeys
    try:
        manifest = archive_check.check(file, keys)
    except ArchiveError as fault:
        fail(f"{file.name} is not what was signed: {fault}")
    shown = {name: manifest[name] for name in ("account_id", "export_id", "scope", "created_at", "policy_version")}
    report_one({"verified": True, **shown, "files": len(manifest["members"])}, json_output)


def _asked(ctx: click.Context, account_id: UUID, *, person_id: UUID | None, language: str) -> UUID:
    """Ask for a copy on behalf of whoever sits here, who has seen to it who wants it; the id of the export."""
    with services(ctx, "api") as built, operating(built) as tx:
        identity = Identity("backend", tx.actor.name)
        asked = requests.receive(
            tx, built.policy, account_id, "access", person_id=person_id, identity=identity, language=language
        )
        return asked.answer.export_id


def _made(built: Services, export_id: UUID) -> Export:
    """The export when it has ended, made here unless a worker was quicker."""
    key = built.require_proof_key()
    while True:
        exports.run(built.controller, built.exports, built.policy, export_id, built.clock, key=key)
        with operating(built) as tx:
            found = requests.read_export(tx, export_id)
        if found.status not in ("pending", "running"):
            return found
        time.sleep(POLL_SECONDS)


def _save(chunks: Iterable[bytes], target: Path) -> None:
    """Write a file; a new one only its owner may read."""
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.writelines(chunks)
