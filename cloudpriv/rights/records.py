"""What the export of an account shows, table by table: what the classification says, and no list of tables.

Sealed columns are opened; a column that is not classified as exported is not even read.
"""

from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Column, Select, Table, select, tuple_

from cloudpriv.platform import bulk
from cloudpriv.platform.classify import classification_of, exported_columns
from cloudpriv.platform.db import Tx
from cloudpriv.platform.keys import DataKey

PAGE: Final = 500


def rows(tx: Tx, key: DataKey, table: Table, account_id: UUID) -> Iterator[dict[str, Any]]:
    """The account's rows of a table by primary key, in constant memory: values by exported name, sealed ones opened.

    Read by pages of one snapshot, not by a cursor that someone would have to close when the work is given up.
    """
    shown, primary = exported_columns(table), list(table.primary_key.columns)
    query = select(*primary, *shown.values()).where(table.columns["account_id"] == account_id)
    if "erasure_requested_at" in table.columns:  # what only a legal hold keeps is there for its authority alone
        query = query.where(table.columns["erasure_requested_at"].is_(None))
    page = tx.session.execute(query.order_by(*primary).limit(PAGE)).all()
    while page:
        for row in page:
            record_id, values = row[len(primary) - 1], row[len(primary) :]
            yield {name: _opened(key, shown[name], record_id, value) for name, value in zip(shown, values, strict=True)}
        after = tuple_(*primary) > tuple(page[-1][: len(primary)])
        page = tx.session.execute(query.where(after).order_by(*primary).limit(PAGE)).all()


def csv_query(table: Table, account_id: UUID) -> Select[Any]:
    """The account's rows of a table as cells of a CSV, for `bulk.csv_blocks`."""
    cells = (bulk.csv_cell(column).label(name) for name, column in exported_columns(table).items())
    order = [table.columns[name] for name in table.info["order"]] or list(table.primary_key.columns)
    return select(*cells).where(table.columns["account_id"] == account_id).order_by(*order)


def is_single(table: Table) -> bool:
    """Whether an account has one row of the table at most."""
    return [column.name for column in table.primary_key.columns] == ["account_id"]


def _opened(key: DataKey, column: Column[Any], record_id: Any, value: Any) -> Any:
    mark = classification_of(column)
    if value is not None and mark is not None and mark.sealed is not None:
        return key.open(record_id, mark.sealed, value)
    return value.hex() if isinstance(value, bytes) else value
