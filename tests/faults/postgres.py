"""PostgreSQL behind a proxy that knows its protocol (version 3): a point is what a client sends before it waits.

That is a simple query or a batch that ends with Sync; COMMIT is one too, and so is the connection.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Final

from tests.faults.points import Fault, Points
from tests.faults.sockets import Link, Proxy, listening

SOCKET: Final = ".s.PGSQL.5432"
LABEL_LENGTH: Final = 60
ENDS_BATCH: Final = b"QS"
AT_ONCE: Final = b"pHXd"  # passwords, Flush, Terminate, and a copy's data
PARSE, QUERY, AUTHENTICATION, READY = b"P", b"Q", b"R", b"Z"


@contextmanager
def proxied(server: Path, folder: Path, points: Points) -> Iterator[Proxy]:
    """A proxy of the server whose socket is in the folder `server`, with its own socket in `folder`."""
    awaited: dict[Link, Fault] = {}

    def ask(link: Link) -> None:
        _ask(link, awaited)

    def answer(link: Link) -> None:
        _answer(link, awaited)

    with listening(Proxy(server / SOCKET, points, ask, answer), folder / SOCKET) as proxy:
        yield proxy


def _ask(link: Link, awaited: dict[Link, Fault]) -> None:
    stream = link.client.makefile("rb")
    startup = _sized(stream)
    if not _goes_on(link, "sql: connect", awaited):
        return
    link.server.sendall(startup)
    batch, label = b"", "again"
    while kind := stream.read(1):
        batch += kind + _sized(stream)
        if kind in (PARSE, QUERY) and label == "again":
            label = _statement(batch)
        if kind in ENDS_BATCH:
            if not _goes_on(link, f"sql: {label}", awaited):
                return
            label = "again"
        if kind in ENDS_BATCH + AT_ONCE:
            link.server.sendall(batch)
            batch = b""


def _goes_on(link: Link, label: str, awaited: dict[Link, Fault]) -> bool:
    """Whether the server gets to see the message. If its answer is to get lost, that is noted."""
    fault = link.points.next(label)
    if fault is not None and not fault.is_before:
        awaited[link] = fault
    return fault is None or not fault.is_before


def _answer(link: Link, awaited: dict[Link, Fault]) -> None:
    stream = link.server.makefile("rb")
    while kind := stream.read(1):
        message = kind + _sized(stream)
        if link not in awaited or kind == AUTHENTICATION:
            link.client.sendall(message)
        elif kind == READY:  # the batch is done, and a COMMIT in it on disk
            if awaited.pop(link) is Fault.KILLED_AFTER:
                link.points.kill()
            return


def _sized(stream: BufferedReader) -> bytes:
    """A message without its kind: its length, which counts itself, and the rest."""
    length = stream.read(4)
    rest = stream.read(int.from_bytes(length) - 4) if len(length) == 4 else b""
    if len(length) < 4 or len(rest) < int.from_bytes(length) - 4:
        raise EOFError
    return length + rest


def _statement(message: bytes) -> str:
    """The beginning of the statement in the message that begins a batch."""
    kind, rest = message[:1], message[5:]
    words = rest.split(b"\0")[0 if kind == QUERY else 1].decode().split()
    return " ".join(words)[:LABEL_LENGTH]
