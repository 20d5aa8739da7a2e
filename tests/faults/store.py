"""An S3 server behind a proxy: a point is a request. A refused one is answered 500 or 503, by turns."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from typing import Final
from urllib.parse import urlsplit

from tests.faults.points import Fault, Points
from tests.patience import PATIENCE

REFUSALS: Final = ((500, "InternalError"), (503, "ServiceUnavailable"))
OF_A_CONNECTION: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "expect", "date", "server"}
)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, target: str, points: Points) -> None:
        self.target, self.points, self.refusals = target, points, cycle(REFUSALS)
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed in the middle is what we are here for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """Let the request through, or have it fail."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        query = urlsplit(self.path).query
        points, fault = self.server.points, self.server.points.next(f"objects: {self.command} {query.partition('=')[0]}")
        if fault is Fault.REFUSED:
            self._refuse()
        elif fault is Fault.KILLED_BEFORE:
            self.close_connection = True
        else:
            status, headers, content = self._asked(body)
            if fault is Fault.KILLED_AFTER:
                points.kill()
            if fault is None:
                self._answer(status, headers, content)
            else:
                self.close_connection = True

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815  the names that http.server calls

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""

    def _asked(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OF_A_CONNECTION}
        with closing(http.client.HTTPConnection(self.server.target, timeout=PATIENCE)) as connection:
            with suppress(ConnectionError):  # whoever refuses a long body answers without reading it to the end
                connection.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
            with connection.getresponse() as answer:
                return answer.status, answer.getheaders(), answer.read()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        length = str(len(content))
        self.send_response_only(status)
        for name, value in headers:
            if self.command == "HEAD" and name.lower() == "content-length":
                length = value
            if name.lower() not in OF_A_CONNECTION:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(content)

    def _refuse(self) -> None:
        status, code = next(self.server.refusals)
        self._answer(status, [("Content-Type", "application/xml")], f"<Error><Code>{code}</Code></Error>".encode())


@contextmanager
def proxied(endpoint: str, points: Points) -> Iterator[str]:
    """A proxy of the S3 server at `endpoint`; its own URL."""
    with _Server(urlsplit(endpoint).netloc, points) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(PATIENCE)
