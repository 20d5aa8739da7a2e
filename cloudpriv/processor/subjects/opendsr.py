"""Requests of data subjects that the customer, as their controller, hands on to us as its processor (OpenDSR 2.0).

A request is `pending` until a worker begins it, then `in_progress`, and ends as `completed`; only a pending one can be
`cancelled`. What it says of the data subject, and where its status is told, is sealed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ConflictError, ForbiddenError, NotFoundError, NotReadyError
from cloudpriv.platform.ids import new_id
from cloudpriv.processor import accounts, events, tasks
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.order_tables import REQUEST, LogRequest
from cloudpriv.processor.orders import exports
from cloudpriv.processor.orders.exports import Archive
from cloudpriv.processor.subjects import callbacks
from cloudpriv.processor.subjects.identities import Identity

TASK: Final = "request"
VERSION: Final = "2.0"
TYPES: Final = ("access", "portability", "erasure")
REGULATIONS: Final = ("gdpr", "ccpa")
# Minutes as a rule; said is what leaves the controller most of its month (GDPR Article 12(3)) though all servers were away.
EXPECTED_WITHIN: Final = timedelta(days=3)
PATH: Final = "/opendsr/v2"


@dataclass(frozen=True, repr=False)
class Order:
    """What a controller asks for, and the URLs that hear how it goes. Personal data, so it has no repr."""

    request_id: UUID
    regulation: str
    type: str
    submitted_at: datetime
    identities: tuple[Identity, ...]
    callback_urls: tuple[str, ...]


def receive(tx: Tx, order: Order) -> LogRequest:
    """Take a request for the actor's account; a worker begins it when this has committed.

    The same again is answered by what was taken before. Raises ConflictError for another under the same id, GoneError for
    an account that is or was erased, BusyError while it may be.
    """
    account_id = _account_of(tx)
    accounts.open_account(tx, account_id)
    account = accounts.lock_account(tx, account_id)
    known = tx.session.get(LogRequest, (account_id, order.request_id))
    if known is None:
        return _take(tx, account, order)
    if known.type != order.type or account.key.open(known.request_id, REQUEST, known.body) != _document(order):
        raise ConflictError("Another request was sent under this subject_request_id.")
    return known


def read_request(tx: Tx, request_id: UUID) -> LogRequest:
    """A request of the actor's account. Raises NotFoundError."""
    row = tx.session.get(LogRequest, (_account_of(tx), request_id))
    if row is None:
        raise NotFoundError
    events.record(tx, "opendsr.read", account_id=row.account_id, subject_id=request_id)
    return row


def cancel(tx: Tx, request_id: UUID) -> LogRequest:
    """Cancel a request that no worker has begun. Raises NotFoundError, ConflictError; cancelled twice is once."""
    account = accounts.find_account(tx, _account_of(tx))
    row = tx.session.get(LogRequest, (account.row.account_id, request_id), with_for_update=True)
    if row is None:
        raise NotFoundError
    if row.status not in ("pending", "cancelled"):
        raise ConflictError("Only a pending request can be cancelled.")
    if row.status == "pending":
        row.ended_at = tx.now
        enter(tx, account, row, "cancelled")
    return row


def results_of(tx: Tx, request_id: UUID) -> Archive:
    """The archive that answers a request. Raises NotFoundError, NotReadyError before it is there, GoneError after it was."""
    row = tx.session.get(LogRequest, (_account_of(tx), request_id))
    if row is None or row.results_id is None or row.status == "cancelled":
        raise NotFoundError
    if row.status != "completed":
        raise NotReadyError
    events.record(tx, "opendsr.results.read", account_id=row.account_id, subject_id=request_id)
    return exports.open_archive(tx, row.account_id, row.results_id)


def enter(tx: Tx, account: OpenedLogAccount, row: LogRequest, status: str, url: str | None = None) -> None:
    """Have a request enter a status, and tell its URLs so. `url` is this plane's, where results are."""
    row.status = status
    told = status_of(row, url)
    callbacks.order(tx, account, row.request_id, document_of(account, row)["callback_urls"], told)
    events.record(tx, f"opendsr.{status}", account_id=row.account_id, subject_id=row.request_id)


def status_of(row: LogRequest, url: str | None) -> dict[str, Any]:
    """A request's status as it is told (OpenDSR 2.0, 8.3); results, once there are some, are below `url`."""
    shown: dict[str, Any] = {
        "controller_id": str(row.account_id),
        "expected_completion_time": as_time(row.expected_at),
        "subject_request_id": str(row.request_id),
        "request_status": row.status,
        "api_version": VERSION,
    }
    if row.status == "completed":
        if row.results_id is not None and url is not None:
            shown["results_url"] = f"{url.rstrip('/')}{PATH}/requests/{row.request_id}/results"
        shown["results_count"] = row.results_count
    return shown


def document_of(account: OpenedLogAccount, row: LogRequest) -> dict[str, Any]:
    """What a request says, opened."""
    return account.key.open(row.request_id, REQUEST, row.body)


def identities_in(document: dict[str, Any]) -> Sequence[Identity]:
    """The identities that a request's document names."""
    return [Identity(*each) for each in document["identities"]]


def as_time(at: datetime) -> str:
    """RFC 3339, in UTC, to the second."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _take(tx: Tx, account: OpenedLogAccount, order: Order) -> LogRequest:
    row = LogRequest(
        account_id=account.row.account_id,
        request_id=order.request_id,
        type=order.type,
        status="pending",
        body=account.key.seal(order.request_id, REQUEST, _document(order)),
        results_id=None if order.type == "erasure" else new_id(),
        received_at=tx.now,
        expected_at=tx.now + EXPECTED_WITHIN,
    )
    tx.session.add(row)
    tx.session.flush()
    tasks.enqueue(tx, TASK, row.account_id, row.request_id)
    events.record(tx, "opendsr.receive", account_id=row.account_id, subject_id=row.request_id, fields=[row.type])
    return row


def _document(order: Order) -> dict[str, Any]:
    return {
        "regulation": order.regulation,
        "submitted_at": order.submitted_at.isoformat(),
        "identities": [[each.type, each.format, each.value] for each in order.identities],
        "callback_urls": list(order.callback_urls),
    }


def _account_of(tx: Tx) -> UUID:
    if tx.actor.account_id is None:
        raise ForbiddenError
    return tx.actor.account_id
