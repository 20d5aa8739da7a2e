"""A client that costs next to nothing: one request's bytes sent over and over on connections that are kept.

    python -m tests.bench.load PORT CONNECTIONS REQUESTS < request

A process of its own, so that it never competes with what it measures for an interpreter. Prints the requests a second.
"""

import re
import selectors
import socket
import subprocess
import sys
import time
from typing import Final

from tests.bench.stage import PATIENCE, ROOT

LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def requests_per_second(port: int, request: bytes, *, connections: int, number: int) -> float:
    """How many requests a second a server answers with 200 while each connection waits for its answer to send the next."""
    words = [sys.executable, "-m", "tests.bench.load", str(port), str(connections), str(number)]
    done = subprocess.run(words, cwd=ROOT, input=request, stdout=subprocess.PIPE, check=True, timeout=PATIENCE)
    return float(done.stdout)


def get(path: str, token: str = "") -> bytes:
    """The bytes of a GET, with a bearer token if there is one."""
    bearer = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n{bearer}\r\n".encode()


def post(path: str, token: str, body: bytes) -> bytes:
    """The bytes of a POST of JSON."""
    sizes = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{sizes}Authorization: Bearer {token}\r\n\r\n".encode() + body


def _run(port: int, connections: int, number: int, request: bytes) -> float:
    selector, answered = selectors.DefaultSelector(), 0
    for _ in range(connections):
        selector.register(socket.create_connection(("127.0.0.1", port), PATIENCE), selectors.EVENT_READ, bytearray())
    began, sent = time.perf_counter(), connections
    for key in selector.get_map().values():
        _socket(key).sendall(request)
    while answered < number:
        for key, _ in selector.select(PATIENCE):
            if _is_answered(key):
                answered += 1
                if sent < number:
                    sent += 1
                    _socket(key).sendall(request)
    return number / (time.perf_counter() - began)


def _is_answered(key: selectors.SelectorKey) -> bool:
    """Read what is there; whether the answer is complete, and then forget it."""
    received: bytearray = key.data
    received += _socket(key).recv(65536)
    head, found, body = received.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    if not received or not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"not answered with 200: {bytes(head[:40])!r}")
    complete = bool(found) and length is not None and len(body) == int(length[1])
    if complete:
        received.clear()
    return complete


def _socket(key: selectors.SelectorKey) -> socket.socket:
    if not isinstance(key.fileobj, socket.socket):
        raise TypeError("only sockets are registered")
    return key.fileobj


if __name__ == "__main__":
    port, connections, number = map(int, sys.argv[1:])
    sys.stdout.write(str(_run(port, connections, number, sys.stdin.buffer.read())))
