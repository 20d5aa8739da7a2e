"""JSON Schemas (2020-12) of the members of an archive, derived from the classification: what is exported is described.

A member in CSV is described as the array of its rows, each an object of its cells, which are texts; `csv` says in which
order, and which of them a spreadsheet was kept from computing (see `platform.bulk.neutralised`).
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Column, Date, DateTime, Integer, LargeBinary, String, Table, Uuid
from sqlalchemy.dialects.postgresql import INET

from cloudpriv.platform.classify import classification_of, exported_columns
from cloudpriv.rights.archive import access_log as archive_log
from cloudpriv.rights.archive import records
from cloudpriv.rights.archive import texts as archive_texts
from cloudpriv.rights.archive import traffic as archive_traffic
from cloudpriv.rights.archive.scope import Scope

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
IDENTIFIER: Final = "urn:cloudpriv:export:2:"
FOLDER: Final = "schemas/"
UUID: Final = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TIME: Final = r"[0-9]{4,}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,6})?Z"
NUMBER: Final = "[0-9]+"
CELLS: Final[dict[type[Any], str]] = {
    Uuid: UUID, DateTime: TIME, Integer: NUMBER, BigInteger: NUMBER, LargeBinary: "([0-9a-f]{2})*", INET: "[0-9a-f.:/]+",
}  # fmt: skip
VALUES: Final[dict[type[Any], dict[str, Any]]] = {
    Uuid: {"type": "string", "format": "uuid"},
    DateTime: {"type": "string", "format": "date-time"},
    Date: {"type": "string", "format": "date"},
    Integer: {"type": "integer"},
    BigInteger: {"type": "integer"},
    LargeBinary: {"type": "string", "pattern": "^([0-9a-f]{2})*$"},
    INET: {"type": "string"},
    String: {"type": "string"},
}
LISTED: Final = re.compile(r"'([^']*)'")
# The members that no table makes: their columns with the patterns of cells; None for text.
LOG: Final = {
    "event_id": UUID, "at": TIME, "actor": None, "action": None, "subject_id": f"({UUID})?", "fields": None,
    "request_id": f"({UUID})?",
}  # fmt: skip
TRAFFIC: Final = dict(zip(archive_traffic.COLUMNS, ("[0-9]{4,}-[0-9]{2}", UUID, NUMBER, NUMBER, NUMBER), strict=True))


def path_of(member: str) -> str:
    """Where in an archive the schema of a member lies."""
    return f"{FOLDER}{member.partition('.')[0]}.schema.json"


def schemas(scope: Scope) -> dict[str, dict[str, Any]]:
    """The schema of every member that has one, by the member's name."""
    found = {table.info["member"]: of_table(table, scope) for table in records.tables(scope)}
    found[archive_traffic.NAME] = _of_cells(archive_traffic.NAME, TRAFFIC)
    found[archive_log.NAME] = _of_cells(archive_log.NAME, LOG)
    for name in ("processing", "manifest"):
        found[f"{name}.json"] = document(name)
    return found


def of_table(table: Table, scope: Scope) -> dict[str, Any]:
    """The schema of a table's member in an archive of this scope."""
    name, columns = table.info["member"], exported_columns(table)
    shown = {each: columns[each] for each in scope.columns(table)}
    if name.endswith(".csv"):
        return _of_cells(name, {each: _pattern(column) for each, column in shown.items()})
    row = _object({each: _property(table, each, column) for each, column in shown.items()})
    return _head(name) | (
        {"anyOf": [row, {"type": "null"}]} if records.is_single(table) else {"type": "array", "items": row}
    )


@cache
def document(name: str) -> dict[str, Any]:
    """A schema that is written by hand: of what is no table, and of the documents that are sealed in columns."""
    found: dict[str, Any] = json.loads(files("cloudpriv.rights.archive").joinpath("json", f"{name}.json").read_text("utf-8"))
    return found


def _head(member: str) -> dict[str, Any]:
    stem = member.partition(".")[0]
    return {"$schema": DIALECT, "$id": IDENTIFIER + stem, "title": archive_texts.label(stem, "en")}


def _of_cells(member: str, patterns: Mapping[str, str | None]) -> dict[str, Any]:
    cells = {name: {"type": "string", **_matching(pattern)} for name, pattern in patterns.items()}
    texts = [name for name, pattern in patterns.items() if pattern is None]
    described = {"header": True, "delimiter": ",", "columns": list(patterns), "neutralised": texts}
    return _head(member) | {"csv": described, "type": "array", "items": _object(_titled(cells))}


def _matching(pattern: str | None) -> dict[str, str]:
    return {} if pattern is None else {"pattern": f"^({pattern})$"}


def _titled(properties: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {"title": archive_texts.label(name, "en"), **each} for name, each in properties.items()}


def _object(properties: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _property(table: Table, name: str, column: Column[Any]) -> dict[str, Any]:
    mark = classification_of(column)
    if mark is None:
        raise ValueError(f"{table.name}.{column.name} is not classified")
    told = f"Category {mark.category.value}, for the purpose {mark.purpose}."
    value = _document(mark.sealed) if mark.sealed else _value(table, column)
    if column.nullable:
        value = {"anyOf": [value, {"type": "null"}]}
    return {"title": archive_texts.label(name, "en"), "description": told, **value}


def _document(purpose: str) -> dict[str, Any]:
    known: dict[str, Any] = document("documents")["$defs"].get(purpose, {"type": "object"})
    return known


def _value(table: Table, column: Column[Any]) -> dict[str, Any]:
    if isinstance(column.type, ARRAY):
        return {"type": "array", "items": {"type": "string"}}
    values = list(listed(table, column))
    if values:
        return {"enum": values}
    known: dict[str, Any] = _by_type(VALUES, column, {})
    return known


def _pattern(column: Column[Any]) -> str | None:
    pattern = _by_type(CELLS, column, None)
    return f"({pattern})?" if pattern is not None and column.nullable else pattern


def _by_type(known: Mapping[type[Any], Any], column: Column[Any], otherwise: Any) -> Any:
    return next((value for kind, value in known.items() if isinstance(column.type, kind)), otherwise)


def listed(table: Table, column: Column[Any]) -> Iterable[str]:
    """The values that the database takes, where a constraint lists them."""
    beginning = f"{column.name} IN ("
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint) and (text := str(constraint.sqltext)).startswith(beginning):
            yield from LISTED.findall(text.partition(")")[0])
