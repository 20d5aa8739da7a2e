"""Tables of data subjects' requests and of the exports that answer them."""

from datetime import date, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped

from cloudpriv.platform.classify import Category, Erasure, about, exported, withheld
from cloudpriv.platform.db import ControllerBase

INTERNAL: Final = "internal to the work on the request; says nothing about a person"
UTC_TIME: Final = DateTime(timezone=True)


class SubjectRequest(ControllerBase):
    """A request under GDPR Articles 15 to 22; `due_on` by Article 12(3)."""

    __tablename__ = "requests"
    __table_args__ = (
        ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
        CheckConstraint("type IN ('access', 'portability')", name="type"),
        CheckConstraint("status IN ('in_progress', 'completed', 'refused')", name="status"),
        Index(None, "request_id"),
        Index("ix_requests_completed", "completed_at", postgresql_where=text("completed_at IS NOT NULL")),
        about(Erasure.ROWS, member="requests.json"),
    )

    account_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="account_id")
    request_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="id")
    type: Mapped[str] = exported(Category.ACCOUNT, String, name="type")
    status: Mapped[str] = exported(Category.ACCOUNT, String, name="status")
    identity_verified_by: Mapped[str] = exported(Category.ACCOUNT, String, name="identity_verified_by")
    received_at: Mapped[datetime] = exported(Category.ACCOUNT, UTC_TIME, name="received_at")
    due_on: Mapped[date] = exported(Category.ACCOUNT, Date, name="due_on")
    completed_at: Mapped[datetime | None] = exported(Category.ACCOUNT, UTC_TIME, nullable=True, name="completed_at")
    version: Mapped[int] = withheld(Category.OPERATION, Integer, why=INTERNAL)


class Export(ControllerBase):
    """The archive that answers a request; a worker holds it by a lease while it writes."""

    __tablename__ = "exports"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "request_id"], ["requests.account_id", "requests.request_id"]),
        CheckConstraint("status IN ('pending', 'running', 'ready', 'failed', 'expired')", name="status"),
        Index(None, "export_id"),
        Index("ix_exports_open", "status", "lease_until"),
        about(Erasure.ROWS, why=INTERNAL),
    )

    account_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, primary_key=True, why=INTERNAL)
    export_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, primary_key=True, why=INTERNAL)
    request_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, why=INTERNAL)
    status: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    object_key: Mapped[str | None] = withheld(Category.OPERATION, String, nullable=True, why=INTERNAL)
    size: Mapped[int | None] = withheld(Category.OPERATION, BigInteger, nullable=True, why=INTERNAL)
    sha256: Mapped[str | None] = withheld(Category.OPERATION, String, nullable=True, why=INTERNAL)
    failure: Mapped[str | None] = withheld(Category.OPERATION, String, nullable=True, why=INTERNAL)
    attempts: Mapped[int] = withheld(Category.OPERATION, Integer, why=INTERNAL)
    lease_until: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=INTERNAL)
    lease_owner: Mapped[UUID | None] = withheld(Category.OPERATION, Uuid, nullable=True, why=INTERNAL)
    created_at: Mapped[datetime] = withheld(Category.OPERATION, UTC_TIME, why=INTERNAL)
    ready_at: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=INTERNAL)
    expires_at: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=INTERNAL)
