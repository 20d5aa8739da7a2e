"""Tables of data subjects' requests and of the exports that answer them."""

from datetime import date, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
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
from sqlalchemy.orm import Mapped

from cloudpriv.platform.classify import Category, Erasure, about, exported, withheld
from cloudpriv.platform.db import ControllerBase

INTERNAL: Final = "internal to the work on the request; says nothing about a person"
UTC_TIME: Final = DateTime(timezone=True)
REQUEST: Final = "request.details"  # what values are sealed for (see platform.keys)
REPLACEMENT: Final = "owner_replacement.evidence"


class SubjectRequest(ControllerBase):
    """A request under GDPR Articles 7(3) and 15 to 22, of the account or of one person in it; `due_on` by Article 12(3).

    `details` has what was asked and said: {why, text, changes, identity, extension, decision, outcome}, each if it is there.
    `effective_at` is when what was granted takes effect, where that is later (an account's erasure and its cooling-off).
    `duplicate_of` names the running request that this one is answered with.
    """

    __tablename__ = "requests"
    __table_args__ = (
        ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
        ForeignKeyConstraint(
            ["account_id", "person_id"],
            ["people.account_id", "people.person_id"],
            ondelete="SET NULL (person_id)",
        ),
        ForeignKeyConstraint(
            ["account_id", "duplicate_of"],
            ["requests.account_id", "requests.request_id"],
            ondelete="SET NULL (duplicate_of)",
        ),
        CheckConstraint(
            "type IN ('access', 'portability', 'rectification', 'erasure', 'restriction', 'objection', "
            "'consent_withdrawal')",
            name="type",
        ),
        CheckConstraint(
            "status IN ('received', 'identity_verified', 'in_progress', 'completed', 'refused', 'withdrawn')", name="status"
        ),
        CheckConstraint("scope IN ('account', 'person')", name="scope"),
        CheckConstraint("channel IN ('portal', 'backend', 'letter', 'mail')", name="channel"),
        CheckConstraint(
            "ground IN ('manifestly_unfounded', 'excessive', 'identity_not_verified', 'legal_obligation', 'legal_claims', "
            "'compelling_grounds', 'others_rights', 'data_accurate', 'not_applicable')",
            name="ground",
        ),
        CheckConstraint("status IN ('received', 'withdrawn', 'refused') OR identity_method IS NOT NULL", name="identity"),
        Index(None, "request_id"),
        Index("ix_requests_completed", "completed_at", postgresql_where=text("completed_at IS NOT NULL")),
        Index("ix_requests_open", "due_on", postgresql_where=text("completed_at IS NULL")),
        about(Erasure.ROWS, member="requests.json"),
    )

    account_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="account_id")
    request_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="id")
    person_id: Mapped[UUID | None] = exported(Category.ACCOUNT, Uuid, nullable=True, name="person_id")
    scope: Mapped[str] = exported(Category.ACCOUNT, String, name="scope")
    type: Mapped[str] = exported(Category.ACCOUNT, String, name="type")
    status: Mapped[str] = exported(Category.ACCOUNT, String, name="status")
    channel: Mapped[str] = exported(Category.ACCOUNT, String, name="channel")
    received_at: Mapped[datetime] = exported(Category.ACCOUNT, UTC_TIME, name="received_at")
    identity_method: Mapped[str | None] = exported(Category.ACCOUNT, String, nullable=True, name="identity_method")
    identity_verified_by: Mapped[str | None] = exported(Category.ACCOUNT, String, nullable=True, name="identity_verified_by")
    identity_verified_at: Mapped[datetime | None] = exported(
        Category.ACCOUNT, UTC_TIME, nullable=True, name="identity_verified_at"
    )
    due_on: Mapped[date] = exported(Category.ACCOUNT, Date, name="due_on")
    extended_at: Mapped[datetime | None] = exported(Category.ACCOUNT, UTC_TIME, nullable=True, name="extended_at")
    ground: Mapped[str | None] = exported(Category.ACCOUNT, String, nullable=True, name="ground")
    decided_by: Mapped[str | None] = withheld(Category.OPERATION, String, nullable=True, why=INTERNAL)
    decided_at: Mapped[datetime | None] = exported(Category.ACCOUNT, UTC_TIME, nullable=True, name="decided_at")
    duplicate_of: Mapped[UUID | None] = exported(Category.ACCOUNT, Uuid, nullable=True, name="duplicate_of")
    effective_at: Mapped[datetime | None] = exported(Category.ACCOUNT, UTC_TIME, nullable=True, name="effective_at")
    completed_at: Mapped[datetime | None] = exported(Category.ACCOUNT, UTC_TIME, nullable=True, name="completed_at")
    details: Mapped[bytes | None] = exported(Category.ACCOUNT, LargeBinary, nullable=True, name="details", sealed=REQUEST)
    version: Mapped[int] = withheld(Category.OPERATION, Integer, why=INTERNAL)


