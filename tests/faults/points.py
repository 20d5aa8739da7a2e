"""The points at which a process can fail: its messages to servers, each of which gets through, or meets a fault."""

import threading
from collections.abc import Callable
from enum import StrEnum


class Fault(StrEnum):
    """What becomes of one message."""

    REFUSED = "refused"  # the server never sees it: the connection is cut, or HTTP answers 500 and 503
    LOST = "answer lost"  # the server does it, and the connection is cut before the answer
    KILLED_BEFORE = "killed before"  # the sender gets SIGKILL before the server sees it
    KILLED_AFTER = "killed after"  # or once the server has done it

    @property
    def kills(self) -> bool:
        """Whether it is the sender that ends."""
        return self in {Fault.KILLED_BEFORE, Fault.KILLED_AFTER}

    @property
    def is_before(self) -> bool:
        """Whether the server never sees the message."""
        return self in {Fault.REFUSED, Fault.KILLED_BEFORE}


Decide = Callable[[int, str], Fault | None]


def let_through(_number: int, _label: str) -> None:
    """No fault at all."""


def _nobody() -> None:
    raise AssertionError("there is nobody to be killed")


class Points:
    """Numbers the messages of one process to all of its servers from 0, and has `decide` say which of them fails and how.

    A label names the kind of server, then what is asked of it. `kill` ends the process, once there is one.
    """

    def __init__(self, decide: Decide = let_through) -> None:
        self.decide = decide
        self.kill: Callable[[], None] = _nobody
        self.labels: list[str] = []
        self.failed: list[int] = []
        self._lock = threading.Lock()

    def restart(self, decide: Decide) -> None:
        """Count from 0 again."""
        with self._lock:
            self.labels, self.failed, self.decide = [], [], decide

    def next(self, label: str) -> Fault | None:
        """The next message: how it fails, if it does. A fault that kills before has already killed."""
        with self._lock:
            number = len(self.labels)
            self.labels.append(label)
            fault = self.decide(number, label)
            if fault is not None:
                self.failed.append(number)
        if fault is Fault.KILLED_BEFORE:
            self.kill()
        return fault
