"""What the export of an account shows, table by table: what the classification says, and no list of tables.

Sealed columns are opened; a column that is not classified as exported is not even read.
"""

from collections.abc import Iterator
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Column, Select, Table, select

from cloudpriv.platform import bulk
from cloudpriv.platform.classify import classification_of, exported_columns
from cloudpriv.platform.db import Tx
from cloudpriv.platform.keys import DataKey

ROWS_AT_ONCE = 500
Query = TypeVar("Query", bound=Select[Any])


def rows(tx: Tx, key: DataKey, table: Table, account_id: UUID) -> Iterator[dict[str, Any]]:
    """The account's rows of a table in constant memory: values by exported name, sealed ones opened to their members."""
    shown = exported_columns(table)
    record = list(table.primary_key.columns)[-1]
    query = _of_account(select(record, *shown.values()), table, account_id).execution_options(yield_per=ROWS_AT_ONCE)
    for record_id, *values in tx.session.execute(query):
        yield {name: _opened(key, shown[name], record_id, value) for name, value in zip(shown, values, strict=True)}


def csv_query(table: Table, account_id: UUID) -> Select[Any]:
    """The account's rows of a table as cells of a CSV, for `bulk.csv_blocks`."""
    cells = (bulk.csv_cell(column).label(name) for name, column in exported_columns(table).items())
    return _of_account(select(*cells), table, account_id)


def is_single(table: Table) -> bool:
    """Whether an account has one row of the table at most."""
    return [column.name for column in table.primary_key.columns] == ["account_id"]


def _of_account(query: Query, table: Table, account_id: UUID) -> Query:
    order = [table.columns[name] for name in table.info["order"]] or list(table.primary_key.columns)
    return query.where(table.columns["account_id"] == account_id).order_by(*order)


def _opened(key: DataKey, column: Column[Any], record_id: Any, value: Any) -> Any:
    mark = classification_of(column)
    if value is not None and mark is not None and mark.sealed is not None:
        return key.open(record_id, mark.sealed, value)
    return value.hex() if isinstance(value, bytes) else value
