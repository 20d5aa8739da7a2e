"""Tables of accounts, people, credentials, devices and traffic (design, section 3).

Every primary key begins with `account_id`, and every foreign key and unique constraint contains it, so that one account's
rows lie together and the schema runs sharded unchanged. The directory alone stands apart: it finds an account by name.
"""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import Mapped

from cloudpriv.platform.classify import Category, Erasure, about, exported, withheld
from cloudpriv.platform.db import ControllerBase

INTERNAL: Final = "internal to the service; says nothing about a person"
INDEX: Final = "keyed hash of a value that is exported in the clear"
GUARD: Final = "a secret that protects the account; its existence is exported"
UTC_TIME: Final = DateTime(timezone=True)

# What values are sealed for (see platform.keys): in the marks, so that the export opens them without a list of tables.
PROFILE: Final = "account.profile"
PERSON_IDENTITY: Final = "person.identity"
DEVICE_IDENTITY: Final = "device.identity"
PASSWORD: Final = "credential.password"  # noqa: S105  the name of a purpose
HINT: Final = "credential.hint"


def _of_account() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["account_id"], ["accounts.account_id"])


def _of_person(*, on_delete: str | None = None) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["account_id", "person_id"], ["people.account_id", "people.person_id"], ondelete=on_delete)


class Account(ControllerBase):
    """A service account of a customer; `last_traffic_at` only ever grows and is written by ingest."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("status IN ('active', 'restricted', 'closing', 'purging')", name="status"),
        Index(None, "service", "account_id"),
        Index("ix_accounts_activity", text("GREATEST(created_at, last_traffic_at)")),
        Index("ix_accounts_restriction", "restriction_ends_at", postgresql_where=text("restriction_ends_at IS NOT NULL")),
        about(Erasure.ROWS, member="account.json"),
    )

    account_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="id")
    service: Mapped[str] = exported(Category.ACCOUNT, String, name="service")
    status: Mapped[str] = exported(Category.ACCOUNT, String, name="status")
    profile: Mapped[bytes] = exported(Category.IDENTIFICATION, LargeBinary, name="profile", sealed=PROFILE)
    created_at: Mapped[datetime] = exported(Category.ACCOUNT, UTC_TIME, name="created_at")
    last_traffic_at: Mapped[datetime | None] = exported(Category.TRAFFIC, UTC_TIME, nullable=True, name="last_traffic_at")
    # While it is closing: the end of the cooling-off, until which its owner may undo it.
    closes_at: Mapped[datetime | None] = exported(Category.ACCOUNT, UTC_TIME, nullable=True, name="closes_at")
    # When that was decided, however often its end was put off since.
    closing_since: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=INTERNAL)
    # By whom its processing is restricted, also while it is closing; and when and why that ends, once it has been decided.
    restricted_for: Mapped[list[str] | None] = exported(
        Category.ACCOUNT, ARRAY(String), nullable=True, name="restricted_for"
    )
    restriction_ends_at: Mapped[datetime | None] = exported(
        Category.ACCOUNT, UTC_TIME, nullable=True, name="restriction_ends_at"
    )
    restriction_end_ground: Mapped[str | None] = exported(
        Category.ACCOUNT, String, nullable=True, name="restriction_end_ground"
    )
    version: Mapped[int] = withheld(Category.OPERATION, Integer, why=INTERNAL)


class AccountKey(ControllerBase):
    """The account's wrapped data key; deleting this row makes all that is sealed under it unreadable."""

    __tablename__ = "account_keys"
    __table_args__ = (_of_account(), about(Erasure.ROWS, why=GUARD))

    account_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, primary_key=True, why=GUARD)
    kek_id: Mapped[str] = withheld(Category.OPERATION, String, why=GUARD)
    wrapped: Mapped[bytes] = withheld(Category.OPERATION, LargeBinary, why=GUARD)


class DirectoryEntry(ControllerBase):
    """Account name to account, unique per service, by blind index under the plane's index key."""

    __tablename__ = "directory"
    __table_args__ = (_of_account(), Index(None, "account_id"), about(Erasure.ROWS, why=INDEX))

    service: Mapped[str] = withheld(Category.ACCOUNT, String, primary_key=True, why=INDEX)
    name_index: Mapped[bytes] = withheld(Category.ACCOUNT, LargeBinary, primary_key=True, why=INDEX)
    account_id: Mapped[UUID] = withheld(Category.ACCOUNT, Uuid, why=INDEX)


