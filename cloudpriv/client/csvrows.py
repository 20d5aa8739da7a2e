"""CSV as traffic records, by a map of its columns."""

import csv
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from operator import itemgetter
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from cloudpriv.client.csvmap import REQUIRED, Column, CsvMap, MapError
from cloudpriv.client.rows import Record, Row, malformed, seconds, unix_time, whole

Convert = Callable[[str], object]
Pick = Callable[[list[str]], str]


class _Field(NamedTuple):
    name: str
    pick: Pick
    convert: Convert
    empty: int | str | None


def rows(csv_map: CsvMap, stem: str, lines: Iterable[str]) -> Iterator[Row]:
    """One row for each data row of a CSV file; blank lines are none. MapError: a column is missing."""
    reader = csv.reader(lines, delimiter=csv_map.delimiter, skipinitialspace=True)
    header = _header(reader)
    fields = _fields(csv_map, header)
    common: Record = {"source": csv_map.source.replace("{stem}", stem)} | msgspec.to_builtins(csv_map.constants)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:  # a cell over the module's limit of 128 KiB; the reader goes on with the next line
            yield malformed("the row is not CSV")
            continue
        if len(cells) == len(header):
            yield _row(cells, fields, common)
        elif cells:
            yield malformed(f"the row has {len(cells)} cells, the header {len(header)}")


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        return [name.strip() for name in next(reader, [])]
    except csv.Error as fault:
        raise MapError("the file does not begin with a CSV header") from fault


def _row(cells: list[str], fields: list[_Field], common: Record) -> Row:
    record = common.copy()
    for name, pick, convert, empty in fields:
        text = pick(cells)
        if text:
            try:
                record[name] = convert(text)
            except ValueError as fault:
                return malformed(f"{name} {fault}")
        elif empty is not None:
            record[name] = empty
        elif name in REQUIRED:
            return malformed(f"{name} is empty")
    return record


def _fields(csv_map: CsvMap, header: list[str]) -> list[_Field]:
    wanted = csv_map.columns.given()
    names = [name for it in wanted.values() for name in (it if isinstance(it, list) else [it.column])]
    for fault, found in (
        ("no column", [name for name in names if name not in header]),
        ("more than one column", [name for name in names if header.count(name) > 1]),
    ):
        if found:
            raise MapError(f"the file has {fault} {', '.join(dict.fromkeys(found))}")
    return [_field(name, it, header, csv_map) for name, it in wanted.items()]


def _field(name: str, wanted: list[str] | Column, header: list[str], csv_map: CsvMap) -> _Field:
    convert = _converter(name, csv_map)
    if isinstance(wanted, list):
        return _Field(name, _joined([header.index(column) for column in wanted]), convert, None)
    if wanted.values:
        convert = _renamed(wanted.values, convert)
    return _Field(name, _cell(header.index(wanted.column), wanted.first), convert, wanted.empty)


def _cell(index: int, first: str) -> Pick:
    return (lambda cells: cells[index].split(first, 1)[0]) if first else itemgetter(index)


def _joined(indexes: list[int]) -> Pick:
    def pick(cells: list[str]) -> str:
        parts = [cells[index] for index in indexes]
        # Escaped, so that no two different rows are joined to the same name.
        return "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts) if any(parts) else ""

    return pick


def _renamed(values: dict[str, str], convert: Convert) -> Convert:
    return lambda text: convert(values.get(text, text))


def _converter(name: str, csv_map: CsvMap) -> Convert:
    if name in {"started_at", "ended_at"}:
        return _time_converter(csv_map)
    if name == "duration_s":
        return seconds
    return whole if name.startswith("bytes_") else str


def _time_converter(csv_map: CsvMap) -> Convert:
    if csv_map.time == "unix":
        return unix_time
    if csv_map.time == "rfc3339":
        return str  # the server reads them, and names the row if it cannot
    return _local_time(csv_map.time, ZoneInfo(csv_map.time_zone))


def _local_time(pattern: str, zone: ZoneInfo) -> Convert:
    """Times by a strptime pattern, in `zone` unless it has %z; of an hour that comes twice, the first."""

    def convert(text: str) -> str:
        try:
            read = datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is added in the next line
            return (read if read.tzinfo else read.replace(tzinfo=zone)).astimezone(UTC).isoformat()
        except (ValueError, OverflowError) as fault:
            raise ValueError("is not a time of the map's pattern") from fault

    return convert
