"""Tables of what customers order in the processor plane: deletions, exports, instructions, retention, requests."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped

from cloudpriv.platform.classify import Erasure, about
from cloudpriv.platform.db import ProcessorBase
from cloudpriv.processor.tables import INTERNAL, TAKEN_HERE, UTC_TIME, of_account, plain, sealed

# What values are sealed for (see platform.keys).
INSTRUCTION: Final = "instruction"
REQUEST: Final = "opendsr request"
CALLBACK: Final = "opendsr callback"


class LogDeletion(ProcessorBase):
    """What is deleted: points up to `up_to_seq` of all devices and tags or one, from `since` and before `before`.

    `tags` are those of a device that the same rule of retention is about; a customer's deletion has `tag_id` or none.

    While it is `pending`, its points are in no answer; it is `done` when no object holds them.
    """

    __tablename__ = "log_deletions"
    __table_args__ = (
        of_account(),
        CheckConstraint("status IN ('pending', 'done')", name="status"),
        CheckConstraint("trigger IN ('customer', 'datamailbox', 'retention', 'instruction', 'opendsr')", name="trigger"),
        Index("ix_log_deletions_pending", "account_id", "status"),
        about(Erasure.ROWS, why=INTERNAL),
    )

    account_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    deletion_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    device_id: Mapped[UUID | None] = plain(Uuid, nullable=True)
    tag_id: Mapped[int | None] = plain(Integer, nullable=True)
    tags: Mapped[list[int] | None] = plain(ARRAY(Integer), nullable=True)
    since: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)
    before: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)
    up_to_seq: Mapped[int] = plain(BigInteger)
    trigger: Mapped[str] = plain(String)
    trigger_id: Mapped[UUID | None] = plain(Uuid, nullable=True)
    status: Mapped[str] = plain(String)
    points: Mapped[int] = plain(BigInteger)
    requested_by: Mapped[str] = plain(String)
    requested_at: Mapped[datetime] = plain(UTC_TIME)
    done_at: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)


class LogExport(ProcessorBase):
    """An archive that the customer asked for: what is in it (ids and times), and where it lies, sealed, until it expires."""

    __tablename__ = "log_exports"
    __table_args__ = (
        of_account(),
        CheckConstraint("status IN ('pending', 'ready', 'failed', 'expired')", name="status"),
        CheckConstraint("format IN ('csv', 'ndjson', 'parquet')", name="format"),
        Index("ix_log_exports_expiry", "expires_at", postgresql_where=text("status = 'ready'")),
        about(Erasure.ROWS, why=INTERNAL),
    )

    account_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    export_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    format: Mapped[str] = plain(String)
    selection: Mapped[dict[str, Any]] = plain(JSONB)
    status: Mapped[str] = plain(String)
    object_key: Mapped[str] = plain(String)
    size: Mapped[int | None] = plain(BigInteger, nullable=True)
    points: Mapped[int | None] = plain(BigInteger, nullable=True)
    sha256: Mapped[bytes | None] = plain(LargeBinary, nullable=True)
    trigger_id: Mapped[UUID | None] = plain(Uuid, nullable=True)
    requested_by: Mapped[str] = plain(String)
    requested_at: Mapped[datetime] = plain(UTC_TIME)
    ready_at: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)
    expires_at: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)


class LogInstruction(ProcessorBase):
    """What the customer told the vendor to do (GDPR Article 28(3)(a)); `detail` is sealed: the customer's words, and more.

    `support_read` lets support read what it names until `until`; `delete` and `export` are carried out once.
    """

    __tablename__ = "log_instructions"
    __table_args__ = (
        of_account(),
        CheckConstraint("kind IN ('support_read', 'delete', 'export')", name="kind"),
        CheckConstraint("kind <> 'support_read' OR until IS NOT NULL", name="until"),
        Index(None, "instruction_id"),
        about(Erasure.ROWS, why=TAKEN_HERE),
    )

    account_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    instruction_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    kind: Mapped[str] = plain(String)
    device_id: Mapped[UUID | None] = plain(Uuid, nullable=True)
    tag_id: Mapped[int | None] = plain(Integer, nullable=True)
    since: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)
    before: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)
    until: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)
    detail: Mapped[bytes] = sealed(INSTRUCTION)
    given_by: Mapped[str] = plain(String)
    given_at: Mapped[datetime] = plain(UTC_TIME)
    withdrawn_at: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)
    outcome_id: Mapped[UUID | None] = plain(Uuid, nullable=True)


class LogRetention(ProcessorBase):
    """How long the customer has points kept, of the account, a device or a tag; the narrowest that matches counts."""

    __tablename__ = "log_retention"
    __table_args__ = (
        of_account(),
        Index(
            "uq_log_retention_scope",
            "account_id",
            text("coalesce(device_id, '00000000-0000-0000-0000-000000000000'::uuid)"),
            text("coalesce(tag_id, 0)"),
            unique=True,
        ),
        about(Erasure.ROWS, why=TAKEN_HERE),
    )

    account_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    rule_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    device_id: Mapped[UUID | None] = plain(Uuid, nullable=True)
    tag_id: Mapped[int | None] = plain(Integer, nullable=True)
    period: Mapped[str] = plain(String)
    set_by: Mapped[str] = plain(String)
    set_at: Mapped[datetime] = plain(UTC_TIME)


class LogRequest(ProcessorBase):
    """A data subject's request that the customer, as controller, hands on (OpenDSR 2.0). Identities and URLs are sealed."""

    __tablename__ = "log_requests"
    __table_args__ = (
        of_account(),
        CheckConstraint("status IN ('pending', 'in_progress', 'completed', 'cancelled')", name="status"),
        CheckConstraint("type IN ('access', 'portability', 'erasure')", name="type"),
        about(Erasure.ROWS, why=TAKEN_HERE),
    )

    account_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    request_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    type: Mapped[str] = plain(String)
    status: Mapped[str] = plain(String)
    body: Mapped[bytes] = sealed(REQUEST)
    results_id: Mapped[UUID | None] = plain(Uuid, nullable=True)
    results_count: Mapped[int | None] = plain(BigInteger, nullable=True)
    received_at: Mapped[datetime] = plain(UTC_TIME)
    expected_at: Mapped[datetime] = plain(UTC_TIME)
    ended_at: Mapped[datetime | None] = plain(UTC_TIME, nullable=True)


class LogCallback(ProcessorBase):
    """A status that is to be told to the customer's URL until it is taken there; `body` is sealed {url, body}."""

    __tablename__ = "log_callbacks"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "request_id"], ["log_requests.account_id", "log_requests.request_id"]),
        CheckConstraint("status IN ('pending', 'taken', 'given_up')", name="status"),
        Index("ix_log_callbacks_next", "next_at", postgresql_where=text("status = 'pending'")),
        about(Erasure.ROWS, why=INTERNAL),
    )

    account_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    callback_id: Mapped[UUID] = plain(Uuid, primary_key=True)
    request_id: Mapped[UUID] = plain(Uuid)
    body: Mapped[bytes] = sealed(CALLBACK)
    status: Mapped[str] = plain(String)
    attempts: Mapped[int] = plain(Integer)
    created_at: Mapped[datetime] = plain(UTC_TIME)
    next_at: Mapped[datetime] = plain(UTC_TIME)
