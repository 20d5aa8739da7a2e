"""docs/security.md: every point of ASVS 5.0.0 up to level 2 has its row, and every test that a row names is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
HERE = "tests/portal/"  # where tests are that name no folder
ID = re.compile(r"\b\d+\.\d+\.\d+\b")
CITED = re.compile(r"`([^`]+\.py)`: ([^`]+)")
WITHOUT_TEST = ("not met", "does not apply", "documented")
# Of the chapters on web frontend, authentication, sessions, authorization and tokens, the points of levels 1 and 2.
POINTS = {
    "3.2": [1, 2], "3.3": [1, 2, 3, 4], "3.4": [1, 2, 3, 4, 5, 6], "3.5": [1, 2, 3, 4, 5], "3.7": [1, 2],
    "6.1": [1, 2, 3], "6.2": list(range(1, 13)), "6.3": [1, 2, 3, 4], "6.4": [1, 2, 3, 4], "6.5": [1, 2, 3, 4, 5],
    "6.6": [1, 2, 3], "6.8": [1, 2, 3, 4],
    "7.1": [1, 2, 3], "7.2": [1, 2, 3, 4], "7.3": [1, 2], "7.4": [1, 2, 3, 4, 5], "7.5": [1, 2], "7.6": [1, 2],
    "8.1": [1, 2], "8.2": [1, 2, 3], "8.3": [1], "8.4": [1],
    "9.1": [1, 2, 3], "9.2": [1, 2, 3, 4],
}  # fmt: skip


def rows() -> list[list[str]]:
    """The rows of the tables of points: the point, how it is met, and what shows it."""
    lines = PAGE.read_text().partition("## OWASP ASVS")[2].splitlines()
    cells = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in cells if ID.match(row[0])]


def cited(text: str) -> Iterator[tuple[str, str]]:
    """Each file that a cell names, and each test of it, as they are written."""
    for file, names in CITED.findall(text):
        for name in filter(None, (name.strip(" .") for name in names.split(";"))):
            yield file if "/" in file else HERE + file, name


def functions(file: str) -> set[str]:
    """The tests of a file."""
    path = ROOT / file
    return set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)) if path.is_file() else set()


def in_code(name: str) -> str:
    """A test's shortened name as it stands in its function's."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower().replace("'", "")).strip("_")


def test_every_point_up_to_level_2_has_one_row() -> None:
    told = [point for row in rows() for point in ID.findall(row[0])]
    wanted = {f"{section}.{number}" for section, numbers in POINTS.items() for number in numbers}
    assert wanted - set(told) == set()
    assert sorted(point for point in told if told.count(point) > 1) == []


def test_a_point_beyond_level_2_says_so() -> None:
    wanted = {f"{section}.{number}" for section, numbers in POINTS.items() for number in numbers}
    beyond = [row[0] for row in rows() if not set(ID.findall(row[0])) <= wanted]
    assert [point for point in beyond if "(level 3)" not in point] == []


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_every_row_names_a_test_or_says_why_there_is_none(row: list[str]) -> None:
    assert len(row) == 3
    assert list(cited(row[2])) or row[1].startswith(WITHOUT_TEST)


def test_every_test_that_the_page_names_is_there() -> None:
    named = {found for line in PAGE.read_text().splitlines() for cell in line.split("|") for found in cited(cell)}
    assert len(named) > 80
    assert sorted((file, name) for file, name in named if not any(in_code(name) in found for found in functions(file))) == []
