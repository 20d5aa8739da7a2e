"""One scale for charts in the terminal and as PNG."""

from collections.abc import Sequence
from typing import Final

OUTLIERS: Final = 3  # what is overdue falls into the first month, and what is in use now into the last ones
FLATTENING: Final = 3


def tallest_whole(values: Sequence[int]) -> int:
    """The tallest bar that is drawn whole. Up to three that would flatten all others are cut off."""
    usual = sorted(values)[-OUTLIERS - 1 :][0]
    cut_from = FLATTENING * usual or max(values) + 1
    return max(value for value in values if value < cut_from)
