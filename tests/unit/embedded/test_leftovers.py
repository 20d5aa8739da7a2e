"""Only servers of our folder are ended, never a stranger."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloudpriv.embedded.leftovers import end_leftovers


@contextmanager
def _sleeping(program: Path, place: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([program, "60"], cwd=place) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def sleep(tmp_path: Path) -> Path:
    found = shutil.which("sleep")
    assert found is not None
    return Path(found).resolve()


@pytest.mark.parametrize("name", ["rclone", "valkey-server", "postgres", "initdb"])
def test_a_server_in_the_folder_is_ended(tmp_path: Path, sleep: Path, name: str) -> None:
    program = Path(shutil.copy(sleep, tmp_path / name))
    with _sleeping(program, tmp_path) as process:
        end_leftovers({tmp_path})
        assert process.wait(60) < 0


def test_a_server_of_another_folder_is_left_alone(tmp_path: Path, sleep: Path) -> None:
    program = Path(shutil.copy(sleep, tmp_path / "rclone"))
    (tmp_path / "other").mkdir()
    with _sleeping(program, tmp_path / "other") as process:
        end_leftovers({tmp_path})
        assert process.poll() is None


def test_another_program_in_the_folder_is_left_alone(tmp_path: Path, sleep: Path) -> None:
    with _sleeping(sleep, tmp_path) as process:
        end_leftovers({tmp_path})
        assert process.poll() is None
