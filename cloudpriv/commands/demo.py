"""The demo: the whole life of an account, end to end, on the embedded stack."""

import json
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import click

from cloudpriv.commands.context import as_json, fail
from cloudpriv.commands.data import FILE
from cloudpriv.demo.story import tell_own, tell_recording
from cloudpriv.demo.telling import StepFailed, Telling


@click.command()
@click.option("--traffic", type=FILE, help="Your own traffic instead of the recording: a CSV file, plain, gzip or zip.")
@click.option("--map", "csv_map", help="TOML map of its columns: a file, or the name of one of ours.")
@as_json
@click.pass_context
def demo(ctx: click.Context, traffic: Path | None, csv_map: str | None, json_output: bool) -> None:
    """Live through an account's whole life: opened, filled, exported, seven years idle, erased.

    All of it runs on the embedded stack: in the folder of --embedded, else in a temporary one.
    """
    if (traffic is None) != (csv_map is None):
        raise click.UsageError("--traffic and --map go together.")
    telling = Telling(silent=json_output)
    try:
        with _one_interrupt(), _folder(ctx.find_root().obj) as (folder, suffix):
            if traffic is None or csv_map is None:
                tell_recording(telling, folder, suffix=suffix)
            else:
                tell_own(telling, folder, traffic, csv_map, suffix=suffix)
    except StepFailed as failed:
        fail(str(failed))
    _tell_all(telling, json_output)


@contextmanager
def _folder(chosen: Path | None) -> Iterator[tuple[Path, str]]:
    """The folder of the stack, and what keeps this run's accounts apart from those that a chosen folder holds already."""
    if chosen is not None:
        yield chosen, f"-{secrets.token_hex(3)}"
        return
    with TemporaryDirectory(prefix="cloudpriv-demo-") as made:
        try:
            yield Path(made), ""
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # or half of the folder would stay; `_one_interrupt` restores it


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """Within the body, the first SIGINT raises KeyboardInterrupt; more of them would cut short the stopping it began."""
    former = signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _tell_all(telling: Telling, json_output: bool) -> None:
    if json_output:
        seconds = round(sum(step.seconds for step in telling.steps), 3)
        click.echo(json.dumps({"seconds": seconds, "steps": [step.as_dict() for step in telling.steps]}, ensure_ascii=False))
    else:
        telling.table()
