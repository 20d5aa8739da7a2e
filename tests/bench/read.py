"""read_vs_parquet and log_storage: a month of one tag of ten million points, and the bytes that a point takes.

The baseline is one local Parquet file of the same points in the layout that serves such a read best: sorted by device, tag
and time, a row group for each tag, so that statistics lead to one row group; zstd, like ours.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import urllib3
from sqlalchemy import func, select

from cloudpriv.bootstrap import ProcessorServices, build_processor
from cloudpriv.config import load_processor
from cloudpriv.platform.actor import WORKER
from cloudpriv.processor import tasks
from cloudpriv.processor.storage import columns
from cloudpriv.processor.storage.append import Appender, append
from cloudpriv.processor.storage.points import Batch
from cloudpriv.processor.tables import LogChunk
from tests.bench.measure import Figure, beside, seconds
from tests.bench.points import served
from tests.bench.stage import Stage
from tests.logdata import device_actor, make_log_account, reader_token
from workers.processor import carry_out

POINTS: Final = 10_000_000
Values = np.ndarray[Any, Any]
DEVICES: Final = [f"pump-{number}" for number in range(4)]
TAGS: Final = [f"sensor-{number}" for number in range(20)]
SINCE: Final = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)
BATCH: Final = 500  # minutes of all tags of a device: 10,000 points
DEVICE, TAG = "pump-2", "sensor-7"
MONTH: Final = (datetime(2026, 1, 3, tzinfo=UTC), datetime(2026, 2, 3, tzinfo=UTC))
PATH: Final = f"/v1/logdata/points?device={DEVICE}&tag={TAG}&from=2026-01-03T00:00:00Z&to=2026-02-03T00:00:00Z"
FILE: Final = pa.schema(
    [
        ("device", pa.string()),
        ("tag", pa.string()),
        ("time", columns.TIME),
        ("value", pa.float64()),
        ("quality", pa.string()),
    ]
)
READS: Final = 10  # of a round
MOST_BYTES: Final = 1.5  # times the file's
PARQUET: Final = "application/vnd.apache.parquet"


def measure(stage: Stage) -> Iterator[Figure]:
    """Rows a second of the month, as an Arrow table of time, value and quality; and the bucket's bytes a point."""
    minutes = stage.sized(POINTS) // (len(DEVICES) * len(TAGS))
    series = {(device, tag): _series(minutes, seed) for seed, (device, tag) in enumerate(_all())}
    file = stage.folder / "points.parquet"
    _write(file, series, minutes)
    with processors() as (api, worker):
        account_id = make_log_account(api, datetime.now(UTC))
        _load(api, account_id, series, minutes)
        _compact(worker)
        token = reader_token(api, account_id, datetime.now(UTC))
        yield _storage(worker, file)
        with served(stage) as port, urllib3.PoolManager() as http:
            month = _read(file)
            if not _fetch(http, port, token).equals(month):
                raise RuntimeError("the points are not those that were stored")
            yield beside(
                "read_vs_parquet",
                "points/s",
                lambda _: READS * len(month) / seconds(lambda: [_fetch(http, port, token) for _ in range(READS)]),
                lambda _: READS * len(month) / seconds(lambda: [_read(file) for _ in range(READS)]),
            )


@contextmanager
def processors() -> Iterator[tuple[ProcessorServices, ProcessorServices]]:
    """Services of the processor plane's API and of its worker."""
    made = build_processor(load_processor("api")), build_processor(load_processor("worker"))
    try:
        yield made
    finally:
        for services in made:
            services.plane.engine.dispose()
            services.redis.close()


def _all() -> Iterator[tuple[str, str]]:
    return ((device, tag) for device in DEVICES for tag in TAGS)


def _series(minutes: int, seed: int) -> Values:
    """Values of a sensor that drifts, to two decimals, as sensors tell them."""
    steps = np.random.default_rng(seed).normal(0, 0.1, minutes)
    return np.round(50 + np.cumsum(steps), 2)


