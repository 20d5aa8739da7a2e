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


class Category(StrEnum):
    """Categories of personal data, named as in the policy; OPERATION is what only runs the service."""

    IDENTIFICATION = "identification"
    ACCOUNT = "account"
    DEVICES = "connected_devices"
    TRAFFIC = "traffic_metadata"
    CREDENTIALS = "credentials"
    OPERATION = "operation"


class Erasure(StrEnum):
    """What happens to a table's rows of an account when the account is erased."""

    ROWS = "rows deleted with the account"
    CLEARED = "the account's id cleared when the account is erased"
    KEPT = "kept: holds no personal data"


@dataclass(frozen=True)
class Classification:
    """Either `export` names the member of the export, or `withheld` says why there is none."""

    category: Category
    purpose: str
    export: str | None = None
    withheld: str | None = None
    sealed: bool = False


def exported(category: Category, *args: Any, name: str, sealed: bool = False, purpose: str = CLOUD_SERVICES,
             **options: Any) -> MappedColumn[Any]:  # fmt: skip
    """A column that the export shows as `name`; a sealed one is opened and its members shown."""
    mark = Classification(category, purpose, export=name, sealed=sealed)
    return mapped_column(*args, info={"classification": mark}, **options)


def withheld(category: Category, *args: Any, why: str, sealed: bool = False, purpose: str = CLOUD_SERVICES,
             **options: Any) -> MappedColumn[Any]:  # fmt: skip
    """A column that no export shows, and the reason."""
    mark = Classification(category, purpose, withheld=why, sealed=sealed)
    return mapped_column(*args, info={"classification": mark}, **options)


def about(erasure: Erasure, *, member: str | None = None, why: str | None = None) -> dict[str, Any]:
    """The marks of a table: how its rows of an account are erased, and its member of the export or why it has none."""
    return {"info": {"erasure": erasure, "member": member, "why": why}}


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


def tables_with_account_id(metadata: MetaData) -> Iterator[Table]:
    """Every table that can hold an account's id: where the proof of an erasure looks."""
    return (table for table in metadata.sorted_tables if "account_id" in table.columns)
