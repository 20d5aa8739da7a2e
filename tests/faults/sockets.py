"""A proxy on a unix socket: connections of a client, each with one to the server, cut together."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.faults.points import Points
from tests.patience import PATIENCE


class Link:
    """A client's connection and the one to the server that goes with it."""

    def __init__(self, client: socket.socket, server: socket.socket, points: Points) -> None:
        self.client, self.server, self.points = client, server, points

    def cut(self) -> None:
        """End both. The server sees an end of input, as when the client's process died."""
        for each in (self.client, self.server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR if each is self.client else socket.SHUT_WR)

    def close(self) -> None:
        """Give both back."""
        self.client.close()
        self.server.close()


class Proxy:
    """Passes on what arrives at one unix socket to another, by two functions that each move one direction of a link."""

    def __init__(self, server: Path, points: Points, ask: Callable[[Link], None], answer: Callable[[Link], None]) -> None:
        self._server, self._points, self._ask, self._answer = server, points, ask, answer
        self._changed, self._links = threading.Condition(), 0

    def settle(self) -> None:
        """Wait until no client is connected any more, and the server has ended what each left unfinished."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._links, PATIENCE), "a client stays connected"

    def listen(self, listener: socket.socket) -> None:
        """Take connections until the listener is shut down."""
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with self._changed:
                    self._links += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        link = Link(client, server, self._points)
        try:
            with suppress(OSError):
                server.connect(str(self._server))
                back = threading.Thread(target=self._move, args=(self._answer, link), daemon=True)
                back.start()
                self._move(self._ask, link)
                back.join()
                while server.recv(1 << 16):  # to the end: then it has rolled back, and holds no lock
                    pass
        finally:
            link.close()
            with self._changed:
                self._links -= 1
                self._changed.notify_all()

    @staticmethod
    def _move(direction: Callable[[Link], None], link: Link) -> None:
        with suppress(OSError, EOFError):
            direction(link)
        link.cut()


@contextmanager
def listening(proxy: Proxy, place: Path) -> Iterator[Proxy]:
    """The proxy takes connections at the unix socket `place` while this lasts."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        thread = threading.Thread(target=proxy.listen, args=(listener,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)
