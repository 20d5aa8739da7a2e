"""Reads a policy file, and names every fault in it by line and key before anything runs on it."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, NamedTuple, TypeAlias, TypeVar, get_args, get_origin

import msgspec

from cloudpriv.policy.periods import Period, parse_period
from cloudpriv.policy.schema import Text

T = TypeVar("T", bound=msgspec.Struct)
Place: TypeAlias = tuple[str | int, ...]  # where a value stands: keys of tables and positions in lists


class Problem(NamedTuple):
    """One fault of a policy file: its line (from 1), the key it concerns ("" for bad syntax), and why."""

    line: int
    key: str
    reason: str

    def __str__(self) -> str:
        where = f"line {self.line}: {self.key}" if self.key else f"line {self.line}"
        return f"{where}: {self.reason}"


class PolicyError(ValueError):
    """A policy file that cannot be relied on; `problems` has every fault that was found, by line."""

    def __init__(self, name: str, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join([f"{name} is not a valid policy", *map(str, self.problems)]))


def read_file(path: Path, kind: type[T]) -> T:
    """Return a TOML file as a struct of the schema; its list `languages` says which languages a text has.

    Raises PolicyError with all faults at once; OSError when the file cannot be read.
    """
    text, document = _parsed(path)
    reader = _Reader(document)
    read: T = reader.read(kind, document, ())
    reader.check_references()
    if reader.faults:
        lines = _lines(text)
        problems = [Problem(_line(lines, place), _dotted(place), reason) for place, reason in reader.faults]
        raise PolicyError(path.name, problems)
    return read


def _parsed(path: Path) -> tuple[str, dict[str, Any]]:
    content = path.read_bytes()
    try:
        text = content.decode().replace("\r\n", "\n")
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PolicyError(path.name, [Problem(line, "", "not UTF-8")]) from None
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))  # before Python 3.14 only the message has the line
        line = int(found[1]) if found else text.count("\n") + 1
        raise PolicyError(path.name, [Problem(line, "", str(error))]) from None


class _Reader:
    """Turns TOML values into the structs of the register; collects faults, not stopping at the first."""

    def __init__(self, document: dict[str, Any]) -> None:
        listed = document.get("languages")
        self.languages = [each for each in listed if isinstance(each, str)] if type(listed) is list else []
        self.faults: list[tuple[Place, str]] = []
        self._defined: dict[Place, set[str]] = {}
        self._references: list[tuple[Place, str, str]] = []

    def read(self, kind: Any, value: Any, place: Place) -> Any:
        """Return `value` as `kind`; note a fault and return what is of no use where it is none."""
        if kind == Text:
            return self._text(value, place)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._struct(kind, value, place)
        if get_origin(kind) is tuple:
            return self._tuple(get_args(kind)[0], value, place)
        if NoneType in get_args(kind):  # what may be left out; TOML itself has no null
            return self.read(get_args(kind)[0], value, place)
        return self._plain(kind, value, place)

    def check_references(self) -> None:
        """Note a fault for every reference to a key that nothing read so far defines."""
        for place, collection, key in self._references:
            if key not in self._defined.get(tuple(collection.split(".")), ()):
                self._fault(place, f"{key!r} is not among the {collection}")

    def _struct(self, kind: type[msgspec.Struct], value: Any, place: Place) -> Any:
        if not isinstance(value, dict):
            return self._fault(place, "must be a table")
        faults_before = len(self.faults)
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        for name in value.keys() - fields.keys():
            self._fault((*place, name), "unknown key")
        for name in {name for name, field in fields.items() if field.required} - value.keys():
            self._fault((*place, name), "missing")
        # Read in the file's order, so that of two equal keys the later is the fault.
        known = [name for name in value if name in fields]
        read = {name: self.read(fields[name].type, value[name], (*place, name)) for name in known}
        if read.get("key") is not None:
            self._define(read["key"], place)
        return self._made(kind, read, place) if len(self.faults) == faults_before else None

    def _made(self, kind: type[msgspec.Struct], read: dict[str, Any], place: Place) -> Any:
        try:
            return kind(**read)
        except ValueError as error:  # a struct refuses fields that contradict each other
            return self._fault(place, str(error))

    def _tuple(self, kind: Any, value: Any, place: Place) -> Any:
        if not isinstance(value, list) or not value:
            return self._fault(place, "must be a list that is not empty")
        return tuple(self.read(kind, each, (*place, position)) for position, each in enumerate(value))

    def _text(self, value: Any, place: Place) -> Any:
        if not isinstance(value, dict):
            return self._fault(place, "must be a text in every language of the policy")
        if not self.languages:  # that is the fault to mend first; without them no text can be judged
            return None
        for language in value.keys() | set(self.languages):
            written = value.get(language, "")
            if language not in self.languages:
                self._fault((*place, language), "is not one of the languages of the policy")
            elif not isinstance(written, str) or not written.strip():
                self._fault((*place, language), "missing translation")
        return MappingProxyType(value)

    def _plain(self, kind: Any, value: Any, place: Place) -> Any:
        try:
            read: Any = msgspec.convert(value, str if kind is Period else kind)
            if kind is Period:
                return parse_period(read)
        except (msgspec.ValidationError, ValueError) as error:
            return self._fault(place, str(error))
        for meta in getattr(kind, "__metadata__", ()):
            if meta.extra:
                self._references.append((place, meta.extra["refers_to"], str(read)))
        return read

    def _define(self, key: str, place: Place) -> None:
        # A retention rule is looked up by the key of an activity or of housekeeping: no key may be in both.
        collection = ("activities",) if place[:-1] == ("housekeeping",) else place[:-1]
        keys = self._defined.setdefault(collection, set())
        if key in keys:
            self._fault((*place, "key"), f"duplicate key {key!r}")
        keys.add(key)

    def _fault(self, place: Place, reason: str) -> Any:
        self.faults.append((place, reason))
        return None


def _lines(text: str) -> dict[Place, int]:
    """Return the line on which each value begins; for one inside an inline value, where that begins."""
    lines: dict[Place, int] = {}
    arrays: dict[Place, int] = {}  # the position of the latest table of each array of tables
    table: Place = ()
    for line, statement in _statements(text):
        if statement.lstrip().startswith("["):
            table = _header(tomllib.loads(statement), arrays)
            lines.setdefault(table[:-1], line)
            lines[table] = line
        else:
            _note(tomllib.loads(statement), table, line, lines)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    # What has begun and not ended (a list or a text over several lines) is no valid TOML by itself, so the
    # parser tells where a statement ends. Only faulty files pay for it.
    start, statement = 1, ""
    for line, content in enumerate(text.split("\n"), start=1):
        statement = f"{statement}\n{content}" if statement else content
        try:
            tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        yield start, statement
        start, statement = line + 1, ""


def _header(parsed: Any, arrays: dict[Place, int]) -> Place:
    place: Place = ()
    while parsed:
        [(name, parsed)] = parsed.items()
        place = (*place, name)
        if isinstance(parsed, list):  # the new table of an array of tables
            arrays[place] = arrays.get(place, -1) + 1
            parsed = parsed[0]
        if place in arrays:
            place = (*place, arrays[place])
    return place


def _note(value: Any, place: Place, line: int, lines: dict[Place, int]) -> None:
    lines.setdefault(place, line)
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        _note(each, (*place, name), line, lines)


def _line(lines: dict[Place, int], place: Place) -> int:
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def _dotted(place: Place) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
