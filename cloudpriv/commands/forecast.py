"""`cloudpriv retention forecast`: what falls due in which month, as a chart, as CSV and as PNG."""

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import click
from rich.text import Text

from cloudpriv.api.forecast import shown
from cloudpriv.commands.context import as_json, screen, services
from cloudpriv.commands.scale import tallest_whole
from cloudpriv.platform.actor import OPERATOR, SERVICES
from cloudpriv.retention import forecast as forecasts
from cloudpriv.retention.forecast import Forecast
from cloudpriv.retention.tables import ForecastMonth

TO_FILE: Final = click.Path(path_type=Path, dir_okay=False)
WIDEST: Final = 100
FREE, HELD = "cyan", "yellow"
FIGURES: Final = ("accounts", "held_accounts", "records")
WIDTHS: Final = {"accounts": 11, "held_accounts": 10, "records": 15}
MARGIN: Final = 6  # of the month's name


@click.command("forecast")
@click.option("--service", type=click.Choice(SERVICES), help="One service only.")
@click.option("--csv", "csv_file", type=TO_FILE, help="Also write the months to this file, as CSV (RFC 4180).")
@click.option("--png", "png_file", type=TO_FILE, help="Also draw them into this file.")
@click.option("--anew", is_flag=True, help="Count now; otherwise the figures are up to a day old.")
@as_json
@click.pass_context
def show_forecast(ctx: click.Context, service: str | None, *, csv_file: Path | None, png_file: Path | None, anew: bool,
                  json_output: bool) -> None:  # fmt: skip
    """Show what falls due in each month of the policy's period, and how much of it is held."""
    with services(ctx, "worker") as built, built.controller.transaction(OPERATOR, built.clock()) as tx:
        if anew:
            forecasts.count(tx, built.policy)
        found = forecasts.read(tx, built.policy, service=service)
    document: dict[str, Any] = {
        "counted_at": found.counted_at,
        "rule": found.rule,
        "items": [shown(row) for row in found.months],
    }
    if json_output:
        click.echo(json.dumps(document, default=lambda at: at.isoformat().replace("+00:00", "Z")))
    else:
        _print_chart(found)
    if csv_file is not None:
        write_csv(document["items"], csv_file)
    if png_file is not None:
        draw(document, png_file)


def write_csv(items: Sequence[dict[str, Any]], target: Path) -> None:
    """Write a line for each month of each service, zeros included, under a line of names (RFC 4180)."""
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(items[0]))
        writer.writeheader()
        writer.writerows(items)


def draw(document: dict[str, Any], target: Path) -> None:
    """Draw a forecast as PNG.

    In a process of its own: matplotlib would cost every other command 0.4 s and 40 MB.
    """
    content = json.dumps(document, default=str).encode()
    painter = [sys.executable, "-m", "cloudpriv.commands.forecast_png"]
    target.write_bytes(subprocess.run(painter, input=content, stdout=subprocess.PIPE, check=True).stdout)


def _print_chart(found: Forecast) -> None:
    """A section for each service, a block for each year, a bar for each month."""
    if not any(row.accounts for row in found.months):
        months = f"{found.months[0].month:%B %Y} to {found.months[-1].month:%B %Y}"
        counted = f"no account was kept by {found.rule} at {found.counted_at:%Y-%m-%d %H:%M} UTC (--anew counts again)"
        click.echo(f"Nothing falls due from {months}: {counted}.")
        return
    _print(Text(f"Falling due by {found.rule}", style="bold"))
    _print(Text(f"Counted at {found.counted_at:%Y-%m-%d %H:%M} UTC. The first month has what is overdue."))
    free, held, cut = _marks()
    _print(
        Text.assemble((free, FREE), " to be erased   ", (held, HELD), " kept while held or restricted   ", cut, " cut off")
    )
    for service, rows in groupby(found.months, key=lambda row: row.service):
        _print_service(service, list(rows))


def _print_service(service: str, rows: list[ForecastMonth]) -> None:
    whole = tallest_whole([row.accounts for row in rows])
    _print(Text())
    head = Text(service.ljust(MARGIN + _room()), style="bold")
    _print(head.append("".join(_title(name).rjust(WIDTHS[name]) for name in FIGURES), style="not bold"))
    for year, months in groupby(rows, key=lambda row: row.month.year):
        of_year = list(months)
        _print(Text(str(year).ljust(MARGIN + _room()) + _figures(_sums(of_year)), style="bold"))
        if any(row.accounts for row in of_year):
            for row in of_year:
                _print(_line(row, whole))


def _line(row: ForecastMonth, whole: int) -> Text:
    is_cut, room = row.accounts > whole, _room() - 2
    free, held = bar(row.accounts, row.held_accounts, row.accounts if is_cut else whole, room)
    marks = _marks()
    line = Text.assemble(f"  {row.month:%b} ", (marks[0] * free, FREE), (marks[1] * held, HELD), marks[2] * is_cut)
    line.pad_right(MARGIN + _room() - len(line))
    return line.append(_figures({name: getattr(row, name) for name in FIGURES}), style="" if row.accounts else "dim")


def bar(accounts: int, held: int, most: int, room: int) -> tuple[int, int]:
    """How many cells of `room` the accounts that are free and those that are held take: one at least of what there is."""
    free = accounts - held
    cells = [max(1, round(part * room / most)) if part else 0 for part in (free, held)]
    cells[cells[0] < cells[1]] -= max(0, sum(cells) - room)  # the longer part gives way
    return cells[0], cells[1]


def _figures(figures: dict[str, int]) -> str:
    return "".join((f"{figures[name]:,}" if figures[name] else "-").rjust(WIDTHS[name]) for name in FIGURES)


def _sums(rows: Sequence[ForecastMonth]) -> dict[str, int]:
    return {name: sum(getattr(row, name) for row in rows) for name in FIGURES}


def _title(name: str) -> str:
    return {"held_accounts": "held"}.get(name, name)


def _room() -> int:
    """Cells for the longest bar, the mark of one that is cut off, and a blank."""
    return max(12, min(screen.width, WIDEST) - MARGIN - sum(WIDTHS.values()))


def _marks() -> tuple[str, str, str]:
    return ("#", ".", ">") if screen.options.ascii_only else ("█", "░", "▶")


def _print(line: Text) -> None:
    screen.print(line, soft_wrap=True)
