"""A server on loopback that speaks the API's side of ingest and fails on demand, as the real one will not."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import urllib3

from cloudpriv.client.api import RETRIES, ApiClient

ACCOUNT = "0190b5a0-0000-7000-8000-000000000001"
Answer = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True, eq=False)
class Fault:
    """What happens to a request instead of its answer; LOST and HELD after it was carried out.

    It happens to the next request whose body has `only` in it, once `after` requests have come to the path.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    only: bytes = b""
    after: int = 0


LOST = Fault()
HELD = Fault()
PASS = Fault()  # none: an ordinary answer


class Unhurried(urllib3.Retry):
    """Retries as in production, but the waits are only written down."""

    waits: ClassVar[list[float]] = []

    def sleep(self, response: urllib3.BaseHTTPResponse | None = None) -> None:
        """Write down how long production would wait."""
        asked = self.get_retry_after(response) if response else None
        self.waits.append(asked or self.get_backoff_time())


def unhurried() -> Unhurried:
    """The client's own retry rules without waiting."""
    Unhurried.waits.clear()
    names = ("total", "redirect", "allowed_methods", "backoff_factor", "backoff_max", "backoff_jitter")
    rules = {name: getattr(RETRIES, name) for name in names}
    return Unhurried(**rules, retry_after_max=RETRIES.retry_after_max, raise_on_status=RETRIES.raise_on_status)


@dataclass
class Peer:
    """What the server knows and was asked. Devices are unknown only when `known` is given."""

    url: str = ""
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    sessions: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    known: set[str] | None = None
    tokens: int = 0
    expires_in: int = 600
    idempotent: bool = True
    arrivals: threading.Condition = field(default_factory=threading.Condition)
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, **settings: Any) -> ApiClient:
        """A client of this server."""
        return ApiClient(self.url, "backend", "secret", **{"retries": unhurried(), **settings})

    def asked(self, method: str, path: str) -> list[tuple[dict[str, str], bytes]]:
        """Headers and bodies of the requests to a path, in order of arrival."""
        return [(headers, body) for m, p, headers, body in self.requests if (m, urlsplit(p).path) == (method, path)]

    def arrived(self, path: str, count: int) -> bool:
        """Wait until so many requests to a path are here."""
        with self.arrivals:
            return self.arrivals.wait_for(lambda: len(self.asked("POST", path)) >= count, 30)

    def delay(self, path: str, fault: Fault | None) -> None:
        """Wait as a fault demands."""
        if fault and fault.after:
            self.arrived(path, fault.after)
        if fault is HELD:
            self.released.wait(30)

    def next_fault(self, path: str, body: bytes) -> Fault | None:
        """The first fault that waits for such a request."""
        fault = next((fault for fault in self.faults[path] if fault.only in body), None)
        if fault:
            self.faults[path].remove(fault)
        return fault

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        """Carry a request out."""
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        if path == "/oauth2/token":
            self.tokens += 1
            token = {
                "access_token": f"token-{self.tokens}",
                "expires_in": self.expires_in,
                "token_type": "Bearer",
            }
            return _json(200, token)
        if headers.get("Authorization") != f"Bearer token-{self.tokens}":
            return _json(401, {"type": "/problems/unauthenticated", "title": "Unauthenticated"})
        key = headers.get("Idempotency-Key", "")
        if self.idempotent and key in self.answers:
            return self.answers[key]
        found = self._route(method, path, query, body)
        if key:
            self.answers[key] = found
        return found

    def _route(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> Answer:
        if (method, path) == ("POST", "/v1/traffic"):
            return _json(200, self._take(json.loads(body)))
        if path.endswith("/devices"):
            return self._create(json.loads(body)) if method == "POST" else _page(sorted(self.known or ()), query)
        if (method, path) == ("POST", "/v1/accounts/lookup") and json.loads(body)["account_name"] == "acme":
            return _json(200, {"id": ACCOUNT})
        return _json(404, {"type": "/problems/not_found", "title": "Not found", "detail": "Nothing here."})

    def _create(self, device: dict[str, str]) -> Answer:
        assert self.known is not None
        if device["serial"] in self.known:
            return _json(409, {"title": "Conflict"})
        if len(device["serial"]) > 64:
            return _json(422, {"title": "Invalid"})
        self.known.add(device["serial"])
        return _json(201, device)

    def _take(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        accepted, merged, rejected = 0, 0, []
        for index, record in enumerate(records):
            name = (record["source"], record["session"])
            if record.get("ended_at", "9") < record["started_at"]:
                rejected.append({"index": index, "code": "ends_before_start", "detail": "It ends before it starts."})
            elif self.known is not None and record["device"] not in self.known:
                rejected.append({"index": index, "code": "unknown_device", "detail": "No such device."})
            elif name in self.sessions:
                merged += 1
            else:
                accepted += 1
                self.sessions[name] = record
        return {"accepted": accepted, "merged": merged, "rejected": rejected}


def _json(status: int, body: Any) -> Answer:
    kind = "application/json" if status < 400 else "application/problem+json"
    return status, {"Content-Type": kind, "X-Request-Id": "r-1"}, json.dumps(body).encode()


def _page(names: list[str], query: dict[str, list[str]]) -> Answer:
    start = int(query.get("cursor", ["0"])[0])
    items = [{"id": f"id-{name}", "serial": name, "common_name": None} for name in names[start : start + 2]]
    return _json(200, {"items": items, "next_cursor": str(start + 2) if len(names) > start + 2 else None})


def _handler(peer: Peer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = dict(self.headers.items())
            with peer.lock:
                peer.requests.append((self.command, self.path, headers, body))
                path = urlsplit(self.path).path
                fault = peer.next_fault(path, body)
                if fault and fault.status:
                    answer = fault.status, fault.headers, fault.body
                else:
                    answer = peer.answer(self.command, self.path, headers, body)
            with peer.arrivals:
                peer.arrivals.notify_all()
            peer.delay(path, fault)
            if fault is LOST or fault is HELD:
                self.close_connection = True
                return
            self._write(*answer)

        do_GET = do_POST = handle_one  # noqa: N815 - names that http.server calls

        def _write(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
            """Say nothing."""

    return Handler


@contextmanager
def running() -> Iterator[Peer]:
    """A server for one test."""
    peer = Peer()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(peer)) as server:
        server.daemon_threads = True
        peer.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield peer
        finally:
            peer.released.set()
            server.shutdown()
            thread.join()
