"""Tables of the processor plane: an account's devices, tags and chunks of points; those of orders are in `order_tables`.

The plane has a database role, keys and a bucket of its own; with the controller plane it shares the account's id and nothing
else. Names, tags and texts are sealed; what is in the clear are ids, times, counts and keyed hashes.
"""

from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, MappedColumn

from cloudpriv.platform.classify import LOG_DATA, Category, Erasure, about, withheld
from cloudpriv.platform.db import ProcessorBase

TAKEN_HERE: Final = "the customer takes log data along in the processor plane"
INTERNAL: Final = "internal to the processor plane; says nothing about a person"
INDEX: Final = "keyed hash of a value that is sealed beside it"
GUARD: Final = "a secret that protects the account's log data"
UTC_TIME: Final = DateTime(timezone=True)

# What values are sealed for (see platform.keys).
DEVICE: Final = "log device"
TAG: Final = "log tag"
TOKEN: Final = "token"  # noqa: S105  the name of a purpose


def plain(kind: Any, *, why: str = INTERNAL, category: Category = Category.OPERATION, **options: Any) -> MappedColumn[Any]:
    """A column in the clear."""
    return withheld(category, kind, why=why, purpose=LOG_DATA, **options)


def sealed(purpose: str) -> MappedColumn[Any]:
    """A column whose values are sealed for a purpose."""
    return withheld(Category.LOG_DATA, LargeBinary, why=TAKEN_HERE, purpose=LOG_DATA, sealed=purpose)


def of_account() -> ForeignKeyConstraint:
    """The account that a row is of."""
    return ForeignKeyConstraint(["account_id"], ["log_accounts.account_id"])


def of_device() -> ForeignKeyConstraint:
    """The device that a row is of."""
    return ForeignKeyConstraint(["account_id", "device_id"], ["log_devices.account_id", "log_devices.device_id"])


class LogAccount(ProcessorBase):
    """An account that has log data, or may have. `head_seq` is the place of the latest point in order of arrival.

    Until `closing_until` no point is taken, since the account may be about to be erased; once `erasing_at` stands, it is.
    """

    __tablename__ = "log_accounts"
    __table_args__ = (
        Index("ix_log_accounts_untold", "last_point_at", postgresql_where=text("last_point_at IS NOT NULL")),
        Index("ix_log_accounts_erasing", "erasing_at", postgresql_where=text("erasing_at IS NOT NULL")),
        about(Erasure.ROWS, why=INTERNAL),
    )

    account_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    opened_at: Mapped[datetime] = plain(UTC_TIME)
    head_seq: Mapped[int] = plain(BigInteger)
    next_number: Mapped[int] = plain(Integer)
    last_point_at: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)
    told_at: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)
    closing_until: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)
    erasing_at: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)
    kept_on: Mapped[date | None] = plain(Date, nullable=True)


class LogKey(ProcessorBase):
    """The account's wrapped data key of this plane; deleting this row makes all its log data unreadable."""

    __tablename__ = "log_keys"
    __table_args__ = (of_account(), about(Erasure.ROWS, why=GUARD))

    account_id: Mapped[UUID] = plain(Uuid, why=GUARD, primary_key=True)
    kek_id: Mapped[str] = plain(String, why=GUARD)
    wrapped: Mapped[bytes] = plain(LargeBinary, why=GUARD)


class LogDevice(ProcessorBase):
    """A device as the customer named it: sealed `{name}`. `number` is its id for the DataMailbox API."""

    __tablename__ = "log_devices"
    __table_args__ = (
        of_account(),
        Index(None, "account_id", "name_index", unique=True),
        Index(None, "account_id", "number", unique=True),
        about(Erasure.ROWS, why=TAKEN_HERE),
    )

    account_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    device_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    number: Mapped[int] = plain(Integer)
    identity: Mapped[bytes] = sealed(DEVICE)
    name_index: Mapped[bytes] = plain(LargeBinary, why=INDEX)
    created_at: Mapped[datetime] = plain(UTC_TIME)
    last_point_at: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)


class LogTag(ProcessorBase):
    """A tag of a device: sealed `{name, unit?, kind}` with the device as its record. `kind` is that of its first value."""

    __tablename__ = "log_tags"
    __table_args__ = (
        of_device(),
        Index(None, "account_id", "device_id", "name_index", unique=True),
        about(Erasure.ROWS, why=TAKEN_HERE),
    )

    account_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    tag_id: Mapped[int] = plain(Integer, primary_key=True, autoincrement=False)
    device_id: Mapped[UUID] = plain(Uuid)
    identity: Mapped[bytes] = sealed(TAG)
    name_index: Mapped[bytes] = plain(LargeBinary, why=INDEX)
    created_at: Mapped[datetime] = plain(UTC_TIME)


class LogToken(ProcessorBase):
    """A customer's token: `device` appends for one device, `reader` reads, deletes and instructs. Kept as a hash."""

    __tablename__ = "log_tokens"
    __table_args__ = (
        of_account(),
        ForeignKeyConstraint(["account_id", "device_id"], ["log_devices.account_id", "log_devices.device_id"]),
        CheckConstraint("(kind = 'device') = (device_id IS NOT NULL) AND kind IN ('device', 'reader')", name="kind"),
        Index(None, "account_id", "secret_hash", unique=True),
        about(Erasure.ROWS, why=GUARD),
    )

    account_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    token_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    kind: Mapped[str] = plain(String)
    device_id: Mapped[UUID | None] = plain(Uuid, nullable=True)
    label: Mapped[bytes] = sealed(TOKEN)
    secret_hash: Mapped[bytes] = plain(LargeBinary, why=GUARD)
    made_by: Mapped[UUID] = plain(Uuid)
    created_at: Mapped[datetime] = plain(UTC_TIME)
    last_used_at: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)
    revoked_at: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)


