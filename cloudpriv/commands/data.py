"""The command that brings in accounts' data."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, get_args

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cloudpriv.client.api import ApiClient
from cloudpriv.client.checkpoint import Report
from cloudpriv.client.ingest import ingest_file
from cloudpriv.client.readers import Format
from cloudpriv.commands.context import as_json, fail, report, report_one

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
