"""The access log: what the policy names of a request, nothing more, and never in the way of an answer."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from stat import S_IMODE

import pytest
from flask import Flask
from structlog.testing import capture_logs

from cloudpriv.api.endpoint import EXTENSION
from cloudpriv.bootstrap import Services
from cloudpriv.config import SettingsError
from tests.backend import Backend
from tests.stack import TestDatabase

LATE = datetime(2026, 11, 22, 23, 59, 59, 999_999, tzinfo=UTC)
COMBINED = re.compile(r'\S+ - - \[[^\]]+\] "[A-Za-z]+ \S+ HTTP/1\.1" \d{3} (\d+|-) "[^"]*" "[^"]*"')


@pytest.fixture
def logging(app: Flask, services: Services, backend: Backend, tmp_path: Path) -> Backend:
    """A backend of an API that keeps an access log in a folder of its own."""
    settings = replace(services.settings, access_log_dir=str(tmp_path))
    app.extensions[EXTENSION] = replace(
        app.extensions[EXTENSION], services=replace(services, settings=settings, clock=lambda: LATE)
    )
    return backend


def lines(folder: Path) -> list[str]:
    return (folder / "access-2026-11-22.log").read_text().splitlines()


def test_a_request_is_a_line_in_the_file_of_its_day_that_only_its_owner_reads(logging: Backend, tmp_path: Path) -> None:
    size = len(
        logging.http.get(
            "/healthz", headers={"Referer": "https://Portal.example.com/people?name=kim", "User-Agent": "x/1"}
        ).data
    )
    expected = '127.0.0.1 - - [22/Nov/2026:23:59:59 +0000] "GET /healthz HTTP/1.1" 200 {} "portal.example.com" "x/1"'
    assert lines(tmp_path) == [expected.format(size)]
    assert S_IMODE((tmp_path / "access-2026-11-22.log").stat().st_mode) == 0o600


def test_neither_queries_nor_unknown_paths_nor_what_is_no_id_are_written(logging: Backend, tmp_path: Path) -> None:
    some_id = "01a00000-0000-7000-8000-000000000000"
    logging.get(f"/v1/accounts/{some_id}?name=kim-secret")
    logging.get("/kim-secret")
    logging.get("/v1/accounts/kim-secret")
    logging.send("KIM", "/healthz")
    written = lines(tmp_path)
    assert "kim" not in "".join(written).lower().replace('"kim', "")
    assert [line.split('"')[1] for line in written] == [
        f"GET /v1/accounts/{some_id} HTTP/1.1", "GET unknown HTTP/1.1", "GET unknown HTTP/1.1", "unknown unknown HTTP/1.1",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ['"', "a\\b", "\x1b[31m", "é" * 500, '" 200 1 "-" "forged'])
def test_no_header_breaks_out_of_its_line(logging: Backend, tmp_path: Path, name: str) -> None:
    logging.http.get("/healthz", headers={"User-Agent": name.encode().decode("latin-1"), "Referer": f"https://{name}/"})
    [line] = lines(tmp_path)
    assert COMBINED.fullmatch(line), line
    assert line.isascii()
    assert len(line) < 8192


def test_a_disk_that_takes_nothing_refuses_no_request_and_is_told_of(logging: Backend, app: Flask, tmp_path: Path) -> None:
    (tmp_path / "access-2026-11-22.log").symlink_to("/dev/full")
    with capture_logs() as told:
        assert logging.http.get("/healthz").status_code == 200
    [event] = [each for each in told if each["event"] == "access_log_unwritten"]
    assert "127.0.0.1" not in str(event)


def test_without_a_folder_nothing_is_written(backend: Backend, tmp_path: Path) -> None:
    assert backend.http.get("/healthz").status_code == 200
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_refused_at_the_start(
    database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDPRIV_ACCESS_LOG_DIR", str(tmp_path))
    assert database.settings("api").access_log_dir == str(tmp_path)
    monkeypatch.setenv("CLOUDPRIV_ACCESS_LOG_DIR", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="ACCESS_LOG_DIR"):
        database.settings("api")
