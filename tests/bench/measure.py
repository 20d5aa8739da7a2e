"""A figure, and how it is measured beside its baseline."""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Final

import msgspec

ROUNDS: Final = 5

Speed = Callable[[int], float]
"""Does its work for the round of this number and returns how much a second."""


@dataclass(frozen=True)
class Figure:
    """What was measured; `ratio` is above 1 where cloudpriv does better than the baseline, or than a bound that it has."""

    name: str
    value: float
    unit: str
    baseline: float
    ratio: float

    def line(self) -> str:
        """One line of JSON."""
        shown = {name: round(each, 3) if isinstance(each, float) else each for name, each in asdict(self).items()}
        return msgspec.json.encode(shown).decode()


def beside(name: str, unit: str, ours: Speed, baseline: Speed, *, rounds: int = ROUNDS) -> Figure:
    """Both speeds in turn, round by round: their medians, and the median of the rounds' ratios.

    A ratio is taken within its round, so that a machine that gets slower meanwhile moves it little. Round 0 warms up what
    it touches and does not count.
    """
    pairs = [(ours(number), baseline(number)) for number in range(rounds + 1)][1:]
    for speed, base in pairs:
        sys.stderr.write(f"  {speed:.1f} / {base:.1f} {unit} = {speed / base:.3f}\n")
    speeds, bases = zip(*pairs, strict=True)
    return Figure(name, median(speeds), unit, median(bases), median(speed / base for speed, base in pairs))


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