class Export(ControllerBase):
    """The archive that answers a request; a worker holds it by a lease while it writes.

    One of `scope` person holds that person's data alone, and is never made when the person is gone.
    """

    __tablename__ = "exports"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "request_id"], ["requests.account_id", "requests.request_id"]),
        ForeignKeyConstraint(
            ["account_id", "person_id"],
            ["people.account_id", "people.person_id"],
            ondelete="SET NULL (person_id)",
        ),
        CheckConstraint("status IN ('pending', 'running', 'ready', 'failed', 'expired')", name="status"),
        CheckConstraint("scope IN ('account', 'person')", name="scope"),
        CheckConstraint("progress BETWEEN 0 AND 100", name="progress"),
        Index(None, "export_id"),
        Index("ix_exports_open", "status", "lease_until"),
        about(Erasure.ROWS, why=INTERNAL),
    )

    account_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, primary_key=True, why=INTERNAL)
    export_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, primary_key=True, why=INTERNAL)
    request_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, why=INTERNAL)
    person_id: Mapped[UUID | None] = withheld(Category.OPERATION, Uuid, nullable=True, why=INTERNAL)
    scope: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    language: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    status: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    progress: Mapped[int] = withheld(Category.OPERATION, Integer, why=INTERNAL)
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


class RecipientNotice(ControllerBase):
    """That a recipient of data has to be told of its rectification, erasure or restriction (GDPR Article 19), or was.

    It is told by mail where the disclosure has an address; else staff tells it, and says so. `concerns` is the id of the
    person whose data it is about, None for all of the account; it is what the recipient is told, and outlives the person.
    """

    __tablename__ = "recipient_notices"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "disclosure_id"], ["disclosures.account_id", "disclosures.disclosure_id"]),
        ForeignKeyConstraint(
            ["account_id", "request_id"],
            ["requests.account_id", "requests.request_id"],
            ondelete="SET NULL (request_id)",
        ),
        CheckConstraint("kind IN ('rectification', 'erasure', 'restriction')", name="kind"),
        CheckConstraint("status IN ('pending', 'told', 'by_staff', 'impossible')", name="status"),
        Index("ix_recipient_notices_open", "created_at", postgresql_where=text("status IN ('pending', 'by_staff')")),
        about(Erasure.ROWS, member="recipient_notices.json"),
    )

    account_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="account_id")
    notice_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="id")
    disclosure_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, name="disclosure_id")
    request_id: Mapped[UUID | None] = exported(Category.ACCOUNT, Uuid, nullable=True, name="request_id")
    concerns: Mapped[UUID | None] = withheld(Category.OPERATION, Uuid, nullable=True, why=INTERNAL)
    kind: Mapped[str] = exported(Category.ACCOUNT, String, name="kind")
    categories: Mapped[list[str]] = exported(Category.ACCOUNT, ARRAY(String), name="categories")
    status: Mapped[str] = exported(Category.ACCOUNT, String, name="status")
    created_at: Mapped[datetime] = exported(Category.ACCOUNT, UTC_TIME, name="created_at")
    told_at: Mapped[datetime | None] = exported(Category.ACCOUNT, UTC_TIME, nullable=True, name="told_at")


class OwnerReplacement(ControllerBase):
    """That staff makes a person an owner after a documented check of the company, once the waiting time is over."""

    __tablename__ = "owner_replacements"
    __table_args__ = (
        ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
        ForeignKeyConstraint(["account_id", "person_id"], ["people.account_id", "people.person_id"], ondelete="CASCADE"),
        CheckConstraint("status IN ('waiting', 'done', 'stopped')", name="status"),
        Index("ix_owner_replacements_open", "effective_at", postgresql_where=text("status = 'waiting'")),
        about(Erasure.ROWS, member="owner_replacements.json"),
    )

    account_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="account_id")
    replacement_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="id")
    person_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, name="person_id")
    status: Mapped[str] = exported(Category.ACCOUNT, String, name="status")
    # {documents, note}: what of the company was checked, and how.
    evidence: Mapped[bytes] = exported(Category.ACCOUNT, LargeBinary, name="evidence", sealed=REPLACEMENT)
    checked_by: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    requested_at: Mapped[datetime] = exported(Category.ACCOUNT, UTC_TIME, name="requested_at")
    effective_at: Mapped[datetime] = exported(Category.ACCOUNT, UTC_TIME, name="effective_at")
    ended_at: Mapped[datetime | None] = exported(Category.ACCOUNT, UTC_TIME, nullable=True, name="ended_at")
    version: Mapped[int] = withheld(Category.OPERATION, Integer, why=INTERNAL)


class PolicyAnnouncement(ControllerBase):
    """That a person was told of a major change of the policy, and when they said that they saw it."""

    __tablename__ = "policy_announcements"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "person_id"], ["people.account_id", "people.person_id"], ondelete="CASCADE"),
        about(Erasure.ROWS, member="policy_announcements.json"),
    )

    account_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="account_id")
    person_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="person_id")
    policy_version: Mapped[str] = exported(Category.ACCOUNT, String, primary_key=True, name="policy_version")
    announced_at: Mapped[datetime] = exported(Category.ACCOUNT, UTC_TIME, name="announced_at")
    seen_at: Mapped[datetime | None] = exported(Category.ACCOUNT, UTC_TIME, nullable=True, name="seen_at")
