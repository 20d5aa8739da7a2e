"""Charts as static SVG: no script, no inline style, and a table with the same figures beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 720
HEIGHT: Final = 220
LEFT: Final = 72
BOTTOM: Final = 26
TOP: Final = 10
RIGHT: Final = 16  # for the last month's name
LINES: Final = 4
GAP: Final = 0.28  # of a month's width
MOST_STEP: Final = 96  # for a month, so that a few are no wall, and all of them are in sight on a phone
MOST_LABELS: Final = 8  # that fit side by side
ON_PHONE: Final = 3  # months that a phone shows beside the scale, without scrolling


@dataclass(frozen=True)
class Bar:
    """One rectangle of the drawing; `kind` is its class in the style sheet."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True)
class Label:
    """A text at a place of the drawing: the value of a grid line, or the number of a month."""

    x: float
    y: float
    value: int


@dataclass(frozen=True)
class Chart:
    """Stacked bars over a grid: where each goes in a drawing of WIDTH by HEIGHT.

    A long one is wider than a phone, which then shows its end, the latest months.
    """

    bars: list[Bar]
    lines: list[Label]
    months: list[Label]
    is_long: bool
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    floor: int = HEIGHT - BOTTOM


def stacked(values: Sequence[tuple[int, int]]) -> Chart:
    """Bars of two parts each, lower and upper, from left to right; each at least visible where it is not zero."""
    ceiling = nice_ceiling(max((lower + upper for lower, upper in values), default=0))
    step = min(MOST_STEP, (WIDTH - LEFT - RIGHT) / max(1, len(values)))
    bars = [bar for index, pair in enumerate(values) for bar in _stack(LEFT + (index + GAP / 2) * step, step, pair, ceiling)]
    every = -(-len(values) // MOST_LABELS) or 1
    months = [
        Label(round(LEFT + (index + 0.5) * step, 1), HEIGHT - 8, index)
        for index in range(len(values) - 1, -1, -every)  # the latest one always has its label
    ]
    return Chart(bars, [_line(part, ceiling) for part in range(LINES + 1)], months, is_long=len(values) > ON_PHONE)


def nice_ceiling(highest: int) -> int:
    """The lowest of 4, 8, 20, 40, 80, 200… that is at least `highest`, so that each grid line has a round value."""
    ceiling = 4
    while ceiling < highest:
        ceiling = ceiling * 5 // 2 if str(ceiling)[0] == "8" else ceiling * 2
    return ceiling


def _line(part: int, ceiling: int) -> Label:
    return Label(LEFT - 8, _height_at(ceiling * part // LINES, ceiling), ceiling * part // LINES)


def _height_at(value: int, ceiling: int) -> float:
    return round(HEIGHT - BOTTOM - value / ceiling * (HEIGHT - BOTTOM - TOP), 1)


def _stack(x: float, step: float, pair: tuple[int, int], ceiling: int) -> list[Bar]:
    bars, floor = [], float(HEIGHT - BOTTOM)
    for value, kind in zip(pair, ("from", "to"), strict=True):
        if value:
            height = max(1.0, round(value / ceiling * (HEIGHT - BOTTOM - TOP), 1))
            floor = round(floor - height, 1)
            bars.append(Bar(round(x, 1), floor, round(step * (1 - GAP), 1), height, kind))
    return bars
