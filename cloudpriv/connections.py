"""Connections of the API's server: what is no HTTP is refused by a problem too, and a client that falls silent is left."""

import socket
import struct
import time
from contextlib import suppress
from typing import Any, Final

import structlog
from flask import Flask, Response, request
from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import ThreadWorker

from cloudpriv.api.problems import MEDIA_TYPE, problem_document, refuse
from cloudpriv.platform.errors import UnreadableError
from cloudpriv.platform.ids import new_id

log = structlog.get_logger(__name__)

SILENCE_SECONDS: Final = 10  # of a client in the middle of a request; each holds a thread as long
STANDSTILL_SECONDS: Final = 30  # of a client that takes no part of an answer
MOST_DRAINED: Final = 32 * 1024 * 1024
PIECE: Final = 64 * 1024
LET_OTHERS: Final = 0.001  # seconds; longer than it takes another process to wake up and accept
OURS: Final = (InvalidResponseHeader, InvalidResponseHeaderName)
REFUSALS: Final = {
    LimitRequestLine: (414, "URI Too Long"),
    LimitRequestHeaders: (431, "Request Header Fields Too Large"),
    ExpectationFailed: (417, "Expectation Failed"),
    UnsupportedTransferCoding: (501, "Not Implemented"),
}


def install(app: Flask) -> None:
    """Refuse a body whose chunks turn out to be none while it is read, and let clients of other refusals finish sending."""
    app.register_error_handler(ParseException, lambda _: refuse(UnreadableError("The body is not chunked as HTTP says.")))
    app.after_request(_drain)


def _drain(response: Response) -> Response:
    """Read away what was not read, within bounds: a client that is cut off while it sends never gets to see the refusal."""
    body = request.environ["wsgi.input"]
    fell_silent = response.status_code == 400
    with suppress(OSError, ParseException):
        for _ in range(0 if fell_silent else MOST_DRAINED // PIECE):
            if not body.read(PIECE):
                break
    return response


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn carries no types
    """gunicorn's worker with threads, which by itself answers in HTML and logs what it could not read."""

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection, unless a process that has less to do takes it first: it stays where it was accepted.

        Of several that come at once one process would else take most, and leave the other cores to nobody.
        """
        serving = self.nr_conns - len(self.keepalived_conns) - len(self.pending_conns)
        if serving > 0 and self.cfg.workers > 1:
            time.sleep(LET_OTHERS)
        super().accept(listener)

    def handle(self, conn: Any) -> Any:
        """One request of a connection. Waiting for the client ends at some time: a thread that waits serves nobody else."""
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", SILENCE_SECONDS, 0))
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", STANDSTILL_SECONDS, 0))
        return super().handle(conn)

    def handle_error(self, _req: Any, client: socket.socket, _addr: Any, exc: Exception) -> None:
        """Refuse a request that gunicorn could not read."""
        refused = isinstance(exc, ParseException) and not isinstance(exc, OURS)
        status, phrase = REFUSALS.get(type(exc), (400, "Bad Request")) if refused else (500, "Internal Server Error")
        log.warning("unreadable_request", status=status, fault=type(exc).__name__)
        with suppress(OSError):
            write_nonblock(client, _refusal(status, phrase))


def _refusal(status: int, phrase: str) -> bytes:
    body = problem_document(status, phrase.lower().replace(" ", "_"), "The request is not HTTP that this server takes.")
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
        f"X-Request-Id: {new_id()}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return (head + body).encode()