class Person(ControllerBase):
    """A user of the account: the data subject (GDPR Article 4(1))."""

    __tablename__ = "people"
    __table_args__ = (
        _of_account(),
        CheckConstraint("role IN ('owner', 'member')", name="role"),
        Index("uq_people_username", "account_id", "username_index", unique=True),
        Index("ix_people_erasure", "erasure_requested_at", postgresql_where=text("erasure_requested_at IS NOT NULL")),
        Index("ix_people_restriction", "restriction_ends_at", postgresql_where=text("restriction_ends_at IS NOT NULL")),
        about(Erasure.ROWS, member="people.json"),
    )

    account_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="account_id")
    person_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="id")
    username_index: Mapped[bytes] = withheld(Category.ACCOUNT, LargeBinary, why=INDEX)
    role: Mapped[str] = exported(Category.ACCOUNT, String, name="role")
    identity: Mapped[bytes] = exported(Category.IDENTIFICATION, LargeBinary, name="identity", sealed=PERSON_IDENTITY)
    created_at: Mapped[datetime] = exported(Category.ACCOUNT, UTC_TIME, name="created_at")
    version: Mapped[int] = withheld(Category.OPERATION, Integer, why=INTERNAL)
    # Since when the processing of this person's data is restricted (GDPR Article 18).
    restricted_at: Mapped[datetime | None] = exported(Category.ACCOUNT, UTC_TIME, nullable=True, name="restricted_at")
    # As of an account.
    restricted_for: Mapped[list[str] | None] = exported(
        Category.ACCOUNT, ARRAY(String), nullable=True, name="restricted_for"
    )
    # When each of these was asked for last, in their order.
    restriction_asked_at: Mapped[list[datetime] | None] = withheld(
        Category.OPERATION, ARRAY(UTC_TIME), nullable=True, why=INTERNAL
    )
    restriction_ends_at: Mapped[datetime | None] = exported(
        Category.ACCOUNT, UTC_TIME, nullable=True, name="restriction_ends_at"
    )
    restriction_end_ground: Mapped[str | None] = exported(
        Category.ACCOUNT, String, nullable=True, name="restriction_end_ground"
    )
    # Set while a hold keeps what was asked to be erased: nobody uses it meanwhile, and it goes when the hold ends.
    erasure_requested_at: Mapped[datetime | None] = withheld(
        Category.OPERATION, UTC_TIME, nullable=True, why="whoever has it set is in no export"
    )


class Credential(ControllerBase):
    """A person's password as an argon2id PHC string and the hint, both sealed: no hash to guess at outlives the key."""

    __tablename__ = "credentials"
    __table_args__ = (_of_person(on_delete="CASCADE"), about(Erasure.ROWS, member="credentials.json"))

    account_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="account_id")
    person_id: Mapped[UUID] = exported(Category.ACCOUNT, Uuid, primary_key=True, name="person_id")
    password_hash: Mapped[bytes] = withheld(Category.CREDENTIALS, LargeBinary, why=GUARD, sealed=PASSWORD)
    hint: Mapped[bytes | None] = withheld(Category.CREDENTIALS, LargeBinary, nullable=True, why=GUARD, sealed=HINT)
    changed_at: Mapped[datetime] = exported(Category.CREDENTIALS, UTC_TIME, name="password_changed_at")


