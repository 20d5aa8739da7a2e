"""Draws a forecast: JSON as `retention forecast --json` prints it on standard input, PNG on standard output."""

import json
import sys
from collections.abc import Sequence
from datetime import date
from io import BytesIO
from itertools import groupby
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, MaxNLocator

from cloudpriv.commands.scale import tallest_whole

INCHES_WIDE, INCHES_OF_PANEL, INCHES_OF_HEAD, DOTS_PER_INCH = 12.0, 2.2, 1.3, 100  # 1200 pixels wide
# Told apart by lightness and pattern, too: for print in grey and for whoever sees colours otherwise (WCAG 2.2, 1.4.1).
FREE: Final[dict[str, Any]] = {"facecolor": "#1f6f8b", "edgecolor": "#1f6f8b", "linewidth": 0.3}
HELD: Final[dict[str, Any]] = {"facecolor": "#ffd97d", "edgecolor": "#5c3d00", "linewidth": 0.8, "hatch": "//////"}
STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "hatch.linewidth": 0.9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
BAND, GRID = "#f1f4f6", "#d5dbdf"


def draw(document: dict[str, Any]) -> bytes:
    """A PNG, 1200 pixels wide, with two panels for each service: accounts and records by month, what is held apart."""
    with rc_context(STYLE):
        series = [(service, list(rows)) for service, rows in groupby(document["items"], key=lambda row: row["service"])]
        height = INCHES_OF_HEAD + 2 * len(series) * INCHES_OF_PANEL
        figure = Figure(figsize=(INCHES_WIDE, height), dpi=DOTS_PER_INCH, layout="constrained")
        FigureCanvasAgg(figure)
        panels = list(figure.subplots(2 * len(series), 1, sharex=True, squeeze=False)[:, 0])
        for number, (service, rows) in enumerate(series):
            _draw_panel(panels[2 * number], rows, "accounts", service)
            _draw_panel(panels[2 * number + 1], rows, "records", service)
        _label(figure, panels, document)
        target = BytesIO()
        figure.savefig(target, format="png")
        return target.getvalue()


def _draw_panel(panel: Axes, rows: Sequence[dict[str, Any]], name: str, service: str) -> None:
    values, held = [row[name] for row in rows], [row[f"held_{name}"] for row in rows]
    panel.bar(range(len(rows)), values, width=0.85, zorder=3, **FREE)
    kept = [place for place, value in enumerate(held) if value]  # an empty bar would still draw its edge
    panel.bar(kept, [held[place] for place in kept], width=0.85, zorder=4, **HELD)
    panel.set_title(
        f"{service}: {sum(values):,} {name}, {sum(held):,} of them held", loc="left", fontsize=12, fontweight="bold"
    )
    panel.set_ylabel(f"{name} a month")
    panel.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
    panel.yaxis.set_major_formatter(EngFormatter(sep=""))
    panel.grid(axis="y", color=GRID, zorder=0)
    _limit(panel, values)
    if not any(values):
        panel.text(0.5, 0.5, "nothing falls due", transform=panel.transAxes, ha="center", va="center", color="#555555")
    _mark_years(panel, rows)


def _limit(panel: Axes, values: Sequence[int]) -> None:
    """Cut off the bars that would flatten all others, and write their figures into them."""
    whole = tallest_whole(values)
    top = 1.1 * whole or 1
    panel.set_ylim(0, top)
    box = {"facecolor": FREE["facecolor"], "edgecolor": "none", "pad": 0.6}
    for place, value in enumerate(values):
        if value > whole:
            panel.text(place, 0.97 * top, f"{value:,} \u2192", rotation=90, ha="center", va="top", fontsize=9, color="white",
                       bbox=box, zorder=5)  # fmt: skip


def _mark_years(panel: Axes, rows: Sequence[dict[str, Any]]) -> None:
    """Every other year on a band, its number below the middle of its months."""
    years = [row["month"][:4] for row in rows]
    middles = []
    for number, year in enumerate(dict.fromkeys(years)):
        first, past = years.index(year), years.index(year) + years.count(year)
        middles.append((first + past - 1) / 2)
        if number % 2 == 0:
            panel.axvspan(first - 0.5, past - 0.5, color=BAND, zorder=0, linewidth=0)
    panel.set_xlim(-0.7, len(rows) - 0.3)
    panel.set_xticks(middles, list(dict.fromkeys(years)))
    panel.tick_params(axis="x", length=0, labelbottom=True)


def _label(figure: Figure, panels: Sequence[Axes], document: dict[str, Any]) -> None:
    figure.align_ylabels(panels)
    first, last = (_written(document["items"][place]["month"]) for place in (0, -1))
    figure.suptitle(f"What falls due by {document['rule']}, {first} to {last}", fontsize=15, fontweight="bold")
    patches = [
        Patch(label="to be erased", **FREE),
        Patch(label="kept while held or restricted", **HELD),
    ]
    # Beside the title of the first panel, at whose right there is room.
    panels[0].legend(handles=patches, loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, frameon=False)
    panels[-1].set_xlabel(
        f"month (UTC) of the day from which it may be erased; the first has what is overdue\n"
        f"counted at {document['counted_at'][:16].replace('T', ' ')} UTC; a bar with a figure in it is cut off"
    )


def _written(month: str) -> str:
    return f"{date.fromisoformat(f'{month}-01'):%B %Y}"


if __name__ == "__main__":
    sys.stdout.buffer.write(draw(json.load(sys.stdin)))
