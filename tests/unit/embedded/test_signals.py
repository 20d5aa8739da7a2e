"""SIGTERM as an ordinary exit."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cloudpriv.embedded.signals import stop_on_sigterm


def _terminate_self() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_leaves_the_body_as_an_exit() -> None:
    with pytest.raises(SystemExit) as left, stop_on_sigterm():
        _terminate_self()
    assert left.value.code == 143


def test_a_second_sigterm_does_not_cut_the_stopping_short() -> None:
    stopped = []

    @contextmanager
    def stopping() -> Iterator[None]:
        try:
            yield
        finally:
            _terminate_self()
            stopped.append("all")

    with pytest.raises(SystemExit), stop_on_sigterm(), stopping():
        _terminate_self()
    assert stopped == ["all"]


def test_the_former_handler_is_restored() -> None:
    former = signal.getsignal(signal.SIGTERM)
    with stop_on_sigterm():
        assert signal.getsignal(signal.SIGTERM) != former
    assert signal.getsignal(signal.SIGTERM) == former


def test_other_threads_are_refused() -> None:
    errors = []

    def enter() -> None:
        try:
            with stop_on_sigterm():
                pass
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert len(errors) == 1
