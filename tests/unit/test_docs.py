"""The documentation cannot drift from the code: tables are compared with what they are tables of."""

import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import click
import pytest

from cloudpriv.api.problems import STATUS
from cloudpriv.cli import main
from cloudpriv.config import DATABASE_SETTING, PREFIX, PROCESSOR_PREFIX, ProcessorSettings, Settings, setting_name

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
RECORDS = sorted((ROOT / "docs" / "adr").glob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
SECTIONS = ["Context", "Decision", "Consequences"]
RECORD_LINES = 30


def relative(path: Path) -> str:
    """How a page is called in the report of a test."""
    return str(path.relative_to(ROOT))


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the table that begins with the column `heading`, without its head."""
    lines = iter(page.read_text().splitlines())
    assert any(line.startswith(f"| {heading} |") for line in lines), f"no table of {heading}"
    next(lines)
    return [_cells(line) for line in _while_table(lines)]


def documented_setting(item: Field[Any], prefix: str = PREFIX) -> list[str]:
    """A setting's row as it has to stand in the README."""
    roles = DATABASE_SETTING if item.name == "database_url" else (next(iter(DATABASE_SETTING)),)
    names = " ".join(f"`{prefix}{setting_name(item, role)}`" for role in roles)
    return [names, _documented_default(item.metadata["default"]), item.metadata["doc"]]


def commands(group: click.Group, words: str = "") -> Iterator[str]:
    """Every command of a group as it is typed."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{words}{name} ")
        else:
            yield words + name


def test_the_readme_tells_of_every_setting_and_of_no_other() -> None:
    assert rows(README, "variable") == [documented_setting(item) for item in fields(Settings)]
    of_processor = [documented_setting(item, PROCESSOR_PREFIX) for item in fields(ProcessorSettings)]
    assert rows(README, "variable of the processor plane") == of_processor


def test_the_readme_tells_of_every_command_and_of_no_other() -> None:
    told = [row[0].strip("`") for row in rows(README, "command")]
    assert sorted(told) == sorted(commands(main))


def test_the_readme_tells_of_every_target_of_make() -> None:
    targets = re.findall(r"^([a-z-]+):.* ## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    readme = README.read_text()
    assert targets
    assert [target for target in targets if f"make {target}" not in readme] == []


def test_every_problem_is_documented_with_its_status() -> None:
    told = {row[0].strip("`"): row[1] for row in rows(ROOT / "docs" / "problems.md", "code")}
    known = {error.code: str(status) for error, status in STATUS.items()}
    assert {code: told.get(code) for code in known} == known


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"`((?:cloudpriv|workers|migrations|tests|docs)/[^` ]*)`", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("record", RECORDS, ids=relative)
def test_a_decision_is_recorded_shortly_and_in_one_form(record: Path) -> None:
    lines = record.read_text().splitlines()
    assert lines[0].startswith(f"# {int(record.name[:4])}. ")
    assert lines[2].startswith("Status: ")
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == SECTIONS
    assert len(lines) < RECORD_LINES


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(record.name[:4]) for record in RECORDS] == list(range(1, len(RECORDS) + 1))


def _documented_default(default: Any) -> str:
    if default is MISSING:
        return "required"
    if default is None:
        return "unset"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def _while_table(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield line
