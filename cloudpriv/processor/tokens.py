"""Tokens of customers: for a device that appends, or for a program that reads, deletes and instructs.

A token is `cpd_` or `cpr_`, the account's id, `_` and 256 random bits, in base64url: so it is looked up within its account,
and known for what it is wherever it leaks to. Only its SHA-256 is kept; it is shown once, when it is made.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import select

from cloudpriv.platform.actor import LOG_DATA_SCOPES, SERVICES, Actor, Service
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ForbiddenError, NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.keys import DataKey
from cloudpriv.processor import accounts, events
from cloudpriv.processor.order_tables import LogInstruction
from cloudpriv.processor.tables import DEVICE, TOKEN, LogAccount, LogDevice, LogToken

Kind = Literal["device", "reader"]
KINDS: Final[tuple[Kind, ...]] = ("device", "reader")
PREFIXES: Final[dict[Kind, str]] = {"device": "cpd_", "reader": "cpr_"}
SHAPE: Final = re.compile(r"cp[dr]_([A-Za-z0-9_-]{22})_[A-Za-z0-9_-]{43}")
USE_NOTED: Final = timedelta(
    minutes=1
)  # a device may send many times a second; a write for each would cost more than it tells
FIND: Final = (
    "SELECT token_id, kind, device_id, last_used_at FROM log_tokens"
    " WHERE account_id = %(account_id)s AND secret_hash = %(secret_hash)s AND revoked_at IS NULL"
)
NOTE: Final = (
    "UPDATE log_tokens SET last_used_at = %(now)s"
    " WHERE account_id = %(account_id)s AND token_id = %(token_id)s"
    " AND (last_used_at IS NULL OR last_used_at <= %(before)s) RETURNING token_id"
)


@dataclass(frozen=True)
class KnownToken:
    """A token's row with what it is called, and the name of the device that it appends for."""

    row: LogToken
    name: str
    device: str | None


@dataclass(frozen=True)
class FoundToken:
    """On whose behalf a token's bearer acts, and when the token was last used before."""

    actor: Actor
    token_id: UUID
    last_used_at: datetime | None

    def is_use_told(self, now: datetime) -> bool:
        """Whether what is known of its last use is near enough to `now`."""
        return self.last_used_at is not None and now - self.last_used_at < USE_NOTED


def make_token(tx: Tx, kind: Kind, name: str, device_id: UUID | None = None) -> tuple[KnownToken, str]:
    """A new token of the owner's account and its text, which is shown this once.

    A token of kind `device` is for the device of this id. Raises GoneError for an account that is or was erased.
    """
    account_id, service = _owned(tx)
    account = accounts.open_account(tx, account_id)
    token_id, secret = new_id(), _new_secret(kind, account_id)
    row = LogToken(
        account_id=account_id,
        token_id=token_id,
        kind=kind,
        device_id=device_id,
        label=account.key.seal(token_id, TOKEN, {"name": name, "service": service}),
        secret_hash=_hash(secret),
        made_by=UUID(tx.actor.id),
        created_at=tx.now,
    )
    tx.session.add(row)
    tx.session.flush()
    events.record(tx, "token.create", account_id=account_id, subject_id=token_id, fields=[kind])
    return _known(account.key, row, tx.session.get(LogDevice, (account_id, device_id))), secret


def list_tokens(tx: Tx, *, after: UUID | None, limit: int) -> Sequence[KnownToken]:
    """The account's tokens in order of making, revoked ones too, and one more than `limit` if there is one."""
    account_id, _ = _owned(tx)
    try:
        account = accounts.find_account(tx, account_id)
    except NotFoundError:  # nothing of this plane was used yet
        return []
    same_device = (LogDevice.account_id == LogToken.account_id) & (LogDevice.device_id == LogToken.device_id)
    query = select(LogToken, LogDevice).outerjoin(LogDevice, same_device).where(LogToken.account_id == account_id)
    if after is not None:
        query = query.where(LogToken.token_id > after)
    rows = tx.session.execute(query.order_by(LogToken.token_id).limit(limit + 1)).all()
    events.record(tx, "tokens.read", account_id=account_id)
    return [_known(account.key, token, device) for token, device in rows]


