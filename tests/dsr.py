"""A controller of tests: sends OpenDSR requests, reads their answers, and checks who signed them."""

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import select

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.clock import utc_now
from cloudpriv.processor.orders import deletions
from cloudpriv.processor.query import reading
from cloudpriv.processor.storage.chunks import Selection
from cloudpriv.processor.storage.columns import VALUES
from cloudpriv.processor.subjects import opendsr
from cloudpriv.processor.tables import LogTask
from tests.logdata import Caller, carry_out, log_transaction

REQUESTS = "/opendsr/v2/requests"
KIM = "kim@customer.example"
SECOND = timedelta(seconds=1)


def identity(value: str, kind: str = "email", how: str = "raw") -> dict[str, str]:
    """An identity as a request names it."""
    return {"identity_type": kind, "identity_value": value, "identity_format": how}


def request_of(kind: str, *identities: dict[str, str], **members: Any) -> dict[str, Any]:
    """A request's body."""
    return {
        "regulation": "gdpr",
        "subject_request_id": str(uuid4()),
        "subject_request_type": kind,
        "submitted_time": "2026-01-02T10:00:00Z",
        "subject_identities": list(identities),
        **members,
    }


def point(value: Any, tag: str = "log", minute: int = 0) -> dict[str, Any]:
    """A point as a device sends it."""
    return {"tag": tag, "time": f"2026-01-01T12:{minute:02}:00Z", "value": value}


def append(device: Caller, *points: dict[str, Any]) -> None:
    """Have a device append points."""
    answer = device.post("/v1/logdata/points", list(points))
    assert (answer.status_code, answer.get_json()["rejected"]) == (200, []), answer.get_data()


def send(reader: Caller, body: dict[str, Any]) -> str:
    """Send a request that is taken; where it can be read."""
    answer = reader.post(REQUESTS, body)
    assert answer.status_code == 201, answer.get_data()
    return f"{REQUESTS}/{body['subject_request_id']}"


def fulfil(worker: ProcessorServices) -> None:
    """Have a worker do all that requests ask for, however long it has to wait in between; callbacks are tried."""
    clock = Clock()
    while carry_out(clock.of(worker)) or _is_unfinished(worker):
        clock.now += 10 * SECOND


def _is_unfinished(worker: ProcessorServices) -> bool:
    query = select(LogTask.task_id).where(LogTask.kind.in_([opendsr.TASK, deletions.KIND]))
    with log_transaction(worker) as tx:
        return tx.session.scalars(query).first() is not None


def results_at(reader: Caller, path: str) -> list[dict[str, Any]]:
    """The lines of a completed request's results."""
    answer = reader.get(f"{path}/results")
    assert answer.status_code == 200, answer.get_data()
    return [json.loads(line) for line in answer.get_data().splitlines()]


def values_at(reader: Caller, path: str) -> list[Any]:
    """The values of the points in a completed request's results."""
    return [line["value"] for line in results_at(reader, path) if "value" in line]


def check_signature(chain: bytes, signature: str, body: bytes) -> None:
    """Raises InvalidSignature unless the first certificate of `chain` signed exactly this body."""
    key = x509.load_pem_x509_certificates(chain)[0].public_key()
    assert isinstance(key, RSAPublicKey)
    key.verify(base64.b64decode(signature, validate=True), body, PKCS1v15(), SHA256())


@dataclass
class Controller:
    """The customer's server: what it was told, and with which statuses it answers next, 202 after those."""

    url: str = ""
    told: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    @property
    def statuses(self) -> list[str]:
        """The statuses that it was told."""
        return [json.loads(body)["request_status"] for _, body in self.told]


@contextmanager
def controlling() -> Iterator[Controller]:
    """The customer's server, listening on the loopback while this lasts."""
    found = Controller()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.told.append((dict(self.headers.items()), body))
            self.send_response(found.answers.pop(0) if found.answers else 202)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}/callbacks"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now: datetime = utc_now()

    def of(self, services: ProcessorServices) -> ProcessorServices:
        """The same services by this clock."""
        return ProcessorServices(**{**vars(services), "clock": lambda: self.now})


def kept(processor: ProcessorServices, account_id: UUID) -> list[str]:
    """The values of all points that the account has."""
    with log_transaction(processor) as tx:
        tables = list(reading.snapshot(tx, account_id, Selection()).points(processor.objects))
    rows = [row for table in tables for row in table.select(VALUES).to_pylist()]
    return sorted(str(value) for row in rows for value in row.values() if value is not None)


def refusal(answer: Any) -> tuple[int, str]:
    """Status and the first reason of a refusal, whose form is checked."""
    error = answer.get_json()["error"]
    assert answer.content_type == "application/json"
    assert (error["code"], set(error)) == (answer.status_code, {"code", "message", "errors"})
    return answer.status_code, error["errors"][0]["reason"]
