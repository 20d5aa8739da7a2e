"""What no honest client sends, over bare sockets: refused by a problem, nothing written, and the next client is served."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any

import pytest
from sqlalchemy import Engine, text

from cloudpriv.embedded.stack import Stack
from tests.backend import register
from tests.served import Served, served
from tests.stack import fresh_database

JSON = b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@dataclass(frozen=True)
class Target:
    """A served API, a client of it by id and secret, and its database."""

    api: Served
    client: tuple[str, str]
    owner: Engine

    def speak(self, sent: bytes, *, end: bool = False) -> tuple[int, Any]:
        """Status and body of the answer to these bytes, which must be a problem when it is no success."""
        with socket.create_connection(("127.0.0.1", self.api.port), timeout=30) as line:
            line.sendall(sent)
            if end:
                line.shutdown(socket.SHUT_WR)
            answer = HTTPResponse(line)
            answer.begin()
            body = answer.read()
        assert "X-Request-Id" in answer.headers
        if answer.status >= 300:
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert json.loads(body)["status"] == answer.status
        return answer.status, json.loads(body)

    def post(self, head: bytes, body: bytes, *, path: bytes = b"/v1/accounts", end: bool = False) -> tuple[int, Any]:
        """The same of a POST with these headers."""
        token = self.api.token(*self.client)  # a new one, which is not over while these tests go on
        authorization = b"Authorization: Bearer " + token.encode() + b"\r\n"
        start = b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\n"
        return self.speak(start + authorization + JSON + head + b"\r\n" + body, end=end)

    def accounts(self) -> int:
        """How many there are."""
        with self.owner.connect() as connection:
            return int(connection.scalar(text("SELECT count(*) FROM accounts")) or 0)


@pytest.fixture(scope="module")
def target(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One server for all of these, since none of them may harm it."""
    log = tmp_path_factory.mktemp("served") / "log"
    with fresh_database(stack) as database, served(database, log) as api:
        owner = database.engine("migration")
        yield Target(api, register(database), owner)
        owner.dispose()


def get(line: bytes, *headers: bytes) -> bytes:
    """A request without body."""
    return b"\r\n".join([line, b"Host: localhost", *headers, b"", b""])


UNREADABLE = {
    "no HTTP": (b"HELLO\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /healthz\r\n\r\n", 400),
    "HTTP/9": (get(b"GET /healthz HTTP/9.9"), 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "method in lower case": (get(b"get /healthz HTTP/1.1"), 400),
    "method of signs": (get(b"G@T /healthz HTTP/1.1"), 400),
    "method made up": (get(b"FETCH /v1/accounts HTTP/1.1"), 405),
    "TRACE": (get(b"TRACE /v1/accounts HTTP/1.1"), 405),
    "CONNECT": (get(b"CONNECT localhost:80 HTTP/1.1"), 404),
    "two hosts": (get(b"GET /healthz HTTP/1.1", b"Host: other"), 400),
    "NUL in a header": (get(b"GET /healthz HTTP/1.1", b"X-A: a\0b"), 400),
    "a folded header": (get(b"GET /healthz HTTP/1.1", b"X-A: a", b" b"), 400),
    "a blank in a header's name": (get(b"GET /healthz HTTP/1.1", b"X A: a"), 400),
    "a header without colon": (get(b"GET /healthz HTTP/1.1", b"X-A"), 400),
    "NUL in the path": (get(b"GET /v1/\0 HTTP/1.1"), 400),
    "no ASCII in the path": (get("GET /v1/é HTTP/1.1".encode()), 400),
    "NUL in the path, encoded": (get(b"GET /v1/accounts/%00 HTTP/1.1"), 404),
    "no UTF-8 in the path, encoded": (get(b"GET /v1/accounts/%ff%fe HTTP/1.1"), 404),
    "out of the root": (get(b"GET /../../etc/passwd HTTP/1.1"), 404),
    "out of the root, encoded": (get(b"GET /v1/%2e%2e/%2e%2e%2fetc/passwd HTTP/1.1"), 404),
    "a long line": (get(b"GET /" + b"a" * 9000 + b" HTTP/1.1"), 414),
    "a long header": (get(b"GET /healthz HTTP/1.1", b"X-A: " + b"a" * 9000), 431),
    "many headers": (get(b"GET /healthz HTTP/1.1", *(b"X-%d: a" % number for number in range(200))), 431),
    "a token that is no ASCII": (get(b"GET /v1/accounts HTTP/1.1", b"Authorization: Bearer \xff"), 401),
    "a coding that is none": (get(b"GET /healthz HTTP/1.1", b"Transfer-Encoding: squeezed"), 501),
    "an expectation that is none": (get(b"POST /v1/accounts HTTP/1.1", b"Expect: the-best", b"Content-Length: 0"), 417),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_request_of_ours_is_refused_and_the_next_one_served(target: Target, name: str) -> None:
    sent, status = UNREADABLE[name]
    assert target.speak(sent)[0] == status
    assert target.speak(get(b"GET /healthz HTTP/1.1"))[0] == 200


BODIES: dict[str, tuple[bytes, bytes, int]] = {
    "a length below zero": (b"Content-Length: -5\r\n", b"{}", 400),
    "a length that is no number": (b"Content-Length: two\r\n", b"{}", 400),
    "two lengths": (b"Content-Length: 2\r\nContent-Length: 3\r\n", b"{}", 400),
    "a length and chunks": (b"Content-Length: 2\r\n" + CHUNKED, b"2\r\n{}\r\n0\r\n\r\n", 400),
    "a length beyond measure": (b"Content-Length: 99999999999999999999\r\n", b"{}", 413),
    "no length": (b"", b'{"account_name": "a"}', 422),
    "a length that is too short": (b"Content-Length: 5\r\n", b'{"account_name": "a"}', 422),
    "a length that is too long": (b"Content-Length: 500\r\n", b'{"account_name": "a"}', 422),
    "a chunk of no size": (CHUNKED, b"two\r\n{}\r\n0\r\n\r\n", 422),
    "a chunk of another size": (CHUNKED, b'3\r\n{"account_name": "a"}\r\n0\r\n\r\n', 422),
    "a chunk without end": (CHUNKED, b"ffff\r\n{", 400),
    "chunks without end": (CHUNKED, b'15\r\n{"account_name": "a"}\r\n', 400),
    "chunks beyond the limit": (
        CHUNKED,
        b"10000\r\n" + b" " * 65536 + b"\r\n" + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 20,
        413,
    ),
    "a body beyond the limit": (b"Content-Length: 2000000\r\n", b" " * 2_000_000, 413),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_not_what_its_headers_say_is_refused_and_nothing_written(target: Target, name: str) -> None:
    head, body, status = BODIES[name]
    assert target.post(head, body, end=True)[0] == status
    assert target.accounts() == 0


def test_a_client_is_told_to_go_on_and_then_refused(target: Target) -> None:
    with socket.create_connection(("127.0.0.1", target.api.port), timeout=30) as line:
        line.sendall(
            b"POST /v1/accounts HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n" + JSON + b"\r\n{}"
        )
        answers = HTTPResponse(line)
        answers.begin()
        assert answers.status == 401


def test_a_refused_body_leaves_the_connection_in_order(target: Target) -> None:
    with socket.create_connection(("127.0.0.1", target.api.port), timeout=30) as line:
        head = b"POST /v1/accounts HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n" + JSON + b"\r\n"
        for status, sent in ((401, head + b" " * 3_000_000), (200, get(b"GET /healthz HTTP/1.1"))):
            line.sendall(sent)
            answer = HTTPResponse(line)
            answer.begin()
            answer.read()
            assert answer.status == status
