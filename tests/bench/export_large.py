"""export_5m: an export of five million records, its worker killed half-way: its memory, and that the archive is whole."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import UUID

from sqlalchemy import text

from tests.archives import require_whole, rows_that_differ, saved
from tests.bench.accounts import SINCE, fill, make_site, settle
from tests.bench.measure import Figure
from tests.bench.stage import COMMAND, Process, Stage, await_true, process, worker
from tests.exports import ask

MANY: Final = 5_000_000
MOST_MIB: Final = 200.0
STATE: Final = text("SELECT status, progress FROM exports WHERE export_id = :id")


def measure(stage: Stage) -> Iterator[Figure]:
    """The most memory of both workers in MiB, beside the bound. Raises when the archive is not whole, or of other rows."""
    site = make_site(stage.owner, devices=500, people=50)
    fill(stage.owner, site, stage.sized(MANY), SINCE)
    settle(stage)
    export_id = ask(stage.owner, site.account_id, stage.owner.clock())
    with worker(stage) as first:
        await_true(lambda: _state(stage, export_id)[1] >= 50, first)
        killed = _peak(first)
        first.kill()
        first.wait()
    _tell("killed with SIGKILL at", f"{_state(stage, export_id)[1]} %")
    began = time.monotonic()
    with worker(stage) as second, process(stage, COMMAND, "schedule"):
        await_true(lambda: _state(stage, export_id)[0] == "ready", second, 0.2)
        most = max(killed, _peak(second))
    _tell("ready after another, lease included", f"{time.monotonic() - began:.1f} s")
    _require_whole(stage, site.account_id, export_id)
    yield Figure("export_5m", most, "MiB", MOST_MIB, MOST_MIB / most)


def _require_whole(stage: Stage, account_id: UUID, export_id: UUID) -> None:
    archive = saved(stage.owner, export_id, stage.folder / "archive.zip")
    members = {each["name"]: each for each in require_whole(stage.owner, archive)["members"]}
    _tell("archive", f"{archive.stat().st_size:,} bytes")
    _tell("traffic.csv", f"{members['traffic.csv']['rows']:,} rows, {members['traffic.csv']['bytes']:,} bytes")
    if members["traffic.csv"]["rows"] != stage.sized(MANY) or rows_that_differ(
        stage.owner.controller.engine, archive, account_id
    ):
        raise RuntimeError("the archive has other rows than the table")


def _state(stage: Stage, export_id: UUID) -> tuple[str, int]:
    with stage.owner.controller.engine.connect() as connection:
        status, progress = connection.execute(STATE, {"id": export_id}).one()
    if status == "failed":
        raise RuntimeError("the export failed")
    return status, progress


def _peak(child: Process) -> float:
    """The most memory that a process has had resident, in MiB."""
    status = Path(f"/proc/{child.pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _tell(what: str, how_much: str) -> None:
    sys.stderr.write(f"  {what}: {how_much}\n")
