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
    turns = _Turns()
    with listening(Proxy(server, points, turns.ask, turns.answer), place) as proxy:
        yield proxy


class _Turns:
    """Whose turn it is on each link, and the faults that wait for an answer."""

    def __init__(self) -> None:
        self._asked: set[Link] = set()
        self._awaited: dict[Link, Fault] = {}

    def ask(self, link: Link) -> None:
        while sent := link.client.recv(CHUNK):
            fault = None if link in self._asked else link.points.next(f"queue: {_command(sent)}")
            if fault is not None:
                if fault.is_before:
                    return
                self._awaited[link] = fault
            self._asked.add(link)
            link.server.sendall(sent)

    def answer(self, link: Link) -> None:
        while received := link.server.recv(CHUNK):
            if link in self._awaited:
                if self._awaited.pop(link) is Fault.KILLED_AFTER:
                    link.points.kill()
                return
            self._asked.discard(link)
            link.client.sendall(received)


def _command(sent: bytes) -> str:
    """The name of the first command, which is an array of bulk strings."""
    parts = sent.split(b"\r\n", 3)
    return parts[2].decode(errors="replace") if len(parts) > 2 else "more"
