"""Callbacks of OpenDSR: each change of a request's status is told to the customer's URLs, signed, until it is taken.

What is told, and where, is sealed: a URL may say much about who asks. A URL hears of a request's changes in their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Select, select

from cloudpriv.platform import outbound
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.certificate import Certificate
from cloudpriv.platform.db import Plane, Tx
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import DataKey
from cloudpriv.platform.outbound import Network, UnreachableError
from cloudpriv.processor import accounts, events, tasks
from cloudpriv.processor.accounts import OpenedLogAccount
from cloudpriv.processor.order_tables import CALLBACK, LogCallback
from cloudpriv.processor.tasks import LaterError, Now, Task

log = structlog.get_logger(__name__)

TASK: Final = "callback"
GIVEN_UP_AFTER: Final = timedelta(days=7)
PAUSE: Final = timedelta(seconds=5)  # before what was not taken is told again; twice as long each time
LONGEST_PAUSE: Final = timedelta(hours=1)
DOMAIN_HEADER: Final = "X-OpenDSR-Processor-Domain"
SIGNATURE_HEADER: Final = "X-OpenDSR-Signature"


@dataclass(frozen=True)
class Teller:
    """How callbacks are sent: by which certificate, and which networks they may reach beside public addresses."""

    certificate: Certificate
    also: Sequence[Network]


def signed_headers(certificate: Certificate, body: bytes) -> dict[str, str]:
    """The headers by which a controller knows who wrote exactly this body (OpenDSR 2.0, 8.3 and 8.6)."""
    return {DOMAIN_HEADER: certificate.domain, SIGNATURE_HEADER: certificate.sign(body)}


def order(tx: Tx, account: OpenedLogAccount, request_id: UUID, urls: Sequence[str], status: dict[str, Any]) -> None:
    """Have this status of a request told to each of the URLs once the transaction has committed."""
    for url in urls:
        callback_id = new_id()
        told = {"url": url, "body": {**status, "status_callback_url": url}}
        tx.session.add(
            LogCallback(
                account_id=account.row.account_id,
                callback_id=callback_id,
                request_id=request_id,
                body=account.key.seal(callback_id, CALLBACK, told),
                status="pending",
                attempts=0,
                created_at=tx.now,
                next_at=tx.now,
            )
        )
        tx.session.flush()
        tasks.enqueue(tx, TASK, account.row.account_id, callback_id)


def deliver(plane: Plane, teller: Teller, task: Task, clock: Now) -> None:
    """Tell a callback's URL, unless it is told or given up. Raises LaterError until it is one of both.

    Taken is any answer of 2xx. A worker that stops after the answer tells the same again: the body names the change.
    """
    with plane.transaction(WORKER, clock()) as tx:
        told = _due(tx, task)
    if told is None:
        return
    taken = _send(teller, task, told["url"], msgspec.json.encode(told["body"]))
    with plane.transaction(WORKER, clock()) as tx:
        again = _note(tx, task, taken=taken)
    if again is not None:
        raise LaterError(again)


def _send(teller: Teller, task: Task, url: str, body: bytes) -> bool:
    headers = {"Content-Type": "application/json", **signed_headers(teller.certificate, body)}
    try:
        status = outbound.post(url, body, headers, teller.also)
    except UnreachableError as fault:
        log.info("callback_not_taken", callback=str(task.subject_id), fault=fault.code)
        return False
    if not 200 <= status < 300:
        log.info("callback_not_taken", callback=str(task.subject_id), fault=f"http_{status}")
    return 200 <= status < 300


def _due(tx: Tx, task: Task) -> dict[str, Any] | None:
    """What is to be told now, and where. Raises LaterError while something of before waits for the same URL."""
    row = tx.session.get(LogCallback, (task.account_id, task.subject_id))
    if row is None or row.status != "pending":
        return None
    key = accounts.find_account(tx, task.account_id).key
    told = key.open(row.callback_id, CALLBACK, row.body)
    for before_id in tx.session.scalars(_pending_of(row).where(LogCallback.callback_id < row.callback_id)):
        before = tx.session.get_one(LogCallback, (row.account_id, before_id))
        if _url_of(key, before) == told["url"]:
            raise LaterError(max(before.next_at, tx.now + PAUSE))
    if row.next_at > tx.now:
        raise LaterError(row.next_at)
    return told


def _url_of(key: DataKey, row: LogCallback) -> str:
    url: str = key.open(row.callback_id, CALLBACK, row.body)["url"]
    return url


def _note(tx: Tx, task: Task, *, taken: bool) -> datetime | None:
    """Write down how it went; when it is to be tried again, if at all."""
    row = tx.session.get(LogCallback, (task.account_id, task.subject_id), with_for_update=True)
    if row is None or row.status != "pending":
        return None
    row.attempts += 1
    if taken:
        row.status = "taken"
    elif tx.now >= row.created_at + GIVEN_UP_AFTER:
        row.status = "given_up"
    else:
        row.next_at = tx.now + min(PAUSE * 2 ** min(row.attempts - 1, 20), LONGEST_PAUSE)
        return row.next_at
    events.record(tx, f"opendsr.callback.{row.status}", account_id=row.account_id, subject_id=row.request_id)
    for callback_id in tx.session.scalars(_pending_of(row).where(LogCallback.callback_id > row.callback_id)):
        tasks.enqueue(tx, TASK, row.account_id, callback_id)  # it may have waited for this one
    return None


def _pending_of(row: LogCallback) -> Select[UUID]:
    return select(LogCallback.callback_id).where(
        LogCallback.account_id == row.account_id,
        LogCallback.request_id == row.request_id,
        LogCallback.status == "pending",
    )
