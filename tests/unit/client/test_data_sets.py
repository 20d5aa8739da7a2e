"""The real data sets: every row a record of its own session, every byte counted, by figures computed without the client."""

import csv
import gzip
import io
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cloudpriv.client.csvmap import load_map
from cloudpriv.client.ingest import ingest_file
from cloudpriv.client.readers import RowFile, reader_of
from cloudpriv.client.rows import Record
from tests.unit.client.peer import ACCOUNT, Peer

DATA = Path(__file__).parents[3] / "../shared/data"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the shared data sets are not beside the project")

WESTERMO = {"output_bottom": 35_404, "output_left": 8_533, "output_right": 4_720}
NEMEA = DATA / "nemea-siot/flows.csv.gz"


def westermo(stem: str) -> Path:
    """One of the three captures."""
    return DATA / f"westermo-flows/{stem}.zip"


def plain(path: Path) -> list[dict[str, str]]:
    """The rows of a packed CSV file by the standard library alone."""
    if path.suffix == ".gz":
        return list(csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode())))
    with zipfile.ZipFile(path) as archive:
        return list(csv.DictReader(io.StringIO(archive.read(archive.namelist()[0]).decode())))


def records(path: Path, csv_map: str) -> list[Record]:
    """The rows of a file as the client reads them; none may be refused."""
    with RowFile(path, reader_of("csv", load_map(csv_map))) as file:
        found = list(file)
    assert all(isinstance(row, dict) for row in found)
    return [row for row in found if isinstance(row, dict)]


def total(found: list[Record], field: str) -> int:
    """The sum of a field."""
    return sum(number for row in found if isinstance(number := row.get(field, 0), int))


def instants(found: list[Record], field: str) -> Iterator[str]:
    """A time of each record, as text that sorts."""
    return (str(row[field]) for row in found)


@pytest.mark.parametrize(("stem", "rows"), WESTERMO.items())
def test_every_westermo_row_is_its_own_session_with_its_bytes(stem: str, rows: int) -> None:
    found, expected = records(westermo(stem), "westermo-flows"), plain(westermo(stem))
    assert len(found) == len(expected) == rows
    assert len({row["session"] for row in found}) == rows
    assert {row["source"] for row in found} == {f"westermo:{stem}"}
    assert total(found, "bytes_from_device") == sum(int(row["sBytesSum"]) for row in expected)
    assert total(found, "bytes_to_device") == sum(int(row["rBytesSum"]) for row in expected)


def test_the_three_westermo_captures_are_48657_sessions_of_devices_with_one_address_each() -> None:
    found = [row for stem in WESTERMO for row in records(westermo(stem), "westermo-flows")]
    assert len({(row["source"], row["session"]) for row in found}) == 48_657
    first_macs = {row["sMACs"][:17] for stem in WESTERMO for row in plain(westermo(stem))}
    assert {row["device"] for row in found} == first_macs
    assert len(first_macs) == 17


def test_westermo_times_are_the_files_to_the_microsecond() -> None:
    found, expected = records(westermo("output_left"), "westermo-flows"), plain(westermo("output_left"))
    for row, source in zip(found, expected, strict=True):
        # startDate is the recorder's clock, an hour ahead of UTC in March.
        assert str(row["started_at"])[13:26] == source["startDate"].ljust(26, "0")[13:26]
        assert Decimal(str(row["ended_at"])[17:26]) == Decimal(source["end"]) % 60


def test_every_nemea_row_is_its_own_session_and_625_end_before_they_start() -> None:
    found, expected = records(NEMEA, "nemea-siot"), plain(NEMEA)
    assert len(found) == len(expected) == len({row["session"] for row in found}) == 3_261
    assert total(found, "bytes_from_device") == sum(int(row["bytes_out"]) for row in expected) == 67_251_767
    assert total(found, "bytes_to_device") == sum(int(row["bytes_in"] or 0) for row in expected) == 3_905_122
    backwards = [end < start for start, end in zip(instants(found, "started_at"), instants(found, "ended_at"), strict=True)]
    assert backwards == [Decimal(row["time_end"]) < Decimal(row["time_start"]) for row in expected]
    assert sum(backwards) == 625


def test_nemea_flows_without_an_answer_have_zero_bytes_to_the_device() -> None:
    found, expected = records(NEMEA, "nemea-siot"), plain(NEMEA)
    silent = [row["bytes_to_device"] for row, source in zip(found, expected, strict=True) if not source["bytes_in"]]
    assert silent == [0] * 715


@pytest.mark.parametrize(
    ("path", "csv_map", "backwards", "devices"),
    [
        *((westermo(stem), "westermo-flows", 0, 14) for stem in WESTERMO),
        (NEMEA, "nemea-siot", 625, 4),
    ],
)
def test_a_data_set_is_sent_whole_and_a_second_time_changes_nothing(
    peer: Peer, tmp_path: Path, path: Path, csv_map: str, backwards: int, devices: int
) -> None:
    peer.known = set()
    settings: dict[str, Any] = {
        "file_format": "csv",
        "csv_map": csv_map,
        "account": ACCOUNT,
        "create_devices": True,
    }
    with peer.client() as client:
        first = ingest_file(client, path, **settings, state=tmp_path / "state")
        second = ingest_file(client, path, **settings, state=tmp_path / "state")
    rows = len(plain(path))
    assert (first.rows, first.accepted, first.merged) == (rows, rows - backwards, 0)
    assert first.reasons == ({"ends_before_start": backwards} if backwards else {})
    assert (second.rows, second.accepted, second.merged) == (rows, 0, rows - backwards)
    assert (first.devices_created, second.devices_created) == (devices, 0)
    assert len(peer.sessions) == rows - backwards
