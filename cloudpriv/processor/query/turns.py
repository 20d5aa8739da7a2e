"""Turns at reading what compaction and deletions rearrange meanwhile: each takes a new look, after a pause."""

from collections.abc import Iterator
from random import uniform
from time import sleep
from typing import Final

from cloudpriv.platform.errors import BusyError

# Seconds, together under ten: a deletion that rewrites one chunk after another takes away what each new look finds.
PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 3.2)


def turns() -> Iterator[None]:
    """Turns at a read that may find an object gone: the first at once, later ones after longer and longer pauses.

    Raises BusyError when none is left.
    """
    yield
    for seconds in PAUSES:
        sleep(uniform(seconds / 2, seconds))  # noqa: S311  readers are to come apart; nobody gains by guessing when
        yield
    raise BusyError("The log data is being rearranged.")
