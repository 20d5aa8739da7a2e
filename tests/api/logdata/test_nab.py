"""Real series of two machines, sent by their devices and read back: exactly, in every way, before and after compaction."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from math import fsum
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from flask import Flask

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.actor import WORKER
from cloudpriv.processor.storage import compaction
from cloudpriv.processor.storage.chunks import DAY, RAW
from tests.factories import NOW
from tests.logdata import Caller, carry_out, device_token
from tests.points import chunks_of

DATA = Path(__file__).parents[4] / "shared" / "data" / "nab"
SERIES = {"press": "machine_temperature_system_failure", "hall": "ambient_temperature_system_failure"}
UNITS = {"press": "°C", "hall": "°F"}
FILES = ("text/csv", "application/x-ndjson", "application/vnd.apache.parquet")

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not here")
Point = dict[str, Any]


def series(device: str) -> list[Point]:
    """A machine's points as its device sends them; each third without quality, each fifth bad."""
    with (DATA / f"{SERIES[device]}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    points = []
    for number, row in enumerate(rows):
        time = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
        point = {"tag": "temperature", "time": time.isoformat().replace("+00:00", "Z"), "value": float(row["value"])}
        quality = {} if number % 3 == 0 else {"quality": "bad" if number % 5 == 0 else "good"}
        points.append(point | quality | {"unit": UNITS[device]})
    return points


@pytest.fixture
def sent(log_app: Flask, processor: ProcessorServices, reader: Caller) -> Caller:
    """A reader of an account that both machines have sent their points to, a thousand at a time."""
    for device in SERIES:
        caller = Caller(log_app, device_token(processor, reader.account_id, device), reader.account_id)
        points = series(device)
        for start in range(0, len(points), 1000):
            answer = caller.post("/v1/logdata/points", points[start : start + 1000])
            assert answer.json == {"accepted": len(points[start : start + 1000]), "rejected": []}
    return reader


def expected(device: str | None = None) -> list[Point]:
    """All points, or a machine's, by time and then by arrival, as they are to be told."""
    devices = SERIES if device is None else [device]
    points = [{"device": each, **point} for each in devices for point in series(each)]
    return sorted(points, key=lambda point: point["time"])  # stable, and all times are written alike


def whole(reader: Caller, query: str, media: str) -> bytes:
    """The answer of one request, all of it."""
    answer = reader.get(f"/v1/logdata/points?{query}", headers={"Accept": media})
    assert (answer.status_code, answer.mimetype) == (200, media)
    content: bytes = answer.data
    return content


def pages(reader: Caller, query: str) -> Iterator[bytes]:
    """The answers that a cursor leads through."""
    path: str | None = f"/v1/logdata/points?limit=5000&{query}"
    while path is not None:
        answer = reader.get(path)
        assert answer.status_code == 200
        yield answer.data.partition(b',"next_cursor"')[0]
        path = answer.headers["Link"].partition("<")[2].partition(">")[0] if "Link" in answer.headers else None


def from_csv(content: bytes) -> list[Point]:
    """Points of a CSV, each column as its kind says."""
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert {row.pop("kind") for row in rows} == {"float"}
    return [{name: each for name, each in row.items() if each} | {"value": float(row["value"])} for row in rows]


def from_lines(content: bytes) -> list[Point]:
    """Points of lines of JSON."""
    return [json.loads(line) for line in content.splitlines()]


def from_parquet(content: bytes) -> list[Point]:
    """Points of a Parquet file."""
    rows = pq.read_table(io.BytesIO(content)).to_pylist()
    names = {"value_float": "value"}
    told = [{names.get(name, name): each for name, each in row.items() if each is not None} for row in rows]
    return [{**row, "time": row["time"].isoformat().replace("+00:00", "Z")} for row in told]


READERS = dict(zip(FILES, (from_csv, from_lines, from_parquet), strict=True))
FORMATS = {"csv": from_csv, "ndjson": from_lines, "parquet": from_parquet}


def aggregated(points: Sequence[Point]) -> list[Point]:
    """Points by the hour, computed here."""
    hours: dict[datetime, list[Point]] = defaultdict(list)
    for point in points:
        hours[datetime.fromisoformat(point["time"]).replace(minute=0)].append(point)
    return [
        {
            "device": found[0]["device"],
            "tag": "temperature",
            "start": start.isoformat().replace("+00:00", "Z"),
            "count": len(found),
            "min": min(point["value"] for point in found),
            "mean": pytest.approx(fsum(point["value"] for point in found) / len(found), rel=1e-14),
            "max": max(point["value"] for point in found),
            "last": found[-1]["value"],
        }
        for start, found in sorted(hours.items())
    ]


def export(reader: Caller, processor_worker: ProcessorServices, kind: str) -> bytes:
    """The archive of an export of everything."""
    ordered = reader.post("/v1/logdata/exports", {"format": kind})
    assert ordered.status_code == 202
    carry_out(processor_worker)
    state = reader.get(ordered.headers["Location"]).json
    assert state is not None
    assert (state["status"], state["points"]) == ("ready", len(expected()))
    archive = reader.get(f"{ordered.headers['Location']}/archive")
    assert archive.status_code == 200
    assert sha256(archive.data).hexdigest() == state["sha256"]
    content: bytes = archive.data
    return content


def test_both_series_come_back_exactly_and_compaction_changes_no_answer(
    processor: ProcessorServices, processor_worker: ProcessorServices, sent: Caller
) -> None:
    before = answers(sent, processor_worker)
    check(before)
    level_0 = {chunk.level for chunk in chunks_of(processor, sent.account_id)}
    with processor_worker.plane.transaction(WORKER, NOW) as tx:
        assert compaction.enqueue_due(tx, 10) == len(SERIES)
    carry_out(processor_worker)
    assert (level_0, {chunk.level for chunk in chunks_of(processor, sent.account_id)}) == ({RAW}, {DAY})
    assert answers(sent, processor_worker) == before


def answers(reader: Caller, processor_worker: ProcessorServices) -> dict[str, bytes]:
    """Every way in which the points are read, and what it answers."""
    found = {f"{device} {media}": whole(reader, f"device={device}", media) for device in SERIES for media in FILES}
    found |= {media: whole(reader, "", media) for media in FILES}
    found |= {f"page {number}": body for number, body in enumerate(pages(reader, ""))}
    found |= {f"export {kind}": export(reader, processor_worker, kind) for kind in FORMATS}
    for device in SERIES:
        found[f"hours of {device}"] = reader.get(f"/v1/logdata/aggregates?device={device}&bucket=PT1H").data
    found["span"] = whole(reader, "device=press&from=2014-01-01T00:00:00Z&to=2014-01-02T00:00:00Z", FILES[1])
    return found


def check(found: dict[str, bytes]) -> None:
    """That these are the points that were sent."""
    for media, read in READERS.items():
        assert read(found[media]) == expected()
        for device in SERIES:
            assert read(found[f"{device} {media}"]) == expected(device)
    told = [point for name, body in found.items() if name.startswith("page") for point in json.loads(body + b"}")["items"]]
    assert told == expected()
    for kind, read in FORMATS.items():
        assert read(found[f"export {kind}"]) == [point for device in SERIES for point in expected(device)]
    for device in SERIES:
        assert json.loads(found[f"hours of {device}"])["items"] == aggregated(expected(device))
        told = [point["value"] for point in from_lines(found[f"{device} {FILES[1]}"])]
        assert fsum(told) == fsum(point["value"] for point in series(device))
    day = [point for point in expected("press") if point["time"].startswith("2014-01-01")]
    assert from_lines(found["span"]) == day
