"""Ingest of the real data sets into a served API, twice: by the client, and by `cloudpriv ingest` in its own process."""

import csv
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.client.api import ApiClient
from cloudpriv.client.checkpoint import Report
from cloudpriv.client.ingest import ingest_file
from cloudpriv.retention.tables import Purge
from cloudpriv.serving import await_answer
from tests import factories
from tests.backend import register
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.purges import clear_the_way
from tests.stack import TestDatabase, every_row

DATA = Path(__file__).parents[2] / "../shared/data"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the shared data sets are not beside the project")

CUSTOMER = {"company_name": "Acme Water Ltd", "company_id": "SE556000-0001"}
SUMS = text("SELECT count(*), sum(bytes_from_device), sum(bytes_to_device) FROM traffic")


class Backend:
    """A registered client of a served API, on the command line."""

    def __init__(self, database: TestDatabase, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.client_id, self.secret = register(database)
        self.environment = os.environ | {"CLOUDPRIV_CLIENT_ID": self.client_id, "CLOUDPRIV_CLIENT_SECRET": self.secret}

    def open_account(self, name: str = "acme-water") -> str:
        """A new account's id."""
        with ApiClient(self.url, self.client_id, self.secret) as client:
            body = {"account_name": name, "customer": CUSTOMER, "created_at": "2018-08-01T00:00:00Z"}
            found: str = client.request("POST", "/v1/accounts", json=body).json()["id"]
        return found

    def ingest(self, path: Path, csv_map: str, state: Path) -> Report:
        """The client's report of a file."""
        with ApiClient(self.url, self.client_id, self.secret) as client:
            return ingest_file(
                client,
                path,
                file_format="csv",
                csv_map=csv_map,
                account="acme-water",
                create_devices=True,
                state=state,
            )

    def run_command(self, path: Path, csv_map: str, account: str = "acme-water") -> dict[str, Any]:
        """What `cloudpriv ingest --json` reports."""
        command = [sys.executable, "-m", "cloudpriv.cli", "ingest", str(path), "--map", csv_map, "--url", self.url]
        command += ["--account", account, "--create-devices", "--json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr.decode()
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def backend(database: TestDatabase) -> Iterator[Backend]:
    """A backend of an API that is served in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "cloudpriv.cli", "serve", "--bind", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, env=database.environment("controller")) as server:
        assert await_answer(f"127.0.0.1:{port}", server)
        yield Backend(database, port)
        server.terminate()


def plain(path: Path) -> list[dict[str, str]]:
    """The rows of a packed CSV file by the standard library alone."""
    if path.suffix == ".gz":
        return list(csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode())))
    with zipfile.ZipFile(path) as archive:
        return list(csv.DictReader(io.StringIO(archive.read(archive.namelist()[0]).decode())))


def held(engine: Engine) -> tuple[int, int, int]:
    """Sessions and bytes in the database."""
    with engine.connect() as connection:
        count, sent, received = connection.execute(SUMS).one()
    return count, int(sent), int(received)


def test_the_three_westermo_captures_are_held_whole_and_a_second_run_changes_nothing(
    backend: Backend, owner_engine: Engine, tmp_path: Path
) -> None:
    backend.open_account()
    state = tmp_path / "state"
    paths = [DATA / f"westermo-flows/output_{place}.zip" for place in ("bottom", "left", "right")]
    rows = [row for path in paths for row in plain(path)]
    first = [backend.ingest(path, "westermo-flows", state) for path in paths]
    assert sum(report.accepted for report in first) == sum(report.rows for report in first) == len(rows) == 48_657
    sums = (len(rows), sum(int(row["sBytesSum"]) for row in rows), sum(int(row["rBytesSum"]) for row in rows))
    assert held(owner_engine) == sums
    before = every_row(owner_engine)["traffic"]
    second = [backend.ingest(path, "westermo-flows", state) for path in paths]
    assert [(report.accepted, report.merged) for report in second] == [(0, len(plain(path))) for path in paths]
    assert [report.devices_created for report in second] == [0, 0, 0]
    assert every_row(owner_engine)["traffic"] == before


def test_nemea_is_held_but_for_what_ends_before_it_starts(backend: Backend, owner_engine: Engine) -> None:
    backend.open_account()
    path = DATA / "nemea-siot/flows.csv.gz"
    rows = plain(path)
    forward = [row for row in rows if float(row["time_end"]) >= float(row["time_start"])]
    report = backend.run_command(path, "nemea-siot")
    assert report["rows"] == len(rows) == 3_261
    assert report["reasons"] == {"ends_before_start": 625}
    assert (report["accepted"], report["merged"], report["devices_created"]) == (len(forward), 0, 4)
    sent, received = sum(int(row["bytes_out"]) for row in forward), sum(int(row["bytes_in"] or 0) for row in forward)
    assert held(owner_engine) == (len(forward), sent, received)
    again = backend.run_command(path, "nemea-siot")
    assert (again["accepted"], again["merged"], again["rejected"]) == (0, len(forward), 625)
    assert held(owner_engine) == (len(forward), sent, received)


def operate(database: TestDatabase, *words: str) -> Any:
    """What an operator's command prints as JSON."""
    command = [sys.executable, "-m", "cloudpriv.cli", *words, "--json"]
    done = subprocess.run(
        command, env=database.environment("controller"), capture_output=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def rows_without(engine: Engine, *tables: str) -> dict[str, list[str]]:
    """Every row of every other table."""
    return {name: sorted(rows) for name, rows in every_row(engine).items() if name not in tables}


def test_what_was_idle_since_2019_is_purged_whole_and_what_ran_in_2023_is_untouched(
    backend: Backend, database: TestDatabase, worker_services: Services, owner_engine: Engine, tmp_path: Path
) -> None:
    idle, running = backend.open_account("idle-home"), backend.open_account("running-factory")
    backend.run_command(DATA / "nemea-siot/flows.csv.gz", "nemea-siot", "idle-home")
    backend.run_command(DATA / "westermo-flows/output_right.zip", "westermo-flows", "running-factory")
    operate(database, "export", idle, "--output", str(tmp_path / "idle.zip"))
    clear_the_way(worker_services, owner_engine, worker_services.clock())
    (plan,) = operate(database, "purge", "plan")
    assert [(each["account_id"], each["traffic"]) for each in plan["accounts"]] == [(idle, 2_636)]
    before = [row for rows in rows_without(owner_engine, "audit_events").values() for row in rows if running in row]
    (purged,) = operate(database, "purge", "run", plan["plan"], "--execute")
    with factories.transaction(worker_services) as tx:
        counts = tx.session.get_one(Purge, UUID(purged["erased"][0]["purge_id"])).counts
    assert (counts["traffic"], counts["devices"], counts["objects"]) == (2_636, 4, 1)
    rows = rows_without(owner_engine, "audit_events")
    assert [row for found in rows.values() for row in found if running in row] == before
    assert [row for found in rows.values() for row in found if idle in row] == []
    assert len(before) > 4_720
    assert (len(rows["account_keys"]), len(rows["ledger"])) == (1, 1)
    assert hashlib.sha256(UUID(idle).bytes).hexdigest() in rows["ledger"][0]
    assert [key for key in worker_services.exports.keys("") if idle in key] == []
    assert operate(database, "purge", "plan") == []
