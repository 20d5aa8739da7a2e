"""export_vs_copy and export_rss: the export of a large account beside COPY through gzip, and the memory that it takes."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, cast
from uuid import UUID

import psycopg
from sqlalchemy import text

from tests.bench.accounts import SINCE, Site, fill, make_site, settle
from tests.bench.measure import Figure, beside, seconds
from tests.bench.stage import Process, Stage, await_true, worker
from tests.exports import ask

FEW, MANY = 100_000, 1_000_000
ROUNDS: Final = 3
COPY: Final = "COPY (SELECT * FROM traffic WHERE account_id = %s) TO STDOUT (FORMAT csv, HEADER)"


def measure(stage: Stage) -> Iterator[Figure]:
    """Records a second, from the request's commit to the archive's being ready; and the worker's peak of memory in MiB."""
    few, many = stage.sized(FEW), stage.sized(MANY)
    small, large = (make_site(stage.owner, devices=50, people=5) for _ in range(2))
    for site, number in ((small, few), (large, many)):
        fill(stage.owner, site, number, SINCE)
    settle(stage)
    with worker(stage) as child:
        _export(stage, child, small.account_id)  # the first one also loads what every later one uses
        low, high = _peak(stage, child, small), _peak(stage, child, large)
        yield Figure("export_rss", high, "MiB", low, low / high)
        yield beside(
            "export_vs_copy",
            "records/s",
            lambda _: many / seconds(lambda: _export(stage, child, large.account_id)),
            lambda _: many / seconds(lambda: _copy(stage, large.account_id)),
            rounds=ROUNDS,
        )


def _peak(stage: Stage, child: Process, site: Site) -> float:
    """The most memory that a worker has resident while it exports a site, in MiB."""
    Path(f"/proc/{child.pid}/clear_refs").write_text("5", encoding="ascii")
    _export(stage, child, site.account_id)
    status = Path(f"/proc/{child.pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _export(stage: Stage, child: Process, account_id: UUID) -> None:
    export_id = ask(stage.owner, account_id, stage.owner.clock())
    await_true(lambda: _is_ready(stage, export_id), child)


def _is_ready(stage: Stage, export_id: UUID) -> bool:
    with stage.owner.controller.engine.connect() as connection:
        query = text("SELECT status FROM exports WHERE export_id = :id")
        status = connection.execute(query, {"id": export_id}).scalar_one()
    if status == "failed":
        raise RuntimeError("the export failed")
    return bool(status == "ready")


def _copy(stage: Stage, account_id: UUID) -> None:
    with (
        (stage.folder / "traffic.csv.gz").open("wb") as file,
        subprocess.Popen(["gzip", "-6"], stdin=subprocess.PIPE, stdout=file) as gzip,
        cast("IO[bytes]", gzip.stdin) as pipe,
        stage.owner.controller.engine.connect() as connection,
    ):
        driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
        with driver.cursor().copy(COPY, [account_id]) as rows:
            pipe.writelines(rows)
