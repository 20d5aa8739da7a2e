"""The TOML map that says what the columns of a CSV file mean.

source = "plant:{stem}"                                # {stem}: the file's name without its ending
time = "unix"                                          # or "rfc3339", or a strptime pattern with time_zone
[columns]
device = "mac"                                         # a column,
session = ["mac", "peer", "start"]                     # several that name something together, or one of which
remote_address = { column = "peers", first = "/" }     # only what stands before the separator counts,
bytes_to_device = { column = "in", empty = 0 }         # an empty cell means this (else: left out),
protocol = { column = "proto", values = { 6 = "tcp" } }  # or some values have another name
started_at = "start"
duration_s = "seconds"
[constants]
end_reason = "flow"
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

SHIPPED: Final = Path(__file__).with_name("maps")
REQUIRED: Final = ("device", "session", "started_at")


class MapError(ValueError):
    """A map that cannot be read, or that does not fit the file; one line that names keys or columns."""


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column with what its cells mean; `empty` replaces an empty cell."""

    column: str
    first: str = ""
    empty: int | str | None = None
    values: dict[str, str] = {}


# Several columns together name something: what cannot be renamed, cut or counted.
Wanted: TypeAlias = str | list[str] | Column | None


class Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where each field of a record comes from."""

    device: Wanted = None
    session: Wanted = None
    account: Wanted = None
    started_at: Wanted = None
    ended_at: Wanted = None
    duration_s: Wanted = None
    bytes_from_device: Wanted = None
    bytes_to_device: Wanted = None
    protocol: Wanted = None
    remote_address: Wanted = None
    username: Wanted = None
    end_reason: Wanted = None

    def given(self) -> dict[str, list[str] | Column]:
        """The fields that are mapped, each as a list of columns or one column with its meaning."""
        found = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: Column(it) if isinstance(it, str) else it for name, it in found.items() if it is not None}


class Constants(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Fields that are the same in every row."""

    device: str | None = None
    account: str | None = None
    protocol: str | None = None
    username: str | None = None
    end_reason: str | None = None


class CsvMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A map as read; `load_map` has checked that it is whole."""

    source: str
    columns: Columns
    constants: Constants = Constants()
    time: str = "unix"
    time_zone: str = "UTC"
    delimiter: str = ","


def load_map(name: str | Path) -> CsvMap:
    """The map in the file `name`, or the shipped one of that name. Raises MapError, OSError."""
    path = Path(name)
    if not path.exists() and (SHIPPED / f"{name}.toml").exists():
        path = SHIPPED / f"{name}.toml"
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=CsvMap)
    except FileNotFoundError:
        shipped = ", ".join(sorted(it.stem for it in SHIPPED.glob("*.toml")))
        raise MapError(f"no map {path.name}: give a file or one of {shipped}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
        raise MapError(f"{path.name}: {fault}") from fault
    if faults := list(_faults(found)):
        raise MapError(f"{path.name}: {'; '.join(faults)}")
    return found


def _faults(csv_map: CsvMap) -> Iterator[str]:
    fields, constants = csv_map.columns.given(), msgspec.to_builtins(csv_map.constants)
    if missing := [name for name in REQUIRED if name not in fields and name not in constants]:
        yield f"no column for {', '.join(missing)}"
    if twice := sorted(fields.keys() & constants.keys()):
        yield f"both a column and a constant for {', '.join(twice)}"
    if {"ended_at", "duration_s"} <= fields.keys():
        yield "give ended_at or duration_s, not both"
    if len(csv_map.delimiter) != 1 or csv_map.delimiter in ' "\r\n':
        yield "delimiter must be one character, not a space, quote or line end"
    try:
        ZoneInfo(csv_map.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder of zones
        yield "time_zone is unknown"
