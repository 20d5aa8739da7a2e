"""Renew a lease beside the work that it is held for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import structlog

from cloudpriv.platform.errors import BusyError
from cloudpriv.platform.faults import place

log = structlog.get_logger(__name__)


@contextmanager
def renewed(renew: Callable[[], bool], seconds: float, subject: str) -> Iterator[None]:
    """Call `renew` every so many seconds in a thread until the block ends or `renew` answers that the lease is lost.

    A renewal that meets a server away, or fails otherwise, is tried again at the next turn: leases last for several. Of a
    fault that nobody expected class and place are logged, and nothing else.
    """
    ended = Event()
    thread = Thread(target=_renew_until, args=(ended, renew, seconds, subject), name="lease")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _renew_until(ended: Event, renew: Callable[[], bool], seconds: float, subject: str) -> None:
    while not ended.wait(seconds):
        try:
            if not renew():
                return
        except BusyError:
            log.warning("lease_not_renewed", subject=subject)
        except Exception as fault:  # noqa: BLE001  the thread would die of it, and print its text
            log.error("lease_not_renewed", subject=subject, fault=type(fault).__name__, place=place(fault))
