"""What legal holds keep of an account, as SQL: told by classification and foreign keys, so a new table needs no word here.

A hold of a category keeps the rows of tables with columns of it, that of a person the rows that name the person. What a kept
row refers to by a foreign key stays as an empty row, since the database would not let it go.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Column, ForeignKeyConstraint, LargeBinary, Table

from cloudpriv.controller.tables import Person
from cloudpriv.platform.classify import Category, Classification, classification_of, erased_tables
from cloudpriv.platform.db import ControllerBase
from cloudpriv.retention.tables import Hold

METADATA: Final = ControllerBase.metadata
ALL: Final = "true"
NOTHING: Final = "false"


@dataclass(frozen=True)
class Scope:
    """All that some holds keep together: everything, or some categories and some people."""

    everything: bool
    categories: frozenset[str]
    people: list[UUID]


def scope_of(held: Sequence[Hold]) -> Scope:
    """The scope of these holds."""
    return Scope(
        any(hold.scope == "account" for hold in held),
        frozenset(hold.category for hold in held if hold.category is not None),
        [hold.person_id for hold in held if hold.person_id is not None],
    )


def unkept(table: Table, scope: Scope) -> str:
    """Whether the table's row `r` goes, provided that whatever refers to it and goes is gone already."""
    referring = (_refers(other, key) for other, key in _referring(table))
    return _none_of([_of_category(table, scope), _names_person(table, scope), *referring])


def emptied(table: Table, scope: Scope) -> tuple[str, str] | None:
    """For a row `r` that stays: what is set in it, and where; None when all columns stay.

    What serves no held category goes: sealed values and whatever may be null. A keyed hash becomes the row's own id, since
    it has to be unique. Keys stay, and what only runs the service.
    """
    going = [column for column, mark in _columns(table) if _may_go(mark, scope)]
    changes = {column.name: value for column in going if (value := _empty(table, column)) is not None}
    if not changes:
        return None
    left = _any_of([f"r.{name} IS DISTINCT FROM {value}" for name, value in changes.items()])
    settings = ", ".join(f"{name} = {value}" for name, value in changes.items())
    return settings, f"({left}) AND {_none_of([_names_person(table, scope)])}"


def sealed_kept(scope: Scope) -> str:
    """Whether a sealed value of the account is kept, and so its data key has to be."""
    looks = [
        _sealed_in(table, column, mark, scope) for table in _tables() for column, mark in _columns(table) if mark.sealed
    ]
    return _any_of(looks)


def categories_of(table: Table) -> frozenset[Category]:
    """The categories of personal data that a row holds, beside the ids that it is found by."""
    return frozenset(mark.category for _, mark in _columns(table)) - {Category.OPERATION}


@cache
def categories_of_people() -> frozenset[Category]:
    """The categories that the erasure of a person touches: of people's rows and of those that refer to them."""
    people = METADATA.tables[Person.__tablename__]
    concerned = (people, *(table for table, _ in _referring(people)))
    return frozenset(category for table in concerned for category in categories_of(table))


def is_referred_to(table: Table) -> bool:
    """Whether rows of other tables may refer to a row of this one."""
    return bool(_referring(table))


def going_with(table: Table) -> list[Table]:
    """The tables whose rows the database deletes with the row of `table` that they refer to."""
    return [other for other, key in _referring(table) if key.ondelete == "CASCADE"]


def said_in(table: Table, scope: Scope) -> Iterator[tuple[Table, list[str]]]:
    """The sealed columns, of rows that outlive the row of `table` which they refer to, that are emptied when it goes."""
    for other, key in _referring(table):
        if key.ondelete != "CASCADE":
            sealed = ((column, mark) for column, mark in _columns(other) if mark.sealed and column.nullable)
            going = [column.name for column, mark in sealed if _may_go(mark, scope)]
            if going:
                yield other, going


def _referring(table: Table) -> list[tuple[Table, ForeignKeyConstraint]]:
    return [(other, key) for other in _tables() for key in other.foreign_key_constraints if key.referred_table is table]


def _of_category(table: Table, scope: Scope) -> str:
    """A row holds something of a held category when a column of it has a value."""
    held = [column for column, mark in _columns(table) if mark.category in scope.categories]
    if any(not column.nullable for column in held):
        return ALL
    return _any_of([f"r.{column.name} IS NOT NULL" for column in held])


def _names_person(table: Table, scope: Scope) -> str:
    return "r.person_id = ANY (%(people)s)" if scope.people and "person_id" in table.columns else NOTHING


def _refers(other: Table, key: ForeignKeyConstraint) -> str:
    same = " AND ".join(f"d.{element.parent.name} = r.{element.column.name}" for element in key.elements)
    return f"EXISTS (SELECT FROM {other.name} d WHERE {same})"


def _sealed_in(table: Table, column: Column[Any], mark: Classification, scope: Scope) -> str:
    held = ALL if mark.category in scope.categories else _names_person(table, scope)
    if held == NOTHING:
        return NOTHING
    there = f"r.account_id = %(account_id)s AND r.{column.name} <> '' AND {held}"
    return f"EXISTS (SELECT FROM {table.name} r WHERE {there})"


def _may_go(mark: Classification, scope: Scope) -> bool:
    return mark.category is not Category.OPERATION and mark.category not in scope.categories


def _empty(table: Table, column: Column[Any]) -> str | None:
    """What a column is set to when its value goes; None when it has to keep one that says little: a time, a state."""
    mark = classification_of(column)
    if column.nullable:
        return "NULL"
    if mark is not None and mark.sealed:
        return "''::bytea"
    if isinstance(column.type, LargeBinary):
        return f"uuid_send(r.{list(table.primary_key.columns)[-1].name})"
    return None


def _columns(table: Table) -> Iterator[tuple[Column[Any], Classification]]:
    """The columns beside the primary key and the account's id, with their marks."""
    for column in table.columns:
        mark = classification_of(column)
        if mark is not None and not column.primary_key and column.name != "account_id":
            yield column, mark


@cache
def _tables() -> tuple[Table, ...]:
    return tuple(erased_tables(METADATA))


def _any_of(conditions: Sequence[str]) -> str:
    return " OR ".join(_real(conditions)) or NOTHING


def _none_of(conditions: Sequence[str]) -> str:
    """One by one, since PostgreSQL turns each NOT EXISTS into a join; a condition on NULL counts as not met."""
    each = (f"NOT {one}" if one.startswith("EXISTS") else f"({one}) IS NOT TRUE" for one in _real(conditions))
    return " AND ".join(each) or ALL


def _real(conditions: Sequence[str]) -> list[str]:
    return [condition for condition in conditions if condition != NOTHING]
