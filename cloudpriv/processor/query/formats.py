"""Points as customers take them along: JSON, lines of JSON, CSV, Parquet; with names for ids, and every value exact.

Texts of numbers are the shortest that give the same 64 bits again; a float has a point or an exponent, an integer has none.
"""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cloudpriv.platform.bulk import FORMULA_STARTS
from cloudpriv.processor.storage import columns

Names = Mapping[int, tuple[str, str]]
"""The names of device and tag, by the tag's id."""

CSV_HEADER: Final = b"device,tag,time,kind,value,quality,unit\n"
KINDS: Final = {"f": "float", "i": "int", "b": "bool", "s": "text"}
NAME: Final = pa.dictionary(pa.int32(), pa.string())
# What a customer's Parquet file has; of the four columns of values, exactly one is not null.
TAKEN_ALONG: Final = pa.schema(
    [
        pa.field("device", NAME, nullable=False),
        pa.field("tag", NAME, nullable=False),
        pa.field("time", columns.TIME, nullable=False),
        *(pa.field(f"value_{kind}", columns.POINTS.field(name).type) for name, kind in KINDS.items()),
        ("quality", NAME),
        ("unit", NAME),
    ]
)
HOW: Final[dict[str, Any]] = {
    "compression": "zstd",
    "use_dictionary": ["device", "tag", "value_text", "quality", "unit"],  # few of them differ
    "column_encoding": {"time": "DELTA_BINARY_PACKED", "value_float": "BYTE_STREAM_SPLIT"},  # half the time of plain ones
    "write_statistics": False,
}
ROW_GROUP: Final = 100_000
LINES_AT_ONCE: Final = 20_000  # some 2 MB of text


def as_json(points: pa.Table, names: Names) -> pa.Array:
    """Each point as a JSON object {device, tag, time, value, quality?, unit?}."""
    begins = {tag: f'{{"device":{_json(device)},"tag":{_json(name)},"time":"' for tag, (device, name) in names.items()}
    return pc.binary_join_element_wise(
        _of_tags(points, begins),
        _times(points),
        '","value":',
        _values(points, _json),
        _member(points, "quality"),
        _member(points, "unit"),
        "}",
        "",
    )


def as_ndjson(points: pa.Table, names: Names) -> bytes:
    """A line of JSON for each point."""
    return _lines(as_json(points, names))


def as_csv(points: pa.Table, names: Names) -> bytes:
    """A line of CSV for each point (RFC 4180, but LF), without the header line.

    A text that a spreadsheet would take for a formula stands behind an apostrophe (OWASP, CSV injection).
    """
    begins = {tag: f"{_cell(device)},{_cell(name)}," for tag, (device, name) in names.items()}
    rows = pc.binary_join_element_wise(
        _of_tags(points, begins),
        _times(points),
        ",",
        _kinds(points),
        ",",
        _values(points, _cell),
        ",",
        _each(points["quality"], _cell, absent=""),
        ",",
        _each(points["unit"], _cell, absent=""),
        "",
    )
    return _lines(rows)


def as_rows(points: pa.Table, names: Names) -> pa.Table:
    """The points as TAKEN_ALONG."""
    places = pc.index_in(points["tag"].combine_chunks(), pa.array(names, pa.int32()))
    told = [_named(places, [each[part] for each in names.values()]) for part in (0, 1)]
    values = [points[name] for name in ("time", *KINDS)]
    words = [_words(points[name]) for name in ("quality", "unit")]
    return pa.Table.from_arrays([*told, *values, *words], schema=TAKEN_ALONG)


def _words(texts: pa.ChunkedArray) -> pa.Array:
    return pa.nulls(len(texts), NAME) if texts.null_count == len(texts) else texts.combine_chunks().dictionary_encode()


def _named(places: pa.Array, texts: list[str]) -> pa.DictionaryArray:
    """Texts by their places, each of them once in the dictionary."""
    once = pa.array(texts, pa.string()).dictionary_encode()
    return pa.DictionaryArray.from_arrays(once.indices.take(places), once.dictionary)


