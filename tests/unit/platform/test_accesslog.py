"""The access log's files: by the day of their lines, for their owner alone, whole lines from however many processes."""

import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from stat import S_IMODE

import pytest

from cloudpriv.platform import accesslog

MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC)
WRITER = """
import sys
from datetime import datetime
from pathlib import Path
from cloudpriv.platform import accesslog
for _ in range(500):
    accesslog.append(Path(sys.argv[1]), datetime.fromisoformat("2026-11-22T00:00:00Z"), sys.argv[2] * 3000)
"""


def test_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), letter]) for letter in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    lines = (tmp_path / "access-2026-11-22.log").read_text().splitlines()
    assert Counter(lines) == {letter * 3000: 500 for letter in "abc"}


def test_a_line_lies_in_the_file_of_its_own_day_in_utc(tmp_path: Path) -> None:
    accesslog.append(tmp_path, MIDNIGHT, "first")
    accesslog.append(tmp_path, MIDNIGHT - timedelta.resolution, "last of the day before, written late")
    accesslog.append(tmp_path, datetime(2026, 11, 22, 1, tzinfo=timezone(timedelta(hours=2))), "of the day before, too")
    assert {file.name: len(file.read_text().splitlines()) for file in tmp_path.iterdir()} == {
        "access-2026-11-22.log": 1,
        "access-2026-11-21.log": 2,
    }
    assert {S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


def test_a_file_is_due_when_its_last_possible_line_is(tmp_path: Path) -> None:
    accesslog.append(tmp_path, MIDNIGHT, "line")
    assert accesslog.due(tmp_path, MIDNIGHT + timedelta(days=1) - timedelta.resolution) == []
    assert accesslog.due(tmp_path, MIDNIGHT + timedelta(days=1)) == [tmp_path / "access-2026-11-22.log"]


def test_only_our_own_files_are_ever_erased(tmp_path: Path) -> None:
    names = ("access.log", "access-2026-13-45.log", "access-2026-11-22.log.gz", "x-access-2026-11-22.log")
    for name in names:
        (tmp_path / name).touch()
    accesslog.append(tmp_path, MIDNIGHT, "line")
    assert accesslog.erase(tmp_path, MIDNIGHT + timedelta(days=9999)) == 1
    assert {file.name for file in tmp_path.iterdir()} == set(names)


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "access-2026-11-22.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        accesslog.append(tmp_path, MIDNIGHT, "line")


def test_a_folder_that_is_away_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        accesslog.append(tmp_path / "none", MIDNIGHT, "line")
    with pytest.raises(FileNotFoundError):
        accesslog.erase(tmp_path / "none", MIDNIGHT)
