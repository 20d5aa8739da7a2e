"""Which of several processes takes a new connection."""

import socket
from collections.abc import Iterator

import pytest
from gunicorn.config import Config

from cloudpriv import connections
from cloudpriv.connections import Worker


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Where a client has just connected to."""
    with socket.socket() as listening, socket.socket() as client:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        client.connect(listening.getsockname())
        yield listening


def worker(*, processes: int, serving: int) -> Worker:
    """One of so many processes, with so many connections that it serves at this moment."""
    config = Config()
    config.set("workers", processes)
    made = Worker(1, 0, [], None, 30, config, None)
    made.nr_conns = serving
    return made


def accepted(made: Worker, listening: socket.socket) -> int:
    """How many more connections it has after it was woken for a new one."""
    before = made.nr_conns
    made.enqueue_req = lambda conn: conn.sock.close()
    made.accept(listening)
    more: int = made.nr_conns - before
    made.tmp.close()
    made.method_queue.close()
    return more


def test_a_process_that_serves_others_lets_an_idle_one_take_a_connection_first(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def idle_process_wakes(seconds: float) -> None:
        assert seconds == connections.LET_OTHERS
        taken.append(listener.accept()[0])

    monkeypatch.setattr("time.sleep", idle_process_wakes)
    assert accepted(worker(processes=2, serving=1), listener) == 0
    for each in taken:
        each.close()
    assert len(taken) == 1


@pytest.mark.parametrize(("processes", "serving"), [(2, 0), (1, 1)])
def test_an_idle_process_and_one_that_is_alone_wait_for_nobody(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, processes: int, serving: int
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waited"))
    assert accepted(worker(processes=processes, serving=serving), listener) == 1


def test_a_process_takes_what_no_other_takes(listener: socket.socket) -> None:
    assert accepted(worker(processes=2, serving=1), listener) == 1
