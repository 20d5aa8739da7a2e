"""The forecast as an operator sees it: chart, CSV, PNG."""

import csv
import json
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.cli import main
from cloudpriv.commands.forecast import bar
from cloudpriv.commands.forecast_png import draw
from cloudpriv.commands.scale import tallest_whole
from cloudpriv.platform.clock import utc_now
from tests.exports import make_sessions
from tests.factories import make_account, make_device
from tests.stack import TestDatabase

OLD = datetime(2018, 8, 1, tzinfo=UTC)
NAMES = ["service", "month", "accounts", "records", "held_accounts", "held_records"]
MANY = 1_234_567


def run(database: TestDatabase, *words: str) -> Result:
    environment: dict[str, str | None] = {**database.environment(), "CLOUDPRIV_EMBEDDED": None}
    result = CliRunner().invoke(main, ["retention", "forecast", *words], env=environment)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def three(services: Services, owner_engine: Engine) -> str:
    """Three accounts overdue, one of which is restricted and has traffic, and one fresh; the present month."""
    accounts = [make_account(services, created_at=OLD).row.account_id for _ in range(3)]
    make_sessions(owner_engine, accounts[0], make_device(services, accounts[0]).row.device_id, 7)
    with owner_engine.begin() as connection:
        restrict = text("UPDATE accounts SET status = 'restricted' WHERE account_id = :id")
        connection.execute(restrict, {"id": accounts[0]})
    make_account(services, service="intesis")
    return f"{utc_now():%Y-%m}"


def document(months: int = 85, accounts: int = 1, held: int = 1) -> dict[str, Any]:
    """A forecast of one service."""
    names = [f"{year}-{month:02}" for year in range(2026, 2034) for month in range(1, 13)][:months]
    figures = {"accounts": accounts, "records": 9 * accounts, "held_accounts": held, "held_records": 9 * held}
    items = [{"service": "talk2m", "month": month, **figures} for month in names]
    return {"counted_at": "2026-11-22T02:00:00Z", "rule": "P7Y after last_traffic", "items": items}


def test_the_chart_has_a_bar_for_each_month_in_eighty_columns_without_colour(database: TestDatabase, three: str) -> None:
    lines = run(database).stdout.splitlines()
    assert "P7Y after last_traffic" in lines[0]
    assert max(cell_len(line) for line in lines) <= 80
    assert "\x1b" not in "".join(lines)
    years = [line.split()[0] for line in lines if line[:4].isdigit()]
    assert years == 2 * sorted(set(years))
    [mine] = [line for line in lines if "█" in line and "░" in line and "kept" not in line]
    assert mine.split()[-3:] == ["3", "1", "7"]
    assert (mine.count("█"), mine.count("░")) == (24, 12)


def test_what_came_since_the_last_count_is_seen_when_counted_anew(database: TestDatabase, services: Services) -> None:
    assert "no account was kept" in run(database).stdout
    make_account(services, created_at=OLD)
    assert "--anew" in run(database).stdout, "a figure of before tells how to get a new one"
    assert "█" in run(database, "--anew").stdout


def test_json_is_what_the_api_answers(database: TestDatabase, three: str) -> None:
    found = json.loads(run(database, "--json", "--service", "talk2m").stdout)
    assert list(found) == ["counted_at", "rule", "items"]
    assert found["counted_at"].endswith("Z")
    assert {item["service"] for item in found["items"]} == {"talk2m"}
    assert found["items"][0] == dict(zip(NAMES, ["talk2m", three, 3, 7, 1, 7], strict=True))


def test_the_csv_has_every_month_of_every_service(database: TestDatabase, three: str, tmp_path: Path) -> None:
    run(database, "--csv", str(tmp_path / "forecast.csv"))
    written = (tmp_path / "forecast.csv").read_bytes()
    assert written.startswith(",".join(NAMES).encode() + b"\r\n")
    assert written.count(b"\n") == written.count(b"\r\n")
    rows = list(csv.DictReader(written.decode().splitlines()))
    assert len(rows) in (170, 172)
    assert sum(int(row["accounts"]) for row in rows) == 4


def test_a_png_is_drawn_beside_the_chart(database: TestDatabase, three: str, tmp_path: Path) -> None:
    shown = run(database, "--png", str(tmp_path / "forecast.png")).stdout
    assert size_of((tmp_path / "forecast.png").read_bytes())[0] == 1200
    assert "█" in shown


def test_without_accounts_it_says_so(database: TestDatabase, tmp_path: Path) -> None:
    result = run(database, "--csv", str(tmp_path / "forecast.csv"), "--png", str(tmp_path / "forecast.png"))
    assert len(result.stdout.splitlines()) == 1
    assert result.stdout.startswith("Nothing falls due from ")
    assert size_of((tmp_path / "forecast.png").read_bytes())[0] == 1200


def test_a_file_that_cannot_be_written_is_one_line(database: TestDatabase, tmp_path: Path) -> None:
    environment: dict[str, str | None] = {**database.environment(), "CLOUDPRIV_EMBEDDED": None}
    nowhere = str(tmp_path / "missing" / "forecast.csv")
    result = CliRunner().invoke(main, ["retention", "forecast", "--csv", nowhere], env=environment)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)


@pytest.mark.parametrize(
    ("accounts", "held", "most", "cells"),
    [
        (0, 0, 9, (0, 0)),
        (9, 0, 9, (40, 0)),
        (9, 9, 9, (0, 40)),
        (1, 0, MANY, (1, 0)),
        (2, 1, MANY, (1, 1)),
        (MANY, 1, MANY, (39, 1)),
        (MANY, MANY - 1, MANY, (1, 39)),
        (MANY, MANY // 2, MANY, (20, 20)),
    ],
)
def test_a_bar_shows_the_least_of_each_part_and_never_outgrows_its_room(
    accounts: int, held: int, most: int, cells: tuple[int, int]
) -> None:
    assert bar(accounts, held, most, 40) == cells


@pytest.mark.parametrize(("months", "accounts"), [(1, 0), (2, 1), (86, MANY)])
def test_any_forecast_can_be_drawn(months: int, accounts: int) -> None:
    assert size_of(draw(document(months, accounts, accounts // 2)))[0] == 1200


def test_what_is_held_can_be_seen() -> None:
    assert draw(document(held=0)) != draw(document(held=1))


@pytest.mark.parametrize(
    ("values", "whole"),
    [
        ([0, 0, 0, 0, 0], 0),
        ([7], 7),
        ([100, 9, 10, 11, 300], 11),
        ([100, 9, 29, 11, 300], 29),
        ([30, 10, 10, 10, 10], 10),
        ([5, 0, 0, 0, 0], 5),
        ([50, 40, 30, 20, 10], 50),
    ],
)
def test_bars_are_cut_off_only_when_they_would_flatten_the_others(values: list[int], whole: int) -> None:
    assert tallest_whole(values) == whole


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height in pixels (PNG, section 11.2.2)."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height
