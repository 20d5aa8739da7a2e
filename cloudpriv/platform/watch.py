"""Looks again and again for something that keeps a process from its work, whichever thread asks."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from cloudpriv.platform.errors import BusyError, NotFoundError, RestoredError

log = structlog.get_logger(__name__)

OFTEN: Final = timedelta(minutes=1)


class Watch:
    """Looks at most once in a while, in whichever thread asks first; what was found counts until the next look."""

    def __init__(self, every: timedelta = OFTEN, unreadable: tuple[type[Exception], ...] = ()) -> None:
        """`unreadable` are faults of what is looked at, which tell nothing, besides its being away."""
        self._every = every
        self._unreadable: tuple[type[Exception], ...] = (BusyError, NotFoundError, *unreadable)
        self._one_at_a_time = threading.Lock()
        self._looked: datetime | None = None
        self._reason: str | None = None

    def require(self, look: Callable[[], None], now: datetime) -> None:
        """Raises the RestoredError that the look raises. While what it reads is away, what was found before counts."""
        if self._one_at_a_time.acquire(blocking=False):
            try:
                self._look_again(look, now)
            finally:
                self._one_at_a_time.release()
        self.require_found()

    def require_found(self) -> None:
        """Raises RestoredError when the last look did, without another."""
        if self._reason:
            raise RestoredError(self._reason)

    def _look_again(self, look: Callable[[], None], now: datetime) -> None:
        # A time ahead of now was set by a clock that has been put back since.
        if self._looked is not None and now - self._every < self._looked <= now:
            return
        self._looked = now
        try:
            look()
        except RestoredError as found:
            self._reason = found.detail
            log.error("database_restored", reason=found.detail)
        except self._unreadable as fault:
            log.warning("ledger_not_read", fault=type(fault).__name__)
        else:
            self._reason = None
