"""Valkey behind a proxy: a point is what a client sends before it waits for an answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.points import Fault, Points
from tests.faults.sockets import Link, Proxy, listening

CHUNK = 1 << 16


@contextmanager
def proxied(server: Path, place: Path, points: Points) -> Iterator[Proxy]:
    """A proxy, at the unix socket `place`, of the server whose socket is `server`."""
    answered: dict[Link, bool] = {}
    awaited: dict[Link, Fault] = {}

    def ask(link: Link) -> None:
        while sent := link.client.recv(CHUNK):
            if answered.pop(link, True):
                fault = link.points.next(f"queue: {_command(sent)}")
                if fault is not None and fault.is_before:
                    return
                if fault is not None:
                    awaited[link] = fault
            answered[link] = False
            link.server.sendall(sent)

    def answer(link: Link) -> None:
        while received := link.server.recv(CHUNK):
            if link in awaited:
                if awaited.pop(link) is Fault.KILLED_AFTER:
                    link.points.kill()
                return
            answered[link] = True
            link.client.sendall(received)

    with listening(Proxy(server, points, ask, answer), place) as proxy:
        yield proxy


def _command(sent: bytes) -> str:
    """The name of the first command, which is an array of bulk strings."""
    parts = sent.split(b"\r\n", 3)
    return parts[2].decode(errors="replace") if len(parts) > 2 else "more"