class Device(ControllerBase):
    """A connected hardware device; a removed one stays known for the traffic that names it."""

    __tablename__ = "devices"
    __table_args__ = (
        _of_account(),
        Index("uq_devices_serial", "account_id", "serial_index", unique=True, postgresql_where=text("removed_at IS NULL")),
        Index("uq_devices_common_name", "account_id", "common_name_index", unique=True,
              postgresql_where=text("removed_at IS NULL")),
        about(Erasure.ROWS, member="devices.json"),
    )  # fmt: skip

    account_id: Mapped[UUID] = exported(Category.DEVICES, Uuid, primary_key=True, name="account_id")
    device_id: Mapped[UUID] = exported(Category.DEVICES, Uuid, primary_key=True, name="id")
    serial_index: Mapped[bytes] = withheld(Category.DEVICES, LargeBinary, why=INDEX)
    common_name_index: Mapped[bytes | None] = withheld(Category.DEVICES, LargeBinary, nullable=True, why=INDEX)
    identity: Mapped[bytes] = exported(Category.DEVICES, LargeBinary, name="identity", sealed=DEVICE_IDENTITY)
    kind: Mapped[str | None] = exported(Category.DEVICES, String, nullable=True, name="kind")
    registered_at: Mapped[datetime] = exported(Category.DEVICES, UTC_TIME, name="registered_at")
    last_seen_at: Mapped[datetime | None] = exported(Category.DEVICES, UTC_TIME, nullable=True, name="last_seen_at")
    removed_at: Mapped[datetime | None] = exported(Category.DEVICES, UTC_TIME, nullable=True, name="removed_at")
    version: Mapped[int] = withheld(Category.OPERATION, Integer, why=INTERNAL)


class TrafficSession(ControllerBase):
    """Traffic metadata of one session of a device; counters and end times only grow."""

    __tablename__ = "traffic"
    __table_args__ = (
        ForeignKeyConstraint(["account_id", "device_id"], ["devices.account_id", "devices.device_id"]),
        ForeignKeyConstraint(
            ["account_id", "person_id"],
            ["people.account_id", "people.person_id"],
            ondelete="SET NULL (person_id)",
        ),
        CheckConstraint("ended_at >= started_at", name="times"),
        CheckConstraint("bytes_from_device >= 0 AND bytes_to_device >= 0", name="bytes"),
        CheckConstraint("octet_length(session_key) = 16", name="session_key"),
        Index("ix_traffic_time", "account_id", "started_at", "session_key"),
        Index("ix_traffic_person", "account_id", "person_id", postgresql_where=text("person_id IS NOT NULL")),
        about(Erasure.ROWS, member="traffic.csv", order=("started_at", "session_key")),
    )

    account_id: Mapped[UUID] = exported(Category.TRAFFIC, Uuid, primary_key=True, name="account_id")
    session_key: Mapped[bytes] = exported(Category.TRAFFIC, LargeBinary, primary_key=True, name="session")
    device_id: Mapped[UUID] = exported(Category.TRAFFIC, Uuid, name="device_id")
    person_id: Mapped[UUID | None] = exported(Category.TRAFFIC, Uuid, nullable=True, name="person_id")
    started_at: Mapped[datetime] = exported(Category.TRAFFIC, UTC_TIME, name="started_at")
    ended_at: Mapped[datetime | None] = exported(Category.TRAFFIC, UTC_TIME, nullable=True, name="ended_at")
    bytes_from_device: Mapped[int] = exported(Category.TRAFFIC, BigInteger, name="bytes_from_device")
    bytes_to_device: Mapped[int] = exported(Category.TRAFFIC, BigInteger, name="bytes_to_device")
    protocol: Mapped[str | None] = exported(Category.TRAFFIC, String, nullable=True, name="protocol")
    remote_address: Mapped[IPv4Address | IPv6Address | None] = exported(
        Category.TRAFFIC, INET, nullable=True, name="remote_address"
    )
    end_reason: Mapped[str | None] = exported(Category.TRAFFIC, String, nullable=True, name="end_reason")
    received_at: Mapped[datetime] = exported(Category.TRAFFIC, UTC_TIME, name="received_at")


class LogDataTraffic(ControllerBase):
    """That an account's log data had traffic: how the processor plane tells it, in a box that it can only put into.

    What is found here moves the account's `last_traffic_at`; a telling of an account that is gone is dropped.
    """

    __tablename__ = "log_data_traffic"
    __table_args__ = (about(Erasure.ROWS, why=INTERNAL),)

    account_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, primary_key=True, why=INTERNAL)
    told_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, primary_key=True, why=INTERNAL)
    at: Mapped[datetime] = withheld(Category.TRAFFIC, UTC_TIME, why=INTERNAL)
