"""`cloudpriv demo` as its users run it: it tells a true story to the end, or what failed in one line, and leaves nothing."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cloudpriv.demo import recording

REPOSITORY = Path(__file__).parents[2]
TITLES = [
    "start the stack",
    "register two backends",
    "open accounts",
    "ingest traffic",
    "verify a password",
    "export an account",
    "show what is due",
    "purge what is due",
    "verify the certificates",
    "prove that nothing is left",
]

OWN_TRAFFIC = """device,session,start,end
pump,1,1764547200,1764547260
pump,2,1764547300,1764547360
pump,3,1764547400,1764547399
"""
OWN_MAP = """source = "own"
[columns]
device = "device"
session = "session"
started_at = "start"
ended_at = "end"
"""


class Place:
    """Where demos run: their temporary files, by which their processes are known, and a folder for the stack."""

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.stack = folder / "stack"

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """A demo that was just started, unaware of any other stack."""
        # A setting of another installation, which must be of no effect.
        environment = os.environ | {"TMPDIR": str(self.temporary), "CLOUDPRIV_DATABASE_URL": "postgresql+psycopg://nowhere/"}
        command = [sys.executable, "-m", "cloudpriv.cli", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=pipe, stderr=pipe, text=True)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """A demo that has ended."""
        process = self.start(*words)
        output, errors = process.communicate(timeout=200)
        return subprocess.CompletedProcess(words, process.returncode, output, errors)

    def left(self) -> list[str]:
        """Temporary files and processes that are still there."""
        processes = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdecimal() and self._is_of_a_demo(entry)]
        return [*processes, *(path.name for path in self.temporary.iterdir())]

    def _is_of_a_demo(self, process: Path) -> bool:
        try:
            started_with = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:  # gone meanwhile, or another user's
            return False
        return bytes(self.temporary.parent) in started_with


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def story(place: Place) -> dict[str, dict[str, Any]]:
    """What a demo on a new folder tells with --json, step by step."""
    ended = place.run("--embedded", str(place.stack), "demo", "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert not place.left()
    return {step["title"]: step for step in json.loads(ended.stdout)["steps"]}


def test_every_step_is_told_with_its_time(story: dict[str, dict[str, Any]]) -> None:
    assert list(story) == TITLES
    assert [step["step"] for step in story.values()] == list(range(1, 11))
    assert all(step["did"] and step["seconds"] > 0 for step in story.values())
    assert set(story["start the stack"]["versions"]) == {"PostgreSQL", "Valkey", "rclone"}


def test_every_record_of_every_source_is_accounted_for(story: dict[str, dict[str, Any]]) -> None:
    told = [record for service in ("talk2m", "intesis") for record in recording.records(service)]
    ingested = story["ingest traffic"]
    assert ingested["accepted"] == len({(record["account"], record["session"]) for record in told})
    for count in (ingested, *ingested["sources"]):
        assert count["rows"] == count["accepted"] + count["merged"] + count["rejected"]
    for count in ingested["sources"]:
        assert count["rejected"] == sum(count["reasons"].values())
    assert {count["source"] for count in ingested["sources"] if count["rejected"]} == {
        "OpenVPN status file, version 1, which names no account"
    }


def test_the_export_lists_its_members(story: dict[str, dict[str, Any]]) -> None:
    exported = story["export an account"]
    assert {"account.json", "people.json", "devices.json", "traffic.csv"} <= {each["name"] for each in exported["members"]}
    assert exported["account_id"] == story["open accounts"]["account_ids"][0]


def test_what_has_been_idle_for_seven_years_is_purged_and_nothing_else(story: dict[str, dict[str, Any]]) -> None:
    opened = zip(story["open accounts"]["account_ids"], recording.accounts(), strict=True)
    old = {account_id for account_id, account in opened if account["traffic"] == ["2018"]}
    assert len(old) == 2
    assert {each["account_id"] for each in story["show what is due"]["due"]} == old
    purged = story["purge what is due"]["purged"]
    assert {each["account_id"] for each in purged} == old
    assert all(each["counts"]["traffic"] and each["counts"]["account_keys"] == 1 for each in purged)
    assert sum(each["counts"].get("objects", 0) for each in purged) == 1
    proof = story["prove that nothing is left"]
    assert proof["accounts_kept"] == len(recording.accounts()) - 2
    assert proof["audit_events"] > 0


@pytest.mark.usefixtures("story")
def test_ones_own_traffic_can_follow_in_the_same_folder_and_stays_while_it_is_recent(place: Place, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(OWN_TRAFFIC)
    (tmp_path / "own.toml").write_text(OWN_MAP)
    own = ("--traffic", str(tmp_path / "own.csv"), "--map", str(tmp_path / "own.toml"))
    ended = place.run("--embedded", str(place.stack), "demo", *own)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    for number, title in enumerate(title.replace("open accounts", "open an account") for title in TITLES):
        assert sum(line.startswith(f"{number + 1:2}  {title}: ") for line in lines) == 1
        assert sum([cell.strip() for cell in line.split("│")[1:3]] == [str(number + 1), title] for line in lines) == 1
    assert "own.csv: 3 records: 2 new, 0 merged, 1 rejected (1 ends_before_start)" in ended.stdout
    assert "not due before 2032-12-02" in ended.stdout
    assert "purge what is due: nothing, as the policy says" in ended.stdout
    assert "prove that nothing is left: nothing was purged; untouched: " in ended.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.csv", "own.toml"]
    assert not place.left()


def test_a_step_that_fails_is_named_in_one_line(place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = place.run("--embedded", str(tmp_path / "file" / "stack"), "demo")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("cloudpriv: step 1 (start the stack) failed: [Errno 20] Not a directory")
    assert ended.stderr.count("\n") == 1
    assert not place.left()


def test_a_demo_that_is_told_to_stop_leaves_nothing(place: Place) -> None:
    with place.start("demo") as process:
        await_line(process, " 1  start the stack")
        process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM
    assert not place.left()


def test_a_demo_that_is_interrupted_again_and_again_leaves_nothing(place: Place) -> None:
    with place.start("demo") as process:
        await_line(process, " 3  open accounts")
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=0.2)  # the impatience of the user
        assert process.returncode != 0
    assert not place.left()


def await_line(process: "subprocess.Popen[str]", beginning: str) -> None:
    """Read what a demo tells until a line begins so."""
    assert process.stdout is not None
    while not process.stdout.readline().startswith(beginning):
        assert process.poll() is None
