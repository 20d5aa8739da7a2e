"""Commands about accounts' data: ingest it, export it."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, get_args
from uuid import UUID

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cloudpriv.bootstrap import Services
from cloudpriv.client.api import ApiClient
from cloudpriv.client.checkpoint import Report
from cloudpriv.client.ingest import ingest_file
from cloudpriv.client.readers import Format
from cloudpriv.commands.context import as_json, fail, operator, report, report_one, services
from cloudpriv.platform.errors import BusyError
from cloudpriv.rights import export as exports
from cloudpriv.rights import requests
from cloudpriv.rights.requests import Identity
from cloudpriv.rights.tables import Export

POLL_SECONDS: Final = 1.0
FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("file", type=FILE)
@click.option("--format", "file_format", type=click.Choice(get_args(Format)), default="csv", show_default=True)
@click.option("--map", "csv_map", help="TOML map of the CSV's columns (docs/ingest.md): a file, or the name of one of ours.")
@click.option("--network", "networks", multiple=True, help="Network of the devices in a Zeek log, such as 10.0.0.0/8.")
@click.option("--account", help="Account (name or id) of records that name none.")
@click.option("--create-devices", is_flag=True, help="Register devices that the account does not know.")
@click.option("--url", envvar="CLOUDPRIV_API_URL", default="http://127.0.0.1:8080", show_default=True, help="The API.")
@click.option("--client-id", envvar="CLOUDPRIV_CLIENT_ID", required=True, help="Or CLOUDPRIV_CLIENT_ID.")
@click.option("--client-secret", envvar="CLOUDPRIV_CLIENT_SECRET", required=True, help="Better in CLOUDPRIV_CLIENT_SECRET.")
@click.option(
    "--state", type=click.Path(path_type=Path, dir_okay=False), help="Where to keep how far it came (FILE.ingest)."
)
@click.option("--rejects", type=click.Path(path_type=Path, dir_okay=False), help="List rejected rows in this file (NDJSON).")
@click.option("--batch", type=click.IntRange(1, 10_000), default=5_000, show_default=True, help="Records in a request.")
@as_json
def ingest(file: Path, url: str, client_id: str, client_secret: str, json_output: bool, **options: Any) -> None:
    """Send a file's traffic to the API; an interrupted ingest goes on when repeated."""
    with ApiClient(url, client_id, client_secret) as client, _bar(f"Ingesting {file.name}") as progress:
        done = ingest_file(client, file, progress=progress, **options)
    shown = asdict(done)
    reasons = shown.pop("reasons")
    if json_output:
        click.echo(json.dumps({**shown, "reasons": reasons}))
    else:
        report_one(shown, False)
        rows = [{"reason": code, "rows": count} for code, count in sorted(reasons.items())]
        report(rows, False, empty="No row was rejected.")
    if done.rejected and not (done.accepted or done.merged):
        fail("no row was taken; --rejects FILE says why of each")


@click.command()
@click.argument("account_id", metavar="ACCOUNT", type=click.UUID)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the archive here (ACCOUNT.zip).")
@as_json
@click.pass_context
def export(ctx: click.Context, account_id: UUID, output: Path | None, json_output: bool) -> None:
    """Export all that is held of an account as a zip archive."""
    target = output or Path(f"{account_id}.zip")
    with services(ctx, "api") as built, built.controller.transaction(operator(), built.clock()) as tx:
        identity = Identity("backend", f"{tx.actor.kind} {tx.actor.id}")
        received = requests.receive(tx, built.policy, account_id, "access", identity=identity).answer
    with services(ctx, "worker") as built:
        made = _made(built, received.export_id)
        if made.status == "failed":
            raise BusyError(f"The export has failed ({made.failure}).")
        with built.controller.transaction(operator(), built.clock()) as tx:
            key = requests.open_archive(tx, received.export_id)
        _save(built.exports.get_stream(key)[1], target)
    report_one({"archive": target, "size": made.size, "sha256": made.sha256}, json_output)


def _made(built: Services, export_id: UUID) -> Export:
    """The export when it has ended, made here unless a worker was quicker."""
    while True:
        exports.run(built.controller, built.exports, built.policy, export_id, built.clock)
        with built.controller.transaction(operator(), built.clock()) as tx:
            found = requests.read_export(tx, export_id)
        if found.status not in ("pending", "running"):
            return found
        time.sleep(POLL_SECONDS)


def _bar(title: str) -> "_Bar":
    return _Bar(title)


class _Bar:
    """A progress bar when a terminal is attached."""

    def __init__(self, title: str) -> None:
        columns = (TextColumn(title), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())
        self._progress = Progress(*columns, TextColumn("{task.fields[rows]:,} rows"))
        self._task = self._progress.add_task(title, total=1.0, rows=0)

    def __enter__(self) -> "_Bar":
        if self._progress.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, fraction: float, done: Report) -> None:
        self._progress.update(self._task, completed=fraction, rows=done.rows)


def _save(chunks: Any, target: Path) -> None:
    """Write a file; a new one only its owner may read."""
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        for chunk in chunks:
            file.write(chunk)
