"""Bar charts as static inline SVG: no script, colours by the page's style, read out by their title and description."""

from collections.abc import Sequence
from html import escape
from itertools import count
from math import ceil
from typing import Final, NamedTuple

from markupsafe import Markup

WIDTH: Final = 720
HEIGHT: Final = 220
BELOW: Final = 24  # for the labels of the months
ABOVE: Final = 18  # for the largest value
LABEL: Final = 76  # how wide one is, such as `janv. 2026`, with room to the next
ROW: Final = 22
LEFT: Final = 250  # for the names of devices
RIGHT: Final = 90  # for their values
LONGEST: Final = 34  # characters of a name that fit


class Bar(NamedTuple):
    """What a bar is of, how long it is, and the value in words."""

    label: str
    value: int
    words: str


class Chart(NamedTuple):
    """A chart's name, which tells it from others of the page, and what is read out for it."""

    name: str
    title: str
    text: str


def columns(chart: Chart, bars: Sequence[Bar]) -> Markup:
    """Upright bars side by side, such as months; as many as have room have their label below."""
    most, step = _most(bars), WIDTH / max(len(bars), 12)
    every = ceil(LABEL / step)
    plot = HEIGHT - BELOW - ABOVE
    drawn = [f'<line class="axis" x1="0" y1="{HEIGHT - BELOW}" x2="{WIDTH}" y2="{HEIGHT - BELOW}"/>']
    for number, bar in zip(count(), bars):
        high = plot * bar.value / most
        top, left = HEIGHT - BELOW - high, number * step
        drawn.append(_rectangle(left + step * 0.1, top, step * 0.8, high, bar))
        if number % every == 0 and left <= WIDTH - LABEL:
            drawn.append(f'<text x="{left:.1f}" y="{HEIGHT - 6}">{escape(bar.label)}</text>')
    drawn.append(f'<text x="0" y="12">{escape(max(bars, key=lambda bar: bar.value).words)}</text>')
    return _framed(chart, HEIGHT, drawn)


def rows(chart: Chart, bars: Sequence[Bar]) -> Markup:
    """Level bars one below another, such as devices, each with its label and value."""
    most, plot = _most(bars), WIDTH - LEFT - RIGHT
    drawn = []
    for number, bar in zip(count(), bars):
        top, wide = number * ROW, plot * bar.value / most
        drawn.append(f'<text x="0" y="{top + 15}">{escape(_short(bar.label))}</text>')
        drawn.append(_rectangle(LEFT, top + 3, wide, ROW - 7, bar))
        drawn.append(f'<text x="{LEFT + wide + 6:.1f}" y="{top + 15}">{escape(bar.words)}</text>')
    return _framed(chart, ROW * len(bars), drawn)


def _framed(chart: Chart, height: int, drawn: Sequence[str]) -> Markup:
    name, inner = chart.name, "\n".join(drawn)
    return Markup(  # noqa: S704  every text in it was escaped
        f'<svg class="chart" role="img" aria-labelledby="{name}-title {name}-text" viewBox="0 0 {WIDTH} {height}">\n'
        f'<title id="{name}-title">{escape(chart.title)}</title>\n<desc id="{name}-text">{escape(chart.text)}</desc>\n'
        f"{inner}\n</svg>"
    )


def _rectangle(left: float, top: float, wide: float, high: float, bar: Bar) -> str:
    told = escape(f"{bar.label}: {bar.words}")
    return f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{high:.1f}"><title>{told}</title></rect>'


def _most(bars: Sequence[Bar]) -> int:
    return max([1, *(bar.value for bar in bars)])


def _short(label: str) -> str:
    return label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"
