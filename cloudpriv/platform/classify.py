"""The classification of every column: what it is, why it is held, whether it is exported, how it is erased.

Export, erasure and the register of processing are derived from these marks and from nothing else, so a column can only be
forgotten by not being classified, and an unclassified column fails the build (tests/unit/test_closed_sets.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Column, MetaData, Table
from sqlalchemy.orm import MappedColumn, mapped_column

CLOUD_SERVICES: Final = "cloud_services"  # the activity of the policy that most columns serve
LOG_DATA: Final = "cloud_log_data"  # the one that every column of the processor plane serves


class Category(StrEnum):
    """Categories of personal data, named as in the policy; OPERATION is what only runs the service."""

    IDENTIFICATION = "identification"
    ACCOUNT = "account"
    DEVICES = "connected_devices"
    TRAFFIC = "traffic_metadata"
    CREDENTIALS = "credentials"
    LOG_DATA = "log_data"
    OPERATION = "operation"


class Erasure(StrEnum):
    """What happens to a table's rows of an account when the account is erased."""

    ROWS = "rows deleted with the account"
    CLEARED = "the account's id cleared when the account is erased"
    KEPT = "kept: holds no personal data"


@dataclass(frozen=True)
class Classification:
    """Either `export` names the member of the export, or `withheld` says why there is none.

    `sealed` is the purpose that the column's values are sealed for; their record is the last column of the
    primary key.
    """

    category: Category
    purpose: str
    export: str | None = None
    withheld: str | None = None
    sealed: str | None = None


def exported(category: Category, *args: Any, name: str, sealed: str | None = None,
             purpose: str = CLOUD_SERVICES, **options: Any) -> MappedColumn[Any]:  # fmt: skip
    """A column that the export shows as `name`; a sealed one is opened and its members shown."""
    mark = Classification(category, purpose, export=name, sealed=sealed)
    return mapped_column(*args, info={"classification": mark}, **options)


def withheld(category: Category, *args: Any, why: str, sealed: str | None = None,
             purpose: str = CLOUD_SERVICES, **options: Any) -> MappedColumn[Any]:  # fmt: skip
    """A column that no export shows, and the reason."""
    mark = Classification(category, purpose, withheld=why, sealed=sealed)
    return mapped_column(*args, info={"classification": mark}, **options)


def about(erasure: Erasure, *, member: str | None = None, order: tuple[str, ...] = (),
          why: str | None = None) -> dict[str, Any]:  # fmt: skip
    """The marks of a table: how its rows of an account are erased, its member of the export or why it has none.

    `member` ends in .json, or in .csv for a table of millions of rows, which then exports no sealed column.
    `order` names the columns that the member is sorted by: the primary key where none are given.
    """
    return {"info": {"erasure": erasure, "member": member, "order": order, "why": why}}


def classification_of(column: Column[Any]) -> Classification | None:
    """The mark of a column, or None for one that nobody classified."""
    mark = column.info.get("classification")
    return mark if isinstance(mark, Classification) else None


def erased_tables(metadata: MetaData) -> Iterator[Table]:
    """Tables whose rows go with their account, dependants before what they refer to."""
    return (table for table in reversed(metadata.sorted_tables) if table.info.get("erasure") is Erasure.ROWS)


def exported_tables(metadata: MetaData) -> Iterator[Table]:
    """Tables that have a member in the export of an account, what is referred to first."""
    return (table for table in metadata.sorted_tables if table.info.get("member"))


def exported_columns(table: Table) -> dict[str, Column[Any]]:
    """The columns of a table that its member of the export shows, by the names that it shows them under."""
    marked = ((column, classification_of(column)) for column in table.columns)
    return {mark.export: column for column, mark in marked if mark is not None and mark.export is not None}


def tables_with_account_id(metadata: MetaData) -> Iterator[Table]:
    """Every table that can hold an account's id: where the proof of an erasure looks."""
    return (table for table in metadata.sorted_tables if "account_id" in table.columns)


def exported_categories(metadata: MetaData) -> frozenset[str]:
    """The categories of personal data that the export shows something of: what can have been given to a recipient."""
    columns = (column for table in metadata.sorted_tables for column in exported_columns(table).values())
    marks = (classification_of(column) for column in columns)
    return frozenset(mark.category.value for mark in marks if mark is not None) - {Category.OPERATION.value}
