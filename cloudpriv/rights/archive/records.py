"""What an export shows, table by table: what the classification and the scope say, and no list of tables.

Sealed columns are opened; a column that is not classified as exported is not even read.
"""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Select, Table, func, tuple_

from cloudpriv.platform import bulk
from cloudpriv.platform.classify import classification_of, exported_columns, exported_tables
from cloudpriv.platform.db import ControllerBase, Tx
from cloudpriv.platform.keys import DataKey
from cloudpriv.rights.archive.scope import Scope

PAGE: Final = 500


def tables(scope: Scope) -> list[Table]:
    """The tables that have a member in an archive of this scope, what is referred to first."""
    return [table for table in exported_tables(ControllerBase.metadata) if scope.rows(table) is not None]


def count(tx: Tx, scope: Scope) -> int:
    """How many rows there are to be written of all tables."""
    return sum(tx.session.scalars(scope.select(table, func.count())).one() for table in tables(scope))


def rows(tx: Tx, scope: Scope, table: Table) -> Iterator[dict[str, Any]]:
    """The rows of a table by primary key, in constant memory: values by exported name, sealed ones opened.

    Read by pages of one snapshot, not by a cursor that someone would have to close when the work is given up.
    """
    shown, primary = scope.columns(table), list(table.primary_key.columns)
    query = scope.select(table, *primary, *shown.values())
    page = tx.session.execute(query.order_by(*primary).limit(PAGE)).all()
    while page:
        for row in page:
            record_id, values = row[len(primary) - 1], row[len(primary) :]
            opened = {
                name: _opened(scope.account.key, table, name, record_id, value)
                for name, value in zip(shown, values, strict=True)
            }
            yield scope.told(table, opened)
        after = tuple_(*primary) > tuple(page[-1][: len(primary)])
        page = tx.session.execute(query.where(after).order_by(*primary).limit(PAGE)).all()


def csv_query(scope: Scope, table: Table) -> Select[Any]:
    """The rows of a table as cells of a CSV, for `bulk.csv_blocks`."""
    cells = [bulk.csv_cell(column).label(name) for name, column in scope.columns(table).items()]
    order = [table.columns[name] for name in table.info["order"]] or list(table.primary_key.columns)
    return scope.select(table, *cells).order_by(*order)


def is_single(table: Table) -> bool:
    """Whether an account has one row of the table at most."""
    return [column.name for column in table.primary_key.columns] == ["account_id"]


def _opened(key: DataKey, table: Table, name: str, record_id: Any, value: Any) -> Any:
    mark = classification_of(exported_columns(table)[name])
    if value is not None and mark is not None and mark.sealed is not None:
        return key.open(record_id, mark.sealed, value)
    return value.hex() if isinstance(value, bytes) else value
