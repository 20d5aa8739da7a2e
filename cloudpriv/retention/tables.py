"""Tables of purges and of the erasure ledger."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, Integer, LargeBinary, String, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped

from cloudpriv.platform.classify import Category, Erasure, about, withheld
from cloudpriv.platform.db import ControllerBase

INTERNAL: Final = "internal to the erasure; says nothing about a person"
UTC_TIME: Final = DateTime(timezone=True)
OPEN: Final = ("planned", "running")  # an account has at most one purge in these


class Purge(ControllerBase):
    """The erasure of one account: its plan, its step, who works on it. The account's id is cleared at the end.

    While `lease_owner` stands, nobody else touches it before `lease_until`; without an owner, `lease_until` is when a worker
    is to be woken (again).
    """

    __tablename__ = "purges"
    __table_args__ = (
        CheckConstraint("trigger IN ('policy', 'request')", name="trigger"),
        CheckConstraint("status IN ('planned', 'running', 'done', 'cancelled')", name="status"),
        Index(
            "uq_purges_open",
            "account_id",
            unique=True,
            postgresql_where=text("status IN ('planned', 'running')"),
        ),
        Index("ix_purges_open", "status", "lease_until"),
        about(Erasure.CLEARED, why=INTERNAL),
    )

    purge_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, primary_key=True, why=INTERNAL)
    account_id: Mapped[UUID | None] = withheld(Category.OPERATION, Uuid, nullable=True, why=INTERNAL)
    service: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    trigger: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    rule: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    policy_version: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    status: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    step: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    counts: Mapped[dict[str, Any]] = withheld(Category.OPERATION, JSONB, why=INTERNAL)
    attempts: Mapped[int] = withheld(Category.OPERATION, Integer, why=INTERNAL)
    planned_at: Mapped[datetime] = withheld(Category.OPERATION, UTC_TIME, why=INTERNAL)
    finished_at: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=INTERNAL)
    lease_until: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=INTERNAL)
    lease_owner: Mapped[UUID | None] = withheld(Category.OPERATION, Uuid, nullable=True, why=INTERNAL)


class LedgerEntry(ControllerBase):
    """That an account was erased: hash of its id, rule, counts, time. No personal data; kept for ever."""

    __tablename__ = "ledger"
    __table_args__ = (about(Erasure.KEPT, why=INTERNAL),)

    account_hash: Mapped[bytes] = withheld(Category.OPERATION, LargeBinary, primary_key=True, why=INTERNAL)
    service: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    trigger: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    rule: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    policy_version: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    counts: Mapped[dict[str, Any]] = withheld(Category.OPERATION, JSONB, why=INTERNAL)
    erased_at: Mapped[datetime] = withheld(Category.OPERATION, UTC_TIME, why=INTERNAL)
