"""What the README and the page about log data have their readers type works as it stands there, on both planes."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from tests.flows.test_embedded_planes import cloudpriv, two_free_ports

ROOT = Path(__file__).parents[2]
SESSION = ROOT / "README.md"
PAGE = ROOT / "docs" / "log-data.md"
SHOWN = (  # what the page says that the answers are, or what shows that a step did what it was to do
    '{"accepted":3,"rejected":[]}{"accepted":2,"rejected":[]}',
    "Press 4,pieces,2026-01-31T12:01:00Z,int,4711,,",
    '"would_erase":',
    '"status":"ready"',
    '"access.refused"',
    '"retention.set"',
    '"language":"sv"',
)


@dataclass(frozen=True)
class Place:
    """Where a stack of both planes runs."""

    folder: Path
    ports: tuple[int, int]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Both planes, served on a stack of their own."""
    folder, ports = tmp_path_factory.mktemp("docs"), two_free_ports()
    quiet = {"CLOUDPRIV_LOG_LEVEL": "WARNING", "CLOUDPRIV_PROCESSOR_LOG_LEVEL": "WARNING"}
    words = ["serve", "--embedded", str(folder / "stack"), "--bind", f"127.0.0.1:{ports[0]}"]
    with cloudpriv(*words, environment={**os.environ, **quiet}) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        for port in ports:
            assert urllib3.request("GET", f"http://127.0.0.1:{port}/readyz").status == 200
        yield Place(folder, ports)


def blocks(page: Path, heading: str = "") -> list[str]:
    """What a page has in blocks of shell, from a heading to the next of the same rank."""
    text = page.read_text()
    if heading:
        text = text[text.index(f"## {heading}\n") :].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


def as_here(block: str, place: Place) -> str:
    """A block with this test's folder, ports and program in place of a reader's."""
    block = block.replace(".venv/bin/cloudpriv", f"{sys.executable} -m cloudpriv.cli").replace("var/embedded", "stack")
    block = block.replace("var/", "")
    for of_reader, here in zip(("8080", "8081"), place.ports, strict=True):
        block = block.replace(f"127.0.0.1:{of_reader}", f"127.0.0.1:{here}")
    return block


def test_the_session_of_the_readme_and_the_page_about_log_data_work_as_they_stand(place: Place) -> None:
    told = [*blocks(SESSION, "A session with curl"), *blocks(PAGE)]
    first, second = place.ports
    own = {"CLOUDPRIV_API_URL": f"http://127.0.0.1:{first}", "CLOUDPRIV_LOGDATA_URL": f"http://127.0.0.1:{second}"}
    script = "\n".join(as_here(block, place) for block in told)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=place.folder, env={**os.environ, **own}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    for shown in SHOWN:
        assert shown in done.stdout, shown
    assert (place.folder / "press.parquet").read_bytes().startswith(b"PAR1")
    assert '"status": 403' in (place.folder / "refusal.json").read_text()