def revoke_token(tx: Tx, token_id: UUID) -> None:
    """From the next request on the token opens nothing. Raises NotFoundError; revoking twice is once."""
    account_id, _ = _owned(tx)
    row = tx.session.get(LogToken, (account_id, token_id), with_for_update=True)
    if row is None:
        raise NotFoundError
    if row.revoked_at is None:
        row.revoked_at = tx.now
        events.record(tx, "token.revoke", account_id=account_id, subject_id=token_id)


def revoke_all(tx: Tx) -> int:
    """Revoke every token of all customers, each of whom is told; how many."""
    rows = tx.session.scalars(select(LogToken).where(LogToken.revoked_at.is_(None)).with_for_update()).all()
    for row in rows:
        row.revoked_at = tx.now
        events.record(tx, "token.revoke", account_id=row.account_id, subject_id=row.token_id)
    return len(rows)


def find_token(tx: Tx, text: str) -> FoundToken | None:
    """The token of this text, unless there is none or it is revoked. One statement."""
    account_id = account_of(text)
    if account_id is None:
        return None
    found = tx.fetch_one(FIND, {"account_id": account_id, "secret_hash": _hash(text)})
    if found is None:
        return None
    actor = Actor(found.kind, str(found.token_id), None, LOG_DATA_SCOPES[found.kind], account_id, found.device_id)
    return FoundToken(actor, found.token_id, found.last_used_at)


def note_use(tx: Tx, found: FoundToken) -> None:
    """Write down that the token is used now. One statement; of several at once one writes."""
    values = {"account_id": found.actor.account_id, "token_id": found.token_id, "now": tx.now, "before": tx.now - USE_NOTED}
    tx.fetch_one(NOTE, values)


def is_of_customer(text: str) -> bool:
    """Whether a text begins like a customer's token."""
    return text.startswith(tuple(PREFIXES.values()))


def account_of(text: str) -> UUID | None:
    """The account that a token says it is of; None for a text of another form."""
    shape = SHAPE.fullmatch(text)
    return None if shape is None else UUID(bytes=base64.urlsafe_b64decode(shape[1] + "=="))


def service_of(tx: Tx) -> Service:
    """The service that the acting customer's account is of, as its owner's session said.

    A token has it from the owner who made it. Raises ForbiddenError for who is no customer.
    """
    if tx.actor.kind == "owner" and tx.actor.service is not None:
        return tx.actor.service
    if tx.actor.account_id is None:
        raise ForbiddenError
    row = tx.session.get(LogToken, (tx.actor.account_id, UUID(tx.actor.id)))
    if row is None:
        raise ForbiddenError
    label = accounts.find_account(tx, tx.actor.account_id).key.open(row.token_id, TOKEN, row.label)
    return next(service for service in SERVICES if service == label["service"])


def accounts_concerned(
    tx: Tx, account_ids: Sequence[UUID], instruction_id: UUID | None
) -> Sequence[tuple[UUID | None, UUID | None]]:
    """Every account that a request names, by an instruction of it, with that one's id, or by itself; none there are: None.

    Whose instruction it is comes before what the caller says, who could name somebody else.
    """
    by_instruction = select(LogInstruction.account_id).where(LogInstruction.instruction_id == instruction_id)
    owner = None if instruction_id is None else tx.session.scalar(by_instruction)
    named = tx.session.scalars(select(LogAccount.account_id).where(LogAccount.account_id.in_(account_ids))).all()
    found: list[tuple[UUID | None, UUID | None]] = [] if owner is None else [(owner, instruction_id)]
    found += [(each, None) for each in sorted(named) if each != owner]
    return found or [(None, None)]


def _owned(tx: Tx) -> tuple[UUID, str]:
    if tx.actor.account_id is None or tx.actor.service is None:
        raise ForbiddenError
    return tx.actor.account_id, tx.actor.service


def _new_secret(kind: Kind, account_id: UUID) -> str:
    account = base64.urlsafe_b64encode(account_id.bytes).decode().rstrip("=")
    return f"{PREFIXES[kind]}{account}_{secrets.token_urlsafe(32)}"


def _hash(text: str) -> bytes:
    """Of 256 random bits a plain hash tells nothing."""
    return hashlib.sha256(text.encode()).digest()


def _known(key: DataKey, row: LogToken, device: LogDevice | None) -> KnownToken:
    name = key.open(row.token_id, TOKEN, row.label)["name"]
    return KnownToken(row, name, None if device is None else key.open(device.device_id, DEVICE, device.identity)["name"])
