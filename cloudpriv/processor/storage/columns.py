"""Points as columns: one Arrow schema everywhere, and small Parquet files of it.

A file leaves out what it need not say: columns without a value, the tag where all points have the same, and the places
(`seq`) of a batch as it came, which follow from the first. So a day of one tag costs little more than its values.
"""

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

TIME: Final = pa.timestamp("us", tz="UTC")
# Of f, i, b and s exactly one is not null: a number with a fraction or an exponent, an integer, a truth value, a text.
POINTS: Final = pa.schema(
    [
        pa.field("tag", pa.int32(), nullable=False),
        pa.field("time", TIME, nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        ("f", pa.float64()),
        ("i", pa.int64()),
        ("b", pa.bool_()),
        ("s", pa.string()),
        ("quality", pa.string()),
        ("unit", pa.string()),
    ]
)
VALUES: Final = ("f", "i", "b", "s")
TEXTS: Final = ["tag", "s", "quality", "unit"]  # worth a dictionary: few of them differ
ENCODINGS: Final = {"time": "DELTA_BINARY_PACKED", "seq": "DELTA_BINARY_PACKED", "i": "DELTA_BINARY_PACKED"}
COMPRESSION: Final = "zstd"
WORDS: Final = ("s", "quality", "unit")
POINT_BYTES: Final = 56  # of a point in memory but for its texts: all other columns, and where the texts end
NO_POINTS: Final = POINTS.empty_table()


def encode(points: pa.Table) -> bytes:
    """A Parquet file of the columns of POINTS that are there and have a value, in the order of the rows."""
    kept = points.drop_columns([name for name in points.column_names if points[name].null_count == len(points)])
    encodings = {name: how for name, how in ENCODINGS.items() if name in kept.column_names}
    sink = pa.BufferOutputStream()
    pq.write_table(
        kept,
        sink,
        compression=COMPRESSION,
        use_dictionary=[name for name in TEXTS if name in kept.column_names],
        column_encoding=encodings,
        write_statistics=False,  # the index row says what they would
        store_schema=False,  # POINTS is the schema
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content


def decode(content: bytes, *, tag: int = 0, first_seq: int = 0) -> pa.Table:
    """The points of a file of `encode`, as POINTS.

    `tag` is that of all of them where it is not 0 and the file names none; `first_seq` is the place of the first where
    the file tells no places.
    """
    found = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    count = len(found)
    absent = {"tag": lambda: same(tag, count), "seq": lambda: places(first_seq, count)}
    columns = [
        found[field.name].cast(field.type) if field.name in found.column_names
        else absent.get(field.name, lambda kind=field.type: pa.nulls(count, kind))()
        for field in POINTS
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, schema=POINTS)


def bytes_of_each(points: pa.Table) -> pa.ChunkedArray:
    """How many bytes each point takes in memory, as POINTS; of points whose columns may be absent or dictionaries."""
    sizes = pa.chunked_array([pa.repeat(pa.scalar(POINT_BYTES, pa.int32()), len(points))])
    for name in WORDS:
        if name in points.column_names and points[name].null_count < len(points):
            sizes = pc.add(sizes, pc.fill_null(pc.binary_length(points[name].cast(pa.string())), 0))
    return sizes


def same(tag: int, count: int) -> pa.Array:
    """A column of one tag."""
    return pa.repeat(pa.scalar(tag, pa.int32()), count)


def places(first: int, count: int) -> pa.Array:
    """`count` places from `first` on."""
    return pa.array(range(first, first + count), pa.int64())


def together(tables: list[pa.Table]) -> pa.Table:
    """The points of several tables, one after another."""
    return pa.concat_tables(tables).combine_chunks() if tables else NO_POINTS


def in_order(points: pa.Table, *by: str) -> pa.Table:
    """Sorted by columns, ascending."""
    return points.take(pc.sort_indices(points, sort_keys=[(name, "ascending") for name in by]))
