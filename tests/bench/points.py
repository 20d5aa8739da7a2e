"""points_vs_parquet: points over HTTP beside pyarrow, which writes the same batches to local Parquet files."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from cloudpriv import config
from cloudpriv.bootstrap import ProcessorServices, build_processor
from cloudpriv.processor.storage import columns
from cloudpriv.processor.storage.points import MAX_POINTS
from tests.bench.load import post, requests_per_second
from tests.bench.measure import Figure, beside, seconds
from tests.bench.stage import Stage, server
from tests.logdata import device_token, make_log_account

BATCHES: Final = 60  # of a round
CONNECTIONS: Final = 4
TAGS: Final = [f"line-{number // 5}/sensor-{number % 5}" for number in range(20)]
SINCE: Final = datetime(2026, 1, 1, tzinfo=UTC)


def measure(stage: Stage) -> Iterator[Figure]:
    """Points a second: an API with a process per core and one client of it, and one writer of files on one core.

    The writer has the points as columns already, and then once more the same lines as the API, which pyarrow reads.
    """
    number = stage.sized(BATCHES)
    rows = list(_rows(MAX_POINTS))
    body = b"\n".join(map(msgspec.json.encode, rows))
    table = _table(rows)
    with processor(stage) as services, served(stage, processes=os.cpu_count() or 1) as port:
        account_id = make_log_account(services, datetime.now(UTC))
        token = device_token(services, account_id, now=datetime.now(UTC))
        request = post("/v1/logdata/points", token, body).replace(b"application/json", b"application/x-ndjson", 1)

        def ours(_: int) -> float:
            return MAX_POINTS * requests_per_second(port, request, connections=CONNECTIONS, number=number)

        def from_columns(turn: int) -> float:
            return number * MAX_POINTS / seconds(lambda: _write(stage, turn, lambda: table, number))

        def from_lines(turn: int) -> float:
            return number * MAX_POINTS / seconds(lambda: _write(stage, turn, lambda: _parsed(body), number))

        yield beside("points_vs_parquet", "points/s", ours, from_columns)
        yield beside("points_vs_parquet_of_lines", "points/s", ours, from_lines)


@contextmanager
def processor(stage: Stage) -> Iterator[ProcessorServices]:
    """Services of the processor plane's API on the stage."""
    found = build_processor(config.load_processor("api"))
    try:
        yield found
    finally:
        found.plane.engine.dispose()
        found.redis.close()


@contextmanager
def served(stage: Stage, processes: int = 1) -> Iterator[int]:
    """The processor plane's API, with the settings of production; its port."""
    settings = {"CLOUDPRIV_PROCESSOR_WEB_PROCESSES": str(processes)}
    with server(stage, "cloudpriv.cli", "serve", "--plane", "processor", **settings) as port:
        yield port


def _rows(number: int) -> Iterator[dict[str, Any]]:
    """What a machine's twenty sensors tell every second: three decimals, quality and unit."""
    random = Random(1)
    for place in range(number):
        yield {
            "tag": TAGS[place % len(TAGS)],
            "time": (SINCE + timedelta(seconds=place // len(TAGS))).isoformat().replace("+00:00", "Z"),
            "value": round(random.gauss(20 + place % len(TAGS), 3), 3),
            "quality": "good",
            "unit": "bar",
        }


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    named = {name: [row[name] for row in rows] for name in ("tag", "value", "quality", "unit")}
    times = [datetime.fromisoformat(row["time"]) for row in rows]
    return pa.table({**named, "time": pa.array(times, columns.TIME)})


def _parsed(body: bytes) -> pa.Table:
    return pa.json.read_json(pa.py_buffer(body))


def _write(stage: Stage, turn: int, table: Any, number: int) -> None:
    folder = stage.folder / f"parquet-{turn}"
    folder.mkdir()
    for place in range(number):
        pq.write_table(table(), folder / f"{place}.parquet", compression="zstd")
    shutil.rmtree(folder)
