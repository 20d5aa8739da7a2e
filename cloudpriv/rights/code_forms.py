"""Forms to type one-time codes in, as rows: made, found, kept and ended for `rights.codes`, which says what they are."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import Boolean, Integer, String, Uuid

from cloudpriv.controller.holder_tables import OneTimeCode
from cloudpriv.controller.tables import Person
from cloudpriv.platform.db import Tx
from cloudpriv.platform.ids import new_id

Purpose = Literal["identity", "password"]
LASTS: Final = timedelta(minutes=15)
TRIES: Final = 5  # in a form
FORMS: Final = 200  # of a person at a time for one purpose, which nobody but those can use up who make 1,000 tries
UTC_TIME: Final = TIMESTAMP(timezone=True)


@dataclass(frozen=True)
class Asked:
    """What is counted together: forms of a person for one purpose, and strangers' apart from those of a known browser."""

    account_id: UUID
    person_id: UUID
    purpose: Purpose
    subject_id: UUID | None
    known: bool


def lock_person(tx: Tx, account_id: UUID, person_id: UUID) -> None:
    """One at a time for a person: so nobody gets a form too many, and nobody waits for a form while holding the person."""
    of_person = (Person.account_id == account_id, Person.person_id == person_id)
    tx.session.scalar(select(Person.person_id).where(*of_person).with_for_update(key_share=True))


def make(tx: Tx, asked: Asked, *, mailed: bool, free: bool) -> UUID | None:
    """The id of a new form; None for nobody, and unless there is one free."""
    columns = {
        "account_id": Person.account_id,
        "code_id": literal(new_id(), Uuid),
        "person_id": Person.person_id,
        "purpose": literal(asked.purpose, String),
        "subject_id": literal(asked.subject_id, Uuid),
        "known": literal(asked.known, Boolean),
        "mailed": literal(mailed, Boolean),
        "tries": literal(0, Integer),
        "created_at": literal(tx.now, UTC_TIME),
        "expires_at": literal(tx.now + LASTS, UTC_TIME),
    }
    query = select(*columns.values()).where(
        Person.account_id == asked.account_id,
        Person.person_id == asked.person_id,
        Person.erasure_requested_at.is_(None),
        literal(int(free), Integer) == 1,
    )
    return tx.session.scalar(insert(OneTimeCode).from_select(list(columns), query).returning(OneTimeCode.code_id))


def renew(tx: Tx, account_id: UUID, code_id: UUID) -> None:
    """Have a form that somebody else asked for last as long as a new one, unless it is used up."""
    of_it = (OneTimeCode.account_id == account_id, OneTimeCode.code_id == code_id, OneTimeCode.tries < TRIES)
    tx.session.execute(update(OneTimeCode).where(*of_it).values(expires_at=tx.now + LASTS))


def live(tx: Tx, asked: Asked) -> ColumnElement[bool]:
    """Which rows are a person's for one purpose, whoever asked for them, and are not over."""
    return and_(
        OneTimeCode.account_id == asked.account_id,
        OneTimeCode.person_id == asked.person_id,
        OneTimeCode.purpose == asked.purpose,
        OneTimeCode.subject_id.is_not_distinct_from(literal(asked.subject_id, Uuid)),
        OneTimeCode.used_at.is_(None),
        OneTimeCode.expires_at > tx.now,
    )


def spare(tx: Tx, asked: Asked) -> OneTimeCode | None:
    """The form that strangers who were given none share: the one least typed in, of those that asking had last longer."""
    of_it = and_(live(tx, asked), ~OneTimeCode.known, ~OneTimeCode.mailed)
    is_shared = OneTimeCode.expires_at > OneTimeCode.created_at + LASTS
    full = select(func.count()).where(of_it).scalar_subquery() >= FORMS
    of_all = (of_it, OneTimeCode.tries < TRIES, or_(is_shared, full))
    query = select(OneTimeCode).where(*of_all).order_by(OneTimeCode.tries).limit(1)
    return tx.session.scalar(query.with_for_update().execution_options(populate_existing=True))


def end(tx: Tx, live: ColumnElement[bool], account_id: UUID, code_id: UUID) -> None:
    """Mark a code used, and have every other one of the same end."""
    of_it = (OneTimeCode.account_id == account_id, OneTimeCode.code_id == code_id)
    tx.session.execute(update(OneTimeCode).where(*of_it).values(used_at=tx.now))
    tx.session.execute(update(OneTimeCode).where(live).values(expires_at=tx.now))


def is_open(row: OneTimeCode, tx: Tx) -> bool:
    """Whether something may still be typed in the form."""
    return row.used_at is None and row.tries < TRIES and tx.now < row.expires_at


def purpose_of(row: OneTimeCode) -> tuple[str, UUID | None]:
    return row.purpose, row.subject_id
