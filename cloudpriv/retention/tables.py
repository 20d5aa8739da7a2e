"""Tables of retention: runs and their purges, holds, notices, the ledger, and what schedule and guards remember."""

from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    DateTime,
    Float,
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

from cloudpriv.platform.classify import Category, Erasure, about, exported, withheld
from cloudpriv.platform.db import ControllerBase

INTERNAL: Final = "internal to the erasure; says nothing about a person"
UTC_TIME: Final = DateTime(timezone=True)
OPEN: Final = ("waiting", "planned", "running")  # an account has at most one purge in these
WORKABLE: Final = ("planned", "running")  # what a worker takes up; what waits is for a second person to approve
LEGAL: Final = "why an authority has data kept: shown to staff, since telling may defeat its purpose (GDPR Article 23)"


class PurgeRun(ControllerBase):
    """A plan: what one planner found due in one service at one time, and what the guards said of it.

    `proposed` is a dry run, which nobody carries out; `waiting` was stopped by the guards whose findings stand in it, until
    somebody other than its planner approves; `approved` goes ahead.
    """

    __tablename__ = "purge_runs"
    __table_args__ = (
        CheckConstraint("status IN ('proposed', 'waiting', 'approved')", name="status"),
        about(Erasure.KEPT, why=INTERNAL),
    )

    run_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, primary_key=True, why=INTERNAL)
    service: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    status: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    rule: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    policy_version: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    accounts: Mapped[int] = withheld(Category.OPERATION, Integer, why=INTERNAL)
    findings: Mapped[list[dict[str, Any]]] = withheld(Category.OPERATION, JSONB, why=INTERNAL)
    planned_by: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    planned_at: Mapped[datetime] = withheld(Category.OPERATION, UTC_TIME, why=INTERNAL)
    approved_by: Mapped[str | None] = withheld(Category.OPERATION, String, nullable=True, why=INTERNAL)
    approved_at: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=INTERNAL)


class Purge(ControllerBase):
    """The erasure of one account: its plan, its step, who works on it. The account's id is cleared at the end.

    `run_id` names the run that planned it by policy; without one it was asked for, or is made up for after a restore.

    While `lease_owner` stands, nobody else touches it before `lease_until`; without an owner, `lease_until` is when a worker
    is to be woken (again).
    """

    __tablename__ = "purges"
    __table_args__ = (
        CheckConstraint("trigger IN ('policy', 'request', 'replay')", name="trigger"),
        CheckConstraint("status IN ('proposed', 'waiting', 'planned', 'running', 'done', 'cancelled')", name="status"),
        Index(
            "uq_purges_open",
            "account_id",
            unique=True,
            postgresql_where=text("status IN ('waiting', 'planned', 'running')"),
        ),
        # What is erased names no account any more: the end of an erasure looks at none of those before it.
        Index(None, "account_id", postgresql_where=text("account_id IS NOT NULL")),
        Index("ix_purges_open", "status", "lease_until"),
        Index("ix_purges_finished", "status", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index(None, "run_id"),
        Index(None, "service", "planned_at"),
        ForeignKeyConstraint(["run_id"], ["purge_runs.run_id"]),
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
    run_id: Mapped[UUID | None] = withheld(Category.OPERATION, Uuid, nullable=True, why=INTERNAL)
    shredded_at: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=INTERNAL)
    erased_at: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=INTERNAL)
    certificate_id: Mapped[UUID | None] = withheld(Category.OPERATION, Uuid, nullable=True, why=INTERNAL)


class LedgerEntry(ControllerBase):
    """That an account was erased: hash of its id, rule, counts, time. No personal data; kept for ever."""

    __tablename__ = "ledger"
    __table_args__ = (Index(None, "erased_at", "account_hash"), about(Erasure.KEPT, why=INTERNAL))

    account_hash: Mapped[bytes] = withheld(Category.OPERATION, LargeBinary, primary_key=True, why=INTERNAL)
    service: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    trigger: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    rule: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    policy_version: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    counts: Mapped[dict[str, Any]] = withheld(Category.OPERATION, JSONB, why=INTERNAL)
    erased_at: Mapped[datetime] = withheld(Category.OPERATION, UTC_TIME, why=INTERNAL)
    certificate_id: Mapped[UUID | None] = withheld(Category.OPERATION, Uuid, nullable=True, why=INTERNAL)


