"""Tables of the proof: what is yet to be logged, the Merkle tree, its signed checkpoints, and certificates."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, DateTime, Index, Integer, LargeBinary, String, Uuid
from sqlalchemy.orm import Mapped

from cloudpriv.platform.classify import Category, Erasure, about, withheld
from cloudpriv.platform.db import ControllerBase

OPERATION: Final = Category.OPERATION
WHY: Final = "proof of what was done, without personal data"
UTC_TIME: Final = DateTime(timezone=True)


class PendingEntry(ControllerBase):
    """An audit event or certificate that is not in the log yet; written in the transaction of what it names."""

    __tablename__ = "log_pending"
    __table_args__ = (about(Erasure.KEPT, why=WHY),)

    entry_id: Mapped[UUID] = withheld(OPERATION, Uuid, primary_key=True, why=WHY)


class Log(ControllerBase):
    """An append-only log (RFC 9162, 2.1). After a restore a new one begins: the former grew on without this database."""

    __tablename__ = "logs"
    __table_args__ = (about(Erasure.KEPT, why=WHY),)

    log: Mapped[int] = withheld(OPERATION, Integer, primary_key=True, autoincrement=False, why=WHY)
    origin: Mapped[str] = withheld(OPERATION, String, why=WHY)
    vkey: Mapped[str] = withheld(OPERATION, String, why=WHY)
    size: Mapped[int] = withheld(OPERATION, BigInteger, why=WHY)
    begun_at: Mapped[datetime] = withheld(OPERATION, UTC_TIME, why=WHY)


class LogTile(ControllerBase):
    """Up to 256 hashes of one level of the tree, side by side (C2SP tlog-tiles), and on level 0 what they are of."""

    __tablename__ = "log_tiles"
    __table_args__ = (about(Erasure.KEPT, why=WHY),)

    log: Mapped[int] = withheld(OPERATION, Integer, primary_key=True, why=WHY)
    level: Mapped[int] = withheld(OPERATION, Integer, primary_key=True, why=WHY)
    number: Mapped[int] = withheld(OPERATION, BigInteger, primary_key=True, why=WHY)
    hashes: Mapped[bytes] = withheld(OPERATION, LargeBinary, why=WHY)
    entries: Mapped[list[UUID]] = withheld(OPERATION, ARRAY(Uuid), why=WHY)


class Checkpoint(ControllerBase):
    """A signed tree head (C2SP tlog-checkpoint), at most one of each size, which lies in the ledger's bucket too."""

    __tablename__ = "checkpoints"
    __table_args__ = (about(Erasure.KEPT, why=WHY),)

    log: Mapped[int] = withheld(OPERATION, Integer, primary_key=True, why=WHY)
    size: Mapped[int] = withheld(OPERATION, BigInteger, primary_key=True, why=WHY)
    note: Mapped[str] = withheld(OPERATION, String, why=WHY)
    signed_at: Mapped[datetime] = withheld(OPERATION, UTC_TIME, why=WHY)


class Certificate(ControllerBase):
    """The certificate of one erasure as it was signed, and where it stands in the log once it does."""

    __tablename__ = "certificates"
    __table_args__ = (
        Index(None, "purge_id", unique=True),
        Index(None, "log", "leaf_index"),
        about(Erasure.KEPT, why=WHY),
    )

    certificate_id: Mapped[UUID] = withheld(OPERATION, Uuid, primary_key=True, why=WHY)
    purge_id: Mapped[UUID] = withheld(OPERATION, Uuid, why=WHY)
    service: Mapped[str] = withheld(OPERATION, String, why=WHY)
    body: Mapped[bytes] = withheld(OPERATION, LargeBinary, why=WHY)
    signature: Mapped[str] = withheld(OPERATION, String, why=WHY)
    issued_at: Mapped[datetime] = withheld(OPERATION, UTC_TIME, why=WHY)
    log: Mapped[int | None] = withheld(OPERATION, Integer, nullable=True, why=WHY)
    leaf_index: Mapped[int | None] = withheld(OPERATION, BigInteger, nullable=True, why=WHY)