class LogChunk(ProcessorBase):
    """A sealed object of points of one device, and where in it which tag lies, as `segments`.

    A segment is [offset, bytes, tag, points, bytes of the points in memory], which may be a thousand times as many.

    Level 0 is a batch as it came, in one segment (tag 0), whose points have the places `first_seq` and on; level 1 is a day.
    """

    __tablename__ = "log_chunks"
    __table_args__ = (
        of_device(),
        CheckConstraint("level IN (0, 1)", name="level"),
        Index(None, "account_id", "device_id", "since"),
        Index(None, "account_id", "last_seq"),
        Index("ix_log_chunks_small", "account_id", "device_id", "created_at", postgresql_where=text("level = 0")),
        about(Erasure.ROWS, why=TAKEN_HERE),
    )

    account_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    chunk_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    device_id: Mapped[UUID] = plain(Uuid)
    level: Mapped[int] = plain(Integer)
    object_key: Mapped[str] = plain(String)
    tags: Mapped[list[int]] = plain(ARRAY(Integer))
    segments: Mapped[list[list[int]]] = plain(JSONB)
    since: Mapped[datetime] = plain(UTC_TIME)
    until: Mapped[datetime] = plain(UTC_TIME)
    first_seq: Mapped[int] = plain(BigInteger)
    last_seq: Mapped[int] = plain(BigInteger)
    points: Mapped[int] = plain(Integer)
    size: Mapped[int] = plain(BigInteger)
    created_at: Mapped[datetime] = plain(UTC_TIME)


class LogBatch(ProcessorBase):
    """A batch that was taken under a key of its sender: sent again, it is answered again and not taken."""

    __tablename__ = "log_batches"
    __table_args__ = (of_device(), Index(None, "received_at"), about(Erasure.ROWS, why=INTERNAL))

    account_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    device_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    key_index: Mapped[bytes] = plain(LargeBinary, why=INDEX, primary_key=True)
    body_index: Mapped[bytes] = plain(LargeBinary, why=INDEX)
    verdict: Mapped[dict[str, Any]] = plain(JSONB)
    received_at: Mapped[datetime] = plain(UTC_TIME)


class LogTransaction(ProcessorBase):
    """How far a reader came: `rest` for all devices but those of `positions` (device number to place)."""

    __tablename__ = "log_transactions"
    __table_args__ = (of_account(), Index(None, "created_at"), about(Erasure.ROWS, why=INTERNAL))

    account_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    transaction_id: Mapped[int] = plain(BigInteger, primary_key=True, autoincrement=False)
    rest: Mapped[int] = plain(BigInteger)
    positions: Mapped[dict[str, Any]] = plain(JSONB)
    created_at: Mapped[datetime] = plain(UTC_TIME)


class LogGarbage(ProcessorBase):
    """An object that no row refers to any more, to be removed when no reader can still be at it."""

    __tablename__ = "log_garbage"
    __table_args__ = (of_account(), Index(None, "after"), about(Erasure.ROWS, why=INTERNAL))

    account_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    object_key: Mapped[str] = plain(String, primary_key=True)
    after: Mapped[datetime] = plain(UTC_TIME)


class LogTask(ProcessorBase):
    """Work that waits for a worker. While `lease_owner` stands, nobody else does it before `lease_until`.

    Asked for once more while it is being done, it is done `again`.
    """

    __tablename__ = "log_tasks"
    __table_args__ = (
        of_account(),
        Index(
            "uq_log_tasks_subject",
            "account_id",
            "kind",
            text("coalesce(subject_id, '00000000-0000-0000-0000-000000000000'::uuid)"),
            unique=True,
        ),
        Index(None, "lease_until"),
        Index(None, "task_id"),
        about(Erasure.ROWS, why=INTERNAL),
    )

    account_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    task_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    kind: Mapped[str] = plain(String)
    subject_id: Mapped[UUID | None] = plain(Uuid, nullable=True)
    attempts: Mapped[int] = plain(Integer)
    again: Mapped[bool] = plain(Boolean)
    created_at: Mapped[datetime] = plain(UTC_TIME)
    lease_until: Mapped[datetime] = plain(UTC_TIME)
    lease_owner: Mapped[UUID | None] = plain(Uuid, nullable=True)


class LogEvent(ProcessorBase):
    """Who read or changed whose log data, or tried to; `account_id` is absent when an attempt named none."""

    __tablename__ = "log_events"
    __table_args__ = (Index(None, "account_id", "event_id"), Index(None, "at"), about(Erasure.KEPT, why=INTERNAL))

    event_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    at: Mapped[datetime] = plain(UTC_TIME)
    actor_kind: Mapped[str] = plain(String)
    actor_id: Mapped[str] = plain(String)
    action: Mapped[str] = plain(String)
    account_id: Mapped[UUID | None] = plain(Uuid, nullable=True)
    subject_id: Mapped[UUID | None] = plain(Uuid, nullable=True)
    instruction_id: Mapped[UUID | None] = plain(Uuid, nullable=True)
    fields: Mapped[list[str]] = plain(ARRAY(String))
    request_id: Mapped[UUID | None] = plain(Uuid, nullable=True)


class LogErased(ProcessorBase):
    """That an account's log data was erased, by the hash of its id: nobody opens it again. Kept for ever."""

    __tablename__ = "log_erased"
    __table_args__ = (about(Erasure.KEPT, why=INTERNAL),)

    account_hash: Mapped[bytes] = plain(LargeBinary, primary_key=True)
    ordered_at: Mapped[datetime] = plain(UTC_TIME)
    erased_at: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)
    counts: Mapped[dict[str, Any]] = plain(JSONB)
