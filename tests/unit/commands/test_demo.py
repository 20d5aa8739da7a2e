"""`cloudpriv demo` refuses what it cannot run before it starts anything."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cloudpriv.cli import main


@pytest.mark.parametrize("given", ["--traffic", "--map"])
def test_traffic_and_its_map_go_together(given: str, tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.touch()
    ended = CliRunner().invoke(main, ["demo", given, str(file)])
    assert ended.exit_code == 2
    assert "--traffic and --map go together." in ended.output


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    ended = CliRunner().invoke(main, ["demo", "--traffic", str(tmp_path / "none.csv"), "--map", "nemea-siot"])
    assert ended.exit_code == 2
