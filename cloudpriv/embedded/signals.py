"""Turn SIGTERM into an ordinary exit, so that contexts end and servers stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Within the body, SIGTERM raises SystemExit(143), as a shell reports it; further ones are ignored.

    The former handler is restored after it. ValueError outside the main thread: Python handles signals there.
    """
    former = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _leave(number: int, _frame: FrameType | None) -> None:
    # A second signal would cut short the stopping that the first one began.
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)