def _times(first: int, count: int) -> pa.Array:
    begin = int(SINCE.timestamp()) * 1_000_000
    return pa.array(begin + np.arange(first, first + count) * 60_000_000, columns.TIME)


def _write(file: Path, series: dict[tuple[str, str], Values], minutes: int) -> None:
    schema = pa.schema(
        [
            ("device", pa.string()),
            ("tag", pa.string()),
            ("time", columns.TIME),
            ("value", pa.float64()),
            ("quality", pa.string()),
        ]
    )
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for (device, tag), values in series.items():
            names = [pa.repeat(pa.scalar(name), minutes) for name in (device, tag)]
            quality = pa.repeat(pa.scalar("good"), minutes)
            writer.write_table(pa.table([*names, _times(0, minutes), pa.array(values), quality], schema=FILE))


def _read(file: Path) -> pa.Table:
    """The month, as whoever has the file would read it."""
    wanted = [("device", "=", DEVICE), ("tag", "=", TAG), ("time", ">=", MONTH[0]), ("time", "<", MONTH[1])]
    return pq.read_table(file, columns=["time", "value", "quality"], filters=wanted)


def _fetch(http: urllib3.PoolManager, port: int, token: str) -> pa.Table:
    headers = {"Authorization": f"Bearer {token}", "Accept": PARQUET}
    answer = http.request("GET", f"http://127.0.0.1:{port}{PATH}", headers=headers)
    if answer.status != 200:
        raise RuntimeError(f"the API answered {answer.status}")
    found = pq.read_table(io.BytesIO(answer.data), columns=["time", "value_float", "quality"])
    return pa.table([found["time"], found["value_float"], found["quality"].cast(pa.string())], ["time", "value", "quality"])


def _load(api: ProcessorServices, account_id: UUID, series: dict[tuple[str, str], Values], minutes: int) -> None:
    """Append all points as the devices' batches, without HTTP before it."""
    for device in DEVICES:
        actor = device_actor(api, account_id, device, datetime.now(UTC))
        for first in range(0, minutes, BATCH):
            count = min(BATCH, minutes - first)
            times = np.repeat(np.asarray(_times(first, count)), len(TAGS))
            values = np.stack([series[device, tag][first : first + count] for tag in TAGS], axis=1).ravel()
            number = len(values)
            table = pa.table(
                {
                    "time": pa.array(times).cast(columns.TIME),
                    "f": pa.array(values),
                    "quality": pa.repeat(pa.scalar("good"), number),
                    "unit": pa.nulls(number, pa.string()),
                }
            )
            append(Appender(api.plane, api.objects, actor, datetime.now(UTC)), Batch(table, TAGS * count, range(number)))


def _compact(worker: ProcessorServices) -> None:
    """Have everything compacted that the schedule would ever have compacted."""
    with worker.plane.transaction(WORKER, datetime.now(UTC)) as tx:
        for account_id, device_id in tx.session.execute(select(LogChunk.account_id, LogChunk.device_id).distinct()):
            tasks.enqueue(tx, "compact", account_id, device_id)
    waiting = True
    while waiting:
        with worker.plane.transaction(WORKER, datetime.now(UTC)) as tx:
            found = tasks.unfinished(tx, limit=10)
        for task_id in found:
            carry_out(worker, task_id)
        waiting = bool(found)


def _storage(worker: ProcessorServices, file: Path) -> Figure:
    """Bytes a point, in objects and in the index, beside the file's; within 1.5 times those."""
    with worker.plane.transaction(WORKER, datetime.now(UTC)) as tx:
        index = func.pg_total_relation_size(LogChunk.__tablename__)
        size, points, rows = tx.session.execute(select(func.sum(LogChunk.size), func.sum(LogChunk.points), index)).one()
    ours, theirs = (int(size) + int(rows)) / int(points), file.stat().st_size / int(points)
    return Figure("log_storage", ours, "bytes/point", theirs, MOST_BYTES * theirs / ours)
