"""Input files as a stream of rows in constant memory: plain, gzip or zip; CSV, Zeek or OpenVPN status."""

import gzip
import io
import itertools
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from ipaddress import ip_network
from pathlib import Path, PurePath
from typing import IO, Any, Final, Literal, Self, cast

from cloudpriv.client import csvrows, openvpn, zeek
from cloudpriv.client.csvmap import CsvMap, MapError
from cloudpriv.client.rows import Row, malformed

Format = Literal["csv", "zeek", "openvpn-status"]
# Rows of one text: its stem (the name without endings) and its lines.
Reader = Callable[[str, Iterable[str]], Iterator[Row]]

GZIP: Final = b"\x1f\x8b"
ZIP: Final = b"PK\x03\x04"
_ENCRYPTED: Final = 0x1  # general purpose bit 0 of a zip member
# What is read from a zip; anything else in it (a licence, a picture) is no data.
SUFFIXES: Final = frozenset({".csv", ".tsv", ".log", ".txt", ".json", ".jsonl", ".ndjson", ".gz"})
# What the unpackers raise; NotImplementedError is a method of packing that they do not know.
_DAMAGE: Final = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError)


class RowFile:
    """The rows of one file, to be iterated once; how it is packed is seen from its first bytes, not its name.

    Every data row gives exactly one Row, so that a row's number is its place. Raises OSError for a file that
    is missing, damaged or encrypted, MapError for one that the map does not fit.
    """

    def __init__(self, path: Path, reader: Reader) -> None:
        self._path = path
        self._reader = reader
        self._size = max(path.stat().st_size, 1)
        self._raw = path.open("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def __iter__(self) -> Iterator[Row]:
        try:
            for stem, lines in self._texts():
                yield from self._reader(stem, lines)
                lines.detach()  # or it would close the file, which still tells its place
        except _DAMAGE as fault:
            raise OSError(f"{self._path.name} is damaged: {fault}") from fault

    def fraction(self) -> float:
        """How much of the file has been read, 0 to 1, measured where it is packed."""
        return min(self._raw.tell() / self._size, 1.0)

    def _texts(self) -> Iterator[tuple[str, io.TextIOWrapper]]:
        if self._raw.peek(len(ZIP)).startswith(ZIP):
            yield from self._members()
        else:
            yield _text(self._path.name, self._raw)

    def _members(self) -> Iterator[tuple[str, io.TextIOWrapper]]:
        with zipfile.ZipFile(self._raw) as archive:
            members = [member for member in archive.infolist() if _is_data(member)]
            if not members:
                raise OSError(f"{self._path.name} holds no data file ({', '.join(sorted(SUFFIXES))})")
            if any(member.flag_bits & _ENCRYPTED for member in members):
                raise OSError(f"{self._path.name} is encrypted")
            for member in members:
                with archive.open(member) as packed, io.BufferedReader(cast("io.RawIOBase", packed)) as raw:
                    yield _text(member.filename, raw)


def reader_of(file_format: Format, columns: CsvMap | None = None, networks: Sequence[str] = ()) -> Reader:
    """How rows of `file_format` are read; CSV needs a map. Raises MapError."""
    if file_format == "csv":
        if columns is None:
            raise MapError("a CSV file needs a map of its columns")
        return partial(csvrows.rows, columns)
    if file_format == "zeek":
        devices = [_network(text) for text in networks]
        return lambda _, lines: zeek.rows(lines, devices)
    return lambda _, lines: _openvpn_rows(lines)


def _network(text: str) -> zeek.Network:
    try:
        return ip_network(text)
    except ValueError:
        raise MapError("a network of devices must look like 10.0.0.0/8") from None


def _openvpn_rows(lines: Iterable[str]) -> Iterator[Row]:
    first, lines = _with_first(lines)
    version: openvpn.StatusVersion = 1 if first.startswith("OpenVPN") else 3 if "\t" in first else 2
    records = openvpn.status_records(lines, version)
    while True:
        try:
            yield next(records)
        except StopIteration:
            return
        except openvpn.MalformedEvent as fault:
            yield malformed(str(fault))


def _with_first(lines: Iterable[str]) -> tuple[str, Iterable[str]]:
    rest = iter(lines)
    first = next(rest, "")
    return first, itertools.chain([first], rest)


def _is_data(member: zipfile.ZipInfo) -> bool:
    path = PurePath(member.filename)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return not member.is_dir() and not hidden and path.suffix.lower() in SUFFIXES


def _text(name: str, raw: "io.BufferedReader[Any]") -> tuple[str, io.TextIOWrapper]:
    path, data = PurePath(name), cast("IO[bytes]", raw)
    if raw.peek(len(GZIP)).startswith(GZIP):
        data = cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
        path = path.with_suffix("") if path.suffix == ".gz" else path
    # What is not UTF-8 is carried along, for its row to be refused by number; "-sig" drops a byte order mark.
    return path.stem, io.TextIOWrapper(data, "utf-8-sig", errors="surrogateescape", newline="")
