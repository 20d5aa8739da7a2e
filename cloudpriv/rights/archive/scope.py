"""Whose data an archive holds: all of an account's, or that of one person in it and of nobody else.

Which rows are a person's follows from the tables: those that name the person, and those that hang on such rows. A table
that has neither holds nothing of a person, and is not in that person's archive.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    Column,
    ColumnElement,
    ForeignKeyConstraint,
    Select,
    Table,
    and_,
    case,
    false,
    null,
    or_,
    select,
    true,
    tuple_,
)

from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.holder_tables import Disclosure
from cloudpriv.controller.tables import Account, Person
from cloudpriv.platform.classify import Category, classification_of, exported_columns
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.rights.tables import SubjectRequest

PERSON: Final = "person_id"
CONCERNS: Final = "concerns"  # whom a row is about that hangs on one which is everybody's
# What was disclosed of the account as a whole was disclosed of everybody in it (Article 15(1)(c)).
OF_EVERYBODY: Final = frozenset({Disclosure.__tablename__})
# Of a document that is the account's, what a person in it is told: what they sign in with, and who received their data.
TOLD_TO_PEOPLE: Final = frozenset({"account_name", "recipient", "purpose"})


@dataclass(frozen=True)
class Scope:
    """The account, and the person if it is one person's archive; `hidden` are those whom only a legal hold keeps."""

    account: OpenedAccount
    person_id: UUID | None
    hidden: frozenset[UUID] = frozenset()

    @property
    def account_id(self) -> UUID:
        """The account's id."""
        account_id: UUID = self.account.row.account_id
        return account_id

    def columns(self, table: Table) -> dict[str, ColumnElement[Any]]:
        """The columns of a table that are shown, by the names that they are shown under."""
        shown = exported_columns(table)
        if self.person_id is not None and table.name == Account.__tablename__:
            return {name: column for name, column in shown.items() if _is_told(column)}
        return {name: self._named(column) for name, column in shown.items()}

    def rows(self, table: Table) -> ColumnElement[bool] | None:
        """Which rows of a table are shown; None when the table holds nothing of the person."""
        of_account = table.columns["account_id"] == self.account_id
        own = self._not_hidden(table) if self.person_id is None else self._own(table, self.person_id)
        return None if own is None else and_(of_account, own)

    def select(self, table: Table, *columns: ColumnElement[Any]) -> Select[Any]:
        """These columns of the rows that are shown. Raises ValueError for a table that holds nothing of the person."""
        shown = self.rows(table)
        if shown is None:
            raise ValueError(f"{table.name} holds nothing of a person")
        return select(*columns).select_from(table).where(shown)

    def told(self, table: Table, row: dict[str, Any]) -> dict[str, Any]:
        """The same row, and of the account's own documents only what a person in it is told.

        Who verified an identity is told by kind, not by id; what others asked about themselves, by what and when alone.
        """
        if table.name == SubjectRequest.__tablename__:
            return self._request(row)
        if (
            self.person_id is None
            or row.get(PERSON) == self.person_id
            or table.name not in {Account.__tablename__, *OF_EVERYBODY}
        ):
            return row
        return {name: _reduced(value) for name, value in row.items()}

    def _request(self, row: dict[str, Any]) -> dict[str, Any]:
        verified_by = row["identity_verified_by"]
        row = {**row, "identity_verified_by": verified_by and verified_by.partition(":")[0]}
        own = self.person_id is not None or row["scope"] == "account"
        return row if own else {**row, "details": None, "ground": None}

    def _named(self, column: Column[Any]) -> ColumnElement[Any]:
        """The column; where rows stay that name people who are hidden, without naming them."""
        if column.name == PERSON and self.hidden and not column.primary_key and _is_long(column.table):
            return case((column.in_(self.hidden), null()), else_=column)
        return column

    def _not_hidden(self, table: Table) -> ColumnElement[bool]:
        if not self.hidden or PERSON not in table.columns or _is_long(table):
            return true()
        person = table.columns[PERSON]
        return or_(person.is_(None), person.not_in(self.hidden))

    def _own(self, table: Table, person_id: UUID) -> ColumnElement[bool] | None:
        if table.name == Account.__tablename__:
            return true()
        if PERSON in table.columns:
            person = table.columns[PERSON]
            own = person == person_id
            return or_(own, table.columns["scope"] == "account") if table.name in OF_EVERYBODY else own
        return next(
            (self._hanging_on(each) for each in sorted(table.foreign_key_constraints, key=str) if _is_close(each)), None
        )

    def _hanging_on(self, key: ForeignKeyConstraint) -> ColumnElement[bool]:
        """That a row refers to a row which is shown."""
        shown = self.rows(key.referred_table)
        referred = select(*(element.column for element in key.elements))
        refers = tuple_(*key.columns).in_(referred.where(false() if shown is None else shown))
        if CONCERNS not in key.table.columns:
            return refers
        concerns = key.table.columns[CONCERNS]  # what is everybody's may be told of another of them
        return and_(refers, or_(concerns.is_(None), concerns == self.person_id))


def scope_of(tx: Tx, account: OpenedAccount, scope: str, person_id: UUID | None) -> Scope:
    """The scope of an export. Raises NotFoundError for that of a person who is not there any more."""
    hidden = frozenset(
        tx.session.scalars(
            select(Person.person_id).where(
                Person.account_id == account.row.account_id, Person.erasure_requested_at.is_not(None)
            )
        )
    )
    if scope == "account":
        return Scope(account, None, hidden)
    if person_id is None or person_id in hidden or tx.session.get(Person, (account.row.account_id, person_id)) is None:
        raise NotFoundError
    return Scope(account, person_id, hidden)


def _is_long(table: Table) -> bool:
    """Whether a table is one of millions of rows, which stay when the people that they name go."""
    return str(table.info["member"]).endswith(".csv")


def _is_close(key: ForeignKeyConstraint) -> bool:
    """Whether every row refers by a key to one that may be a person's."""
    return PERSON in key.referred_table.columns and not any(column.nullable for column in key.columns)


def _is_told(column: Column[Any]) -> bool:
    mark = classification_of(column)
    return mark is not None and (mark.category is Category.ACCOUNT or mark.sealed is not None)


def _reduced(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {name: member for name, member in value.items() if name in TOLD_TO_PEOPLE}
