"""Traffic records to `POST /v1/traffic`: in batches within the server's limits, two under way at once."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Final
from uuid import uuid4

import msgspec

from cloudpriv.client.api import ApiClient, ApiError
from cloudpriv.client.rows import Rejection, malformed

# The server's limits of one request.
MOST_RECORDS: Final = 10_000
MOST_BYTES: Final = 8 << 20
# While the server merges one batch into the database it decodes the next.
UNDER_WAY: Final = 2
# The first request with this Idempotency-Key is still running: its verdict comes with the next attempt.
CONFLICT: Final = frozenset({409})

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows from number `first` (counted from 1) on; `sent` of them make the JSON array `body`."""

    first: int
    rows: Sequence[object]
    sent: int
    body: bytes
    key: str


class Refusal(msgspec.Struct):
    """One record of a batch that the server did not take; `index` counts from 0 in the body."""

    index: int
    code: str
    detail: str = ""


class Verdict(msgspec.Struct):
    """The server's answer to a batch: accepted + merged + rejected are all its records."""

    accepted: int
    merged: int
    rejected: list[Refusal]


def batches(rows: Iterable[object], size: int = 5_000, *, first: int = 1, run: str = "") -> Iterator[Batch]:
    """Rows (Rejections, and records as dicts or msgspec Structs) packed within the server's limits.

    `run` goes into the Idempotency-Keys: the same rows at the same place of the same run have the same key.
    """
    if not 1 <= size <= MOST_RECORDS:
        raise ValueError(f"a batch has 1 to {MOST_RECORDS} records")
    source, run = iter(rows), run or uuid4().hex
    while taken := list(islice(source, size)):
        yield from _packed(taken, first, run)
        first += len(taken)


def send_batches(client: ApiClient, packed: Iterable[Batch]) -> Iterator[tuple[Batch, Verdict]]:
    """Send every batch and yield it with its verdict, in order, UNDER_WAY at once.

    So the batches that have verdicts are always the first ones. Raises ApiError or ConnectionError for the
    first without; the one after it may have been taken all the same.
    """
    waiting: deque[tuple[Batch, Future[Verdict]]] = deque()
    for batch in packed:
        if len(waiting) == UNDER_WAY:
            yield _oldest(waiting)
        waiting.append((batch, _in_background(_send, client, batch)))
    while waiting:
        yield _oldest(waiting)


def _packed(rows: list[object], first: int, run: str) -> Iterator[Batch]:
    records = [row for row in rows if not isinstance(row, Rejection)]
    try:
        body = _encode(records)
    except UnicodeEncodeError:
        yield from _packed([_encodable(row) for row in rows], first, run)
        return
    if len(body) <= MOST_BYTES:
        key = blake2b(f"{run} {first} ".encode() + body, digest_size=16).hexdigest()
        yield Batch(first, rows, len(records), body, key)
    elif len(rows) == 1:
        yield from _packed([malformed("the record is larger than a request may be")], first, run)
    else:
        half = len(rows) // 2
        yield from _packed(rows[:half], first, run)
        yield from _packed(rows[half:], first + half, run)


def _encodable(row: object) -> object:
    if isinstance(row, Rejection):
        return row
    try:
        _encode(row)
    except UnicodeEncodeError:
        return malformed("the row holds text that is not UTF-8")
    return row


def _send(client: ApiClient, batch: Batch) -> Verdict:
    if not batch.sent:
        return Verdict(0, 0, [])
    fields = {"Idempotency-Key": f'"{batch.key}"'}
    answer = client.request("POST", "/v1/traffic", body=batch.body, headers=fields, retry_on=CONFLICT)
    verdict = answer.decode(Verdict)
    indexes = {refusal.index for refusal in verdict.rejected}
    if verdict.accepted + verdict.merged + len(indexes) != batch.sent or not indexes <= set(range(batch.sent)):
        raise ApiError(answer.status, "Unexpected answer", "its verdicts do not add up to the records sent")
    return verdict


def _oldest(waiting: deque[tuple[Batch, Future[Verdict]]]) -> tuple[Batch, Verdict]:
    batch, answer = waiting.popleft()
    return batch, answer.result()


def _in_background(call: Callable[..., Verdict], *arguments: object) -> "Future[Verdict]":
    """Run `call` in a thread that, unlike an executor's, does not keep an interrupted process waiting."""
    future: Future[Verdict] = Future()

    def run() -> None:
        try:
            future.set_result(call(*arguments))
        except BaseException as fault:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(fault)

    threading.Thread(target=run, daemon=True).start()
    return future
