"""Tables of what account holders do themselves: sessions of the portal, one-time codes, consents; and of disclosures."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped

from cloudpriv.controller.tables import GUARD, INTERNAL
from cloudpriv.platform.classify import Category, Erasure, about, exported, withheld
from cloudpriv.platform.db import ControllerBase

UTC_TIME: Final = DateTime(timezone=True)

# What values are sealed for (see platform.keys).
SESSION: Final = "holder_session.browser"
CONSENT: Final = "consent.record"
DISCLOSURE: Final = "disclosure.details"


def _of_account() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["account_id"], ["accounts.account_id"])


def _of_person(*, on_delete: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["account_id", "person_id"], ["people.account_id", "people.person_id"], ondelete=on_delete)


class HolderSession(ControllerBase):
    """A session of a person in the portal: its cookie holds ids and a secret, of which the hash stands here.

    `password_at` is when the password was last given: what needs a fresh check looks at it.
    """

    __tablename__ = "holder_sessions"
    __table_args__ = (
        _of_person(on_delete="CASCADE"),
        Index(None, "expires_at"),
        about(Erasure.ROWS, member="sessions.json"),
    )

    account_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="account_id")
    session_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="id")
    person_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, name="person_id")
    secret_hash: Mapped[bytes] = withheld(Category.CREDENTIALS, LargeBinary, why=GUARD)
    browser: Mapped[bytes] = exported(Category.ACCOUNT, LargeBinary, name="browser", sealed=SESSION)
    created_at: Mapped[datetime] = exported(Category.ACCOUNT, UTC_TIME, name="created_at")
    last_seen_at: Mapped[datetime] = exported(Category.ACCOUNT, UTC_TIME, name="last_seen_at")
    password_at: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=INTERNAL)
    expires_at: Mapped[datetime] = exported(Category.ACCOUNT, UTC_TIME, name="expires_at")


class OneTimeCode(ControllerBase):
    """A one-time code that is mailed to a person: good for one use and a few tries, until `expires_at`.

    The code itself stands nowhere, nor a hash that could be guessed at: it follows from its id under the account's key. One
    that is not `mailed` is a form alone, where codes that were mailed are typed. `known` ones were asked for in a browser
    that the person signed in from before.
    """

    __tablename__ = "one_time_codes"
    __table_args__ = (
        _of_person(on_delete="CASCADE"),
        CheckConstraint("purpose IN ('identity', 'password')", name="purpose"),
        Index(None, "expires_at"),
        about(Erasure.ROWS, why=GUARD),
    )

    account_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, primary_key=True, why=GUARD)
    code_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, primary_key=True, why=GUARD)
    person_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, why=GUARD)
    purpose: Mapped[str] = withheld(Category.OPERATION, String, why=GUARD)
    subject_id: Mapped[UUID | None] = withheld(Category.OPERATION, Uuid, nullable=True, why=GUARD)
    known: Mapped[bool] = withheld(Category.OPERATION, Boolean, why=GUARD)
    mailed: Mapped[bool] = withheld(Category.OPERATION, Boolean, why=GUARD)
    tries: Mapped[int] = withheld(Category.OPERATION, Integer, why=GUARD)
    created_at: Mapped[datetime] = withheld(Category.OPERATION, UTC_TIME, why=GUARD)
    expires_at: Mapped[datetime] = withheld(Category.OPERATION, UTC_TIME, why=GUARD)
    used_at: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=GUARD)


class ConsentRecord(ControllerBase):
    """One event in the history of a person's consent to one purpose (ISO/IEC TS 27560): appended, never changed.

    Events are numbered from 1, whatever clocks say, and no two can follow the same one. `record` has what the person was
    shown, and how they said so.
    """

    __tablename__ = "consent_records"
    __table_args__ = (
        _of_person(on_delete="CASCADE"),
        CheckConstraint("purpose IN ('product_news', 'surveys')", name="purpose"),
        CheckConstraint("state IN ('requested', 'given', 'withdrawal_requested', 'withdrawn', 'expired')", name="state"),
        UniqueConstraint("account_id", "person_id", "purpose", "number", name="uq_consent_records_number"),
        Index("ix_consent_records_open", "at", postgresql_where=text("state IN ('requested', 'withdrawal_requested')")),
        about(Erasure.ROWS, member="consents.json"),
    )

    account_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="account_id")
    consent_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="event_id")
    person_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, name="person_id")
    purpose: Mapped[str] = exported(Category.ACCOUNT, String, name="purpose")
    number: Mapped[int] = exported(Category.ACCOUNT, Integer, name="number")
    state: Mapped[str] = exported(Category.ACCOUNT, String, name="event_state")
    at: Mapped[datetime] = exported(Category.ACCOUNT, UTC_TIME, name="event_time")
    policy_version: Mapped[str] = exported(Category.ACCOUNT, String, name="policy_version")
    record: Mapped[bytes] = exported(Category.ACCOUNT, LargeBinary, name="record", sealed=CONSENT)


class Disclosure(ControllerBase):
    """That data of an account, or of one person in it, was given to a recipient (GDPR Articles 15(1)(c) and 19).

    `details` has {recipient, email, purpose, reference}; a country outside the European Economic Area has a safeguard. One
    of `scope` person tells nothing of others, also when the person is gone.
    """

    __tablename__ = "disclosures"
    __table_args__ = (
        _of_account(),
        _of_person(on_delete="SET NULL (person_id)"),
        CheckConstraint("country ~ '^[A-Z]{2}$'", name="country"),
        CheckConstraint("scope IN ('account', 'person')", name="scope"),
        about(Erasure.ROWS, member="disclosures.json"),
    )

    account_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="account_id")
    disclosure_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="id")
    person_id: Mapped[UUID | None] = exported(Category.ACCOUNT, Uuid, nullable=True, name="person_id")
    scope: Mapped[str] = exported(Category.ACCOUNT, String, name="scope")
    details: Mapped[bytes] = exported(Category.ACCOUNT, LargeBinary, name="details", sealed=DISCLOSURE)
    categories: Mapped[list[str]] = exported(Category.ACCOUNT, ARRAY(String), name="categories")
    country: Mapped[str] = exported(Category.ACCOUNT, String, name="country")
    safeguard: Mapped[str | None] = exported(Category.ACCOUNT, String, nullable=True, name="safeguard")
    disclosed_at: Mapped[datetime] = exported(Category.ACCOUNT, UTC_TIME, name="disclosed_at")
    recorded_by: Mapped[str] = withheld(Category.OPERATION, String, why=INTERNAL)
    recorded_at: Mapped[datetime] = withheld(Category.OPERATION, UTC_TIME, why=INTERNAL)
