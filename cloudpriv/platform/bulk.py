"""Rows by the million: PostgreSQL's COPY, which makes the text of them many times faster than Python does."""

import re
from collections.abc import Generator
from typing import Any, Final
from typing import cast as typed

import psycopg
from psycopg import sql
from sqlalchemy import ARRAY, ColumnElement, DateTime, LargeBinary, Select, String, Text, case, cast, func, or_
from sqlalchemy.orm import Session

from cloudpriv.platform.errors import BusyError

BLOCK_BYTES: Final = 256 * 1024  # rows come one by one; blocks of this size make hashing and compressing cheap
# What a spreadsheet takes for the start of a formula (OWASP, CSV injection): tab, line feed, carriage return, + - = @
# and their full-width forms. One set to another separator than the comma also begins a cell in the middle of ours, and
# skips quotes and blanks there.
SEPARATORS: Final = ",;|\t\r\n"
FORMULA_STARTS: Final = "-\t\n\r+=@\uff0b\uff0d\uff1d\uff20"
SKIPPED: Final = '" '
DANGEROUS: Final = rf"(?=[{SKIPPED}]*[{FORMULA_STARTS}]|')"
# Cheap looks that spare nearly every cell the expression above.
BEGINNINGS: Final = tuple(map(ord, f"{FORMULA_STARTS}{SKIPPED}'"))
INNER: Final = f"[{SEPARATORS}]"
MARKED: Final = re.compile(rf"(\A|[{SEPARATORS}])'")


def csv_blocks(session: Session, query: Select[Any]) -> Generator[bytes, None, int]:
    """The rows of `query` as CSV (RFC 4180, but LF) under a header line, in blocks and constant memory; returns how many.

    A block ends with the end of a row. Raises BusyError when the connection is lost meanwhile.
    """
    compiled = query.compile(session.get_bind(), compile_kwargs={"render_postcompile": True})
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, HEADER)").format(sql.SQL(str(compiled)))
    connection = typed(psycopg.Connection[Any], session.connection().connection.driver_connection)
    try:
        with connection.cursor() as cursor:
            with cursor.copy(statement, compiled.params) as rows:
                held, size = [], 0
                for row in rows:
                    held.append(row)
                    size += len(row)
                    if size >= BLOCK_BYTES:
                        yield b"".join(held)
                        held, size = [], 0
                yield b"".join(held)
            return cursor.rowcount
    except psycopg.OperationalError:
        raise BusyError from None


def csv_cell(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column as it stands in a CSV: RFC 3339 times, hex for bytes, words for lists, and text that no spreadsheet takes
    for a formula: see `neutralised`."""
    if isinstance(column.type, DateTime):  # cheaper than to_char; PostgreSQL writes 2026-01-31 12:00:00
        return func.overlay(cast(func.timezone("UTC", column), Text), "T", 11, 1).concat("Z")
    if isinstance(column.type, LargeBinary):
        return func.encode(column, "hex")
    if isinstance(column.type, ARRAY):
        return neutralised(func.array_to_string(column, " "))
    if isinstance(column.type, String):
        return neutralised(column)
    return column


def neutralised(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Text with an apostrophe wherever a cell may begin with what is a formula to a spreadsheet, or with an apostrophe.

    So `restored` gives the text back, whatever it was.
    """
    suspicious = or_(func.ascii(column).in_(BEGINNINGS), column.op("~")(INNER))
    # First within, then at the beginning: where both fit, PostgreSQL would take the longer one alone.
    within = func.regexp_replace(column, f"({INNER}){DANGEROUS}", r"\1'", "g")
    return case((suspicious, func.regexp_replace(within, f"^{DANGEROUS}", "'")), else_=column)


def restored(cell: str) -> str:
    """The text that a neutralised cell was made of."""
    return MARKED.sub(r"\1", cell)
