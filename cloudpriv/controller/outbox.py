"""The outbox: mail that is to reach a person, as rows that say to whom and why, and nothing else.

Address, name and text are looked up and opened when the mail is sent, so that no row, job or log holds them, and what was
rectified or erased in between is so for the mail too (`delivery`). Only a mail to an address that is registered no more has
that along, sealed, until the mail has ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Uuid,
    insert,
    text,
)
from sqlalchemy.orm import Mapped

from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.platform.classify import Category, Erasure, about, withheld
from cloudpriv.platform.db import ControllerBase, Tx
from cloudpriv.platform.ids import new_id

ADDRESSEE: Final = "outbox.addressee"  # what values are sealed for (see platform.keys)
WHY_ADDRESSEE: Final = "where the last mail to an address goes that is registered no more; erased once that mail has ended"
WHY: Final = "that a mail was to be sent, without its content; kept for 30 days"
UTC_TIME: Final = DateTime(timezone=True)


class Mail(ControllerBase):
    """One mail to one person; `next_try_at` is when a worker may take it (again). Without a person it is for nobody."""

    __tablename__ = "outbox"
    __table_args__ = (
        ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
        ForeignKeyConstraint(
            ["account_id", "person_id"],
            ["people.account_id", "people.person_id"],
            ondelete="SET NULL (person_id)",
        ),
        CheckConstraint("status IN ('queued', 'sent', 'failed', 'dropped')", name="status"),
        Index(None, "account_id", "person_id"),
        Index("ix_outbox_open", "next_try_at", postgresql_where=text("status = 'queued'")),
        Index(None, "created_at"),
        about(Erasure.ROWS, why=WHY),
    )

    mail_id: Mapped[UUID] = withheld(Category.OPERATION, Uuid, primary_key=True, why=WHY)
    account_id: Mapped[UUID | None] = withheld(Category.OPERATION, Uuid, nullable=True, why=WHY)
    person_id: Mapped[UUID | None] = withheld(Category.OPERATION, Uuid, nullable=True, why=WHY)
    # What the mail is about: a request, a code, a consent; its kind says which.
    subject_id: Mapped[UUID | None] = withheld(Category.OPERATION, Uuid, nullable=True, why=WHY)
    addressee: Mapped[bytes | None] = withheld(
        Category.IDENTIFICATION, LargeBinary, nullable=True, sealed=ADDRESSEE, why=WHY_ADDRESSEE
    )
    kind: Mapped[str] = withheld(Category.OPERATION, String, why=WHY)
    status: Mapped[str] = withheld(Category.OPERATION, String, why=WHY)
    failure: Mapped[str | None] = withheld(Category.OPERATION, String, nullable=True, why=WHY)
    attempts: Mapped[int] = withheld(Category.OPERATION, Integer, why=WHY)
    created_at: Mapped[datetime] = withheld(Category.OPERATION, UTC_TIME, why=WHY)
    next_try_at: Mapped[datetime] = withheld(Category.OPERATION, UTC_TIME, why=WHY)
    sent_at: Mapped[datetime | None] = withheld(Category.OPERATION, UTC_TIME, nullable=True, why=WHY)


@dataclass(frozen=True)
class Addressee:
    """An address that is registered no more, or will not be, and the language of whose it was."""

    email: str
    locale: str | None


def queue_mail(tx: Tx, kind: str, account_id: UUID | None, person_id: UUID | None, subject_id: UUID | None = None) -> UUID:
    """Have a mail of `kind` about `subject_id` sent to a person once the unit of work has committed; its id.

    One for nobody is dropped by the worker: so the work does not show whether there is somebody. Kinds that go to somebody
    else than a person of the account find whom by `subject_id`.
    """
    [mail_id] = queue_mails(tx, kind, [(account_id, person_id)], subject_id)
    tx.wake.append(("mail", mail_id))
    return mail_id


def queue_mails(
    tx: Tx, kind: str, readers: Sequence[tuple[UUID | None, UUID | None]], subject_id: UUID | None = None
) -> list[UUID]:
    """Have a mail of `kind` sent to each person (by account and id) when the sweep finds it; their ids."""
    made = {new_id(): reader for reader in readers}
    same = _queued(tx, kind, subject_id)
    rows = [
        {"mail_id": mail_id, "account_id": account_id, "person_id": person_id, **same}
        for mail_id, (account_id, person_id) in made.items()
    ]
    if rows:
        tx.session.execute(insert(Mail), rows)
    return list(made)


def queue_mail_to(tx: Tx, kind: str, account: OpenedAccount, addressee: Addressee, subject_id: UUID | None = None) -> UUID:
    """Have a mail of `kind` sent to an address that nobody in the account has any more; the row keeps it until then.

    It names no person, so that it outlives the erasure of the one whose address it was.
    """
    mail_id = new_id()
    sealed = account.key.seal(mail_id, ADDRESSEE, {"email": addressee.email, "locale": addressee.locale})
    of_account = {"mail_id": mail_id, "account_id": account.row.account_id, "addressee": sealed}
    tx.session.execute(insert(Mail).values(**_queued(tx, kind, subject_id), **of_account))
    tx.wake.append(("mail", mail_id))
    return mail_id


def _queued(tx: Tx, kind: str, subject_id: UUID | None) -> dict[str, Any]:
    """What every row begins with."""
    times = {"created_at": tx.now, "next_try_at": tx.now}
    return {"kind": kind, "subject_id": subject_id, "status": "queued", "attempts": 0, **times}
