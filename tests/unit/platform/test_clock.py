"""Law 9: only the clock reads the clock."""

import ast
from pathlib import Path

import pytest

import cloudpriv
import workers

CLOCK = "clock.py"
READS = {"now", "utcnow", "today"}
SOURCES = [
    path
    for package in (cloudpriv, workers)
    for path in Path(str(package.__file__)).parent.rglob("*.py")
    if path.name != CLOCK
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_but_the_clock_asks_for_the_time_of_day(path: Path) -> None:
    calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    named = [call for call in calls if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name)]
    asked = {f"{call.value.id}.{call.attr}" for call in named if isinstance(call.value, ast.Name)}
    assert asked & {f"{owner}.{read}" for owner in ("datetime", "date") for read in READS} == set()
    assert "time.time" not in asked
