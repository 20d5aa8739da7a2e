"""Idempotency keys: one request, one effect, the same answer (IETF draft-ietf-httpapi-idempotency-key-header).

The key's row is written in the transaction of the request's own effect, so there is no moment in which one stands without
the other; two requests with one key at the same time are told apart by an advisory lock that ends with the transaction.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Uuid,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped

from cloudpriv.audit import events
from cloudpriv.controller import accounts
from cloudpriv.platform.classify import Category, Erasure, about, withheld
from cloudpriv.platform.db import ControllerBase, Tx
from cloudpriv.platform.errors import IdempotencyMismatchError, IdempotencyRunningError, NotFoundError

ANSWER: Final = "idempotency.answer"
WHY: Final = "a copy of an answer that was given to a backend, kept for a day"


class IdempotencyKey(ControllerBase):
    """An answer to be given again; one that tells of an account is sealed under the account's key and goes with it.

    An account without an answer is what is left of one that told of an erased person, or of an account being erased.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        # So that no answer can be kept behind the back of an erasure: its last step waits for it, and then sees it.
        ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
        Index(None, "account_id"),
        Index(None, "expires_at"),
        about(Erasure.ROWS, why=WHY),
    )

    caller: Mapped[str] = withheld(Category.OPERATION, String, primary_key=True, why=WHY)
    key_index: Mapped[bytes] = withheld(Category.OPERATION, LargeBinary, primary_key=True, why=WHY)
    request_index: Mapped[bytes] = withheld(Category.OPERATION, LargeBinary, why=WHY)
    account_id: Mapped[UUID | None] = withheld(Category.OPERATION, Uuid, nullable=True, why=WHY)
    answer_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, why=WHY)
    status: Mapped[int] = withheld(Category.OPERATION, Integer, why=WHY)
    plain: Mapped[dict[str, Any] | None] = withheld(Category.OPERATION, JSONB(none_as_null=True), nullable=True, why=WHY)
    sealed: Mapped[bytes | None] = withheld(Category.IDENTIFICATION, LargeBinary, nullable=True, why=WHY, sealed=ANSWER)
    expires_at: Mapped[datetime] = withheld(Category.OPERATION, DateTime(timezone=True), why=WHY)


@dataclass(frozen=True)
class Answer:
    """What was answered: status, and `{"headers": {...}, "body": ...}`."""

    status: int
    content: dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """A key taken for this transaction, and the earlier answer if there is one."""

    caller: str
    key_index: bytes
    request_index: bytes
    earlier: Answer | None


def claim(tx: Tx, key: str, request: bytes) -> Claim:
    """Take `key` for the caller until the transaction ends; that an earlier answer tells of an account again is audited.

    Raises IdempotencyRunningError while another transaction holds it, IdempotencyMismatchError when it was used for
    another request, NotFoundError when whom the earlier answer told of is erased, AccountRestrictedError.
    """
    caller = f"{tx.actor.kind}:{tx.actor.id}"
    key_index = tx.keys.blind_index("idempotency key", f"{caller}\0{key}")
    lock = int.from_bytes(key_index[:8], "big", signed=True)
    if not tx.session.scalar(select(func.pg_try_advisory_xact_lock(lock))):
        raise IdempotencyRunningError
    request_index = tx.keys.blind_index("idempotent request", hashlib.sha256(request).hexdigest())
    row = tx.session.get(IdempotencyKey, (caller, key_index))
    if row is None or row.expires_at <= tx.now:
        return Claim(caller, key_index, request_index, None)
    if row.request_index != request_index:
        raise IdempotencyMismatchError
    return Claim(caller, key_index, request_index, Answer(row.status, _content(tx, row)))


def keep_answer(tx: Tx, claimed: Claim, account_id: UUID | None, answer_id: UUID, answer: Answer, *,
                expires_at: datetime) -> None:  # fmt: skip
    """Keep the answer with its effect until `expires_at`, sealed when it tells of an account.

    Of an account whose erasure has begun only that there was an answer is kept.
    """
    sealed = plain = None
    if account_id is None:
        plain = answer.content
    else:
        with suppress(NotFoundError):
            sealed = accounts.find_account(tx, account_id).key.seal(answer_id, ANSWER, answer.content)
    row = {
        "caller": claimed.caller,
        "key_index": claimed.key_index,
        "request_index": claimed.request_index,
        "account_id": account_id,
        "answer_id": answer_id,
        "status": answer.status,
        "plain": plain,
        "sealed": sealed,
        "expires_at": expires_at,
    }
    _forget(tx, claimed.caller, claimed.key_index)
    tx.session.execute(insert(IdempotencyKey), row)


def forget_person(tx: Tx, account: accounts.OpenedAccount, person_id: UUID) -> None:
    """Erase the kept answers that tell of a person; their keys stay spent, so that none is carried out again."""
    of_account = IdempotencyKey.account_id == account.row.account_id
    query = select(*IdempotencyKey.__table__.columns).where(of_account, IdempotencyKey.sealed.is_not(None))
    for row in tx.connection.execute(query).mappings().all():
        if str(person_id) in account.key.open(row["answer_id"], ANSWER, row["sealed"])["body"]:
            _forget(tx, row["caller"], row["key_index"])  # and add it again: the API's role may not change rows
            tx.connection.execute(insert(IdempotencyKey), {**row, "sealed": None})


def _forget(tx: Tx, caller: str, key_index: bytes) -> None:
    tx.session.execute(delete(IdempotencyKey).where(IdempotencyKey.caller == caller, IdempotencyKey.key_index == key_index))


def _content(tx: Tx, row: IdempotencyKey) -> dict[str, Any]:
    if row.account_id is None:
        return row.plain or {}
    if row.sealed is None:
        raise NotFoundError
    account = accounts.find_usable(tx, row.account_id)
    events.record(tx, "answer.repeat", account_id=row.account_id)
    return account.key.open(row.answer_id, ANSWER, row.sealed)