class Hold(ControllerBase):
    """A legal hold: what an authority has kept, whatever the policy says. It counts until `until` or its release."""

    __tablename__ = "holds"
    __table_args__ = (
        ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
        CheckConstraint(
            "CASE scope WHEN 'account' THEN person_id IS NULL AND category IS NULL "
            "WHEN 'person' THEN person_id IS NOT NULL AND category IS NULL "
            "WHEN 'category' THEN person_id IS NULL AND category IS NOT NULL ELSE false END",
            name="scope",
        ),
        about(Erasure.ROWS, why=LEGAL),
    )

    account_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, primary_key=True, why=LEGAL)
    hold_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, primary_key=True, why=LEGAL)
    scope: Mapped[str] = withheld(Category.OPERATION, String, why=LEGAL)
    person_id: Mapped[UUID | None] = withheld(Category.OPERATION, Uuid, nullable=True, why=LEGAL)
    category: Mapped[str | None] = withheld(Category.OPERATION, String, nullable=True, why=LEGAL)
    authority: Mapped[str] = withheld(Category.OPERATION, String, why=LEGAL)
    reference: Mapped[str] = withheld(Category.OPERATION, String, why=LEGAL)
    placed_by: Mapped[str] = withheld(Category.OPERATION, String, why=LEGAL)
    placed_at: Mapped[datetime] = withheld(Category.OPERATION, UTC_TIME, why=LEGAL)
    until: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=LEGAL)
    released_by: Mapped[str | None] = withheld(Category.OPERATION, String, nullable=True, why=LEGAL)
    released_at: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=LEGAL)


class Notice(ControllerBase):
    """That an account's owners were told of its coming erasure: at which of the stages, counted in days before `due_on`.

    Traffic moves the day, and the notices of the former one then say nothing of the new.
    """

    __tablename__ = "notices"
    __table_args__ = (
        ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
        about(Erasure.ROWS, member="notices.json"),
    )

    account_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="account_id")
    due_on: Mapped[date] = exported(Category.ACCOUNT, Date, primary_key=True, name="due_on")
    days: Mapped[int] = exported(Category.ACCOUNT, Integer, primary_key=True, name="days_before")
    given_at: Mapped[datetime] = exported(Category.ACCOUNT, UTC_TIME, name="given_at")
    mails: Mapped[int] = exported(Category.ACCOUNT, Integer, name="mails")


class GuardBaseline(ControllerBase):
    """What the guards of a service compare with: clocks and rule as they were when a run was last allowed or approved.

    One for each start of each host that plans: only against its own last look does a host's unsettable clock tell anything.
    """

    __tablename__ = "guard_baselines"
    __table_args__ = (about(Erasure.KEPT, why=INTERNAL),)

    service: Mapped[str] = withheld(Category.OPERATION, String, primary_key=True, why=INTERNAL)
    boot_id: Mapped[str] = withheld(Category.OPERATION, String, primary_key=True, why=INTERNAL)
    host_at: Mapped[datetime] = withheld(Category.OPERATION, UTC_TIME, why=INTERNAL)
    boot_seconds: Mapped[float] = withheld(Category.OPERATION, Float, why=INTERNAL)
    period: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)


class Duty(ControllerBase):
    """A duty of the schedule: the last slot that was done, and who does the present one until when."""

    __tablename__ = "duties"
    __table_args__ = (about(Erasure.KEPT, why=INTERNAL),)

    name: Mapped[str] = withheld(Category.OPERATION, String, primary_key=True, why=INTERNAL)
    done_slot: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=INTERNAL)
    done_at: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=INTERNAL)
    lease_until: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=INTERNAL)
    lease_owner: Mapped[UUID | None] = withheld(Category.OPERATION, Uuid, nullable=True, why=INTERNAL)


class ForecastMonth(ControllerBase):
    """How much of a service falls due in a month, as last counted; `held` of it is kept by holds and restriction."""

    __tablename__ = "forecast_months"
    __table_args__ = (about(Erasure.KEPT, why=INTERNAL),)

    service: Mapped[str] = withheld(Category.OPERATION, String, primary_key=True, why=INTERNAL)
    month: Mapped[date] = withheld(Category.OPERATION, Date, primary_key=True, why=INTERNAL)
    accounts: Mapped[int] = withheld(Category.OPERATION, BigInteger, why=INTERNAL)
    records: Mapped[int] = withheld(Category.OPERATION, BigInteger, why=INTERNAL)
    held_accounts: Mapped[int] = withheld(Category.OPERATION, BigInteger, why=INTERNAL)
    held_records: Mapped[int] = withheld(Category.OPERATION, BigInteger, why=INTERNAL)
    counted_at: Mapped[datetime] = withheld(Category.OPERATION, UTC_TIME, why=INTERNAL)