def written(kind: str, tables: Iterable[pa.Table], names: Names) -> Iterator[bytes]:
    """A file of the points of `tables`, in parts: `csv` with a header line, `ndjson` or `parquet`."""
    if kind == "parquet":
        yield from _parquet(tables, names)
        return
    if kind == "csv":
        yield CSV_HEADER
    encode: Callable[[pa.Table, Names], bytes] = as_csv if kind == "csv" else as_ndjson
    for points in tables:
        for start in range(0, len(points), LINES_AT_ONCE):
            yield encode(points.slice(start, LINES_AT_ONCE), names)


def _parquet(tables: Iterable[pa.Table], names: Names) -> Iterator[bytes]:
    sink = _Sink()
    with pq.ParquetWriter(sink, TAKEN_ALONG, **HOW) as writer:
        for points in _grouped(tables):
            writer.write_table(as_rows(points, names))
            yield sink.drained()
    yield sink.drained()


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same points in tables of ROW_GROUP or more, as far as there are as many."""
    held: list[pa.Table] = []
    for points in tables:
        held.append(points)
        if sum(map(len, held)) >= ROW_GROUP:
            yield columns.together(held)
            held = []
    if held:
        yield columns.together(held)


class _Sink(io.RawIOBase):
    """Keeps what is written until it is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        """It is for writing."""
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]  # pyarrow hands bytes, where any buffer could come
        """Keep a part."""
        self._held.append(bytes(content))
        self._written += len(content)
        return len(content)

    def tell(self) -> int:
        """How much was written."""
        return self._written

    def drained(self) -> bytes:
        """What was written since it was last asked for."""
        held, self._held = self._held, []
        return b"".join(held)


def _lines(rows: pa.Array) -> bytes:
    ended = pc.binary_join_element_wise(rows, "", "\n")
    offsets, content = ended.buffers()[1:]
    ends = memoryview(offsets).cast("i")
    return bytes(memoryview(content)[ends[ended.offset] : ends[ended.offset + len(ended)]]) if len(ended) else b""


def _of_tags(points: pa.Table, texts: Mapping[int, str]) -> pa.Array:
    places = pc.index_in(points["tag"].combine_chunks(), pa.array(texts, pa.int32()))
    return pa.array(texts.values(), pa.string()).take(places)


def _times(points: pa.Table) -> pa.Array:
    """RFC 3339, with six digits of a second or none."""
    texts = points["time"].combine_chunks().cast(pa.string())  # 2026-01-31 12:00:00.000000Z
    whole = pc.binary_replace_slice(texts, 10, 11, "T")
    return pc.replace_substring(whole, ".000000Z", "Z")


def _values(points: pa.Table, quoted: Callable[[str], str]) -> pa.Array:
    """The value of each point as text; `quoted` makes a customer's text one that can stand there."""
    found = {name: points[name].combine_chunks() for name in KINDS if points[name].null_count < len(points)}
    made = []
    for name, values in found.items():
        texts = _each(values, quoted) if name == "s" else values.cast(pa.string())
        if name == "f":  # Arrow writes 1 for 1.0
            texts = pc.if_else(pc.match_substring_regex(texts, "[.e]"), texts, pc.binary_join_element_wise(texts, ".0", ""))
        made.append(texts)
    return pc.coalesce(*made) if made else pa.nulls(0, pa.string())


def _kinds(points: pa.Table) -> pa.Array:
    tests = [points[name].combine_chunks().is_valid() for name in KINDS]
    return pc.case_when(pa.StructArray.from_arrays(tests, names=list(KINDS)), *KINDS.values())


def _member(points: pa.Table, name: str) -> pa.Array:
    return _each(points[name], lambda text: f',"{name}":{_json(text)}', absent="")


def _each(texts: pa.ChunkedArray, make: Callable[[str], str], absent: str | None = None) -> pa.Array:
    """What `make` makes of each text, called once for those that are the same."""
    found = texts.combine_chunks().dictionary_encode() if isinstance(texts, pa.ChunkedArray) else texts.dictionary_encode()
    made = pa.array([make(text) for text in found.dictionary.to_pylist()], pa.string()).take(found.indices)
    return made if absent is None else made.fill_null(absent)


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _cell(text: str) -> str:
    if text and text[0] in FORMULA_STARTS:
        text = f"'{text}"
    if not text or any(each in text for each in ',"\r\n'):
        return f'"{text.replace(chr(34), chr(34) * 2)}"'
    return text
