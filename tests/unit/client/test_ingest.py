"""Every row gets one verdict, a second run changes nothing, and an interrupted ingest ends as if it had not been."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloudpriv.client.api import ApiError
from cloudpriv.client.checkpoint import Report
from cloudpriv.client.ingest import ingest, ingest_file
from cloudpriv.client.rows import Record, Row, malformed
from tests.unit.client.peer import ACCOUNT, HELD, PASS, Fault, Peer

TRAFFIC = "/v1/traffic"
MAP = 'source = "plant"\n[columns]\ndevice = "d"\nsession = "s"\nstarted_at = "from"\nended_at = "to"\n'
ROWS = 100
# Rows 10, 20 … end before they start, 15, 45, 75 have no time: the first are the server's to see, the others ours.
BACKWARDS = [row for row in range(1, ROWS + 1) if row % 10 == 0]
TIMELESS = [row for row in range(1, ROWS + 1) if row % 30 == 15]
CHILD = """
import sys
from pathlib import Path
from cloudpriv.client.api import ApiClient
from cloudpriv.client.ingest import ingest_file
url, folder = sys.argv[1], Path(sys.argv[2])
with ApiClient(url, "backend", "secret") as client:
    ingest_file(client, folder / "flows.csv", file_format="csv", csv_map=folder / "map.toml", account="acme",
                batch=10, rejects=folder / "rejects.ndjson")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with flows.csv of ROWS rows and its map.toml."""
    lines = ["d,s,from,to"]
    for row in range(1, ROWS + 1):
        start = "" if row in TIMELESS else str(1_000_000 + row)
        lines.append(f"dev-{row % 3},{row},{start},{999_999 if row in BACKWARDS else 2_000_000}")
    (tmp_path / "flows.csv").write_text("\n".join(lines))
    (tmp_path / "map.toml").write_text(MAP)
    return tmp_path


def send(peer: Peer, folder: Path, **settings: object) -> Report:
    """Ingest the folder's file in batches of ten."""
    options = {
        "csv_map": folder / "map.toml",
        "account": "acme",
        "batch": 10,
        "rejects": folder / "rejects.ndjson",
    }
    with peer.client() as client:
        return ingest_file(client, folder / "flows.csv", file_format="csv", **{**options, **settings})  # type: ignore[arg-type] # options of several types


def listed(folder: Path) -> list[int]:
    """The rows in the list of rejects."""
    return [json.loads(line)["row"] for line in (folder / "rejects.ndjson").read_text().splitlines()]


def interrupted(peer: Peer, folder: Path, **settings: object) -> None:
    """An ingest that stops after three batches; the fourth and the fifth, which are under way, are refused."""
    refusals = [Fault(403, only=b'"session":"31"', after=5), Fault(403, only=b'"session":"41"')]
    peer.faults[TRAFFIC].extend(refusals)
    with pytest.raises(ApiError, match="403"):
        send(peer, folder, **settings)
    assert json.loads((folder / "flows.csv.ingest").read_text())["report"]["rows"] == 30


WHOLE = Report(
    rows=ROWS,
    accepted=ROWS - len(BACKWARDS) - len(TIMELESS),
    merged=0,
    rejected=len(BACKWARDS) + len(TIMELESS),
    reasons={"ends_before_start": len(BACKWARDS), "malformed": len(TIMELESS)},
)


def test_every_row_has_one_verdict_and_rejects_are_listed_by_row(peer: Peer, folder: Path) -> None:
    assert send(peer, folder) == WHOLE
    assert listed(folder) == sorted(BACKWARDS + TIMELESS)
    lines = [json.loads(line) for line in (folder / "rejects.ndjson").read_text().splitlines()]
    assert lines[0] == {"row": 10, "code": "ends_before_start", "detail": "It ends before it starts."}
    assert lines[1] == {"row": 15, "code": "malformed", "detail": "started_at is empty"}
    assert sorted(path.name for path in folder.iterdir()) == ["flows.csv", "map.toml", "rejects.ndjson"]


def test_a_second_run_accepts_none(peer: Peer, folder: Path) -> None:
    send(peer, folder)
    before = dict(peer.sessions)
    again = send(peer, folder)
    assert (again.accepted, again.merged, again.rejected) == (0, WHOLE.accepted, WHOLE.rejected)
    assert peer.sessions == before
    assert listed(folder) == sorted(BACKWARDS + TIMELESS)


def test_the_account_goes_to_records_that_name_none(peer: Peer, folder: Path) -> None:
    rows: list[Record] = [{"source": "s", "session": name, "started_at": "2024", "device": "d"} for name in "ab"]
    rows[0]["account"] = "other"
    with peer.client() as client:
        ingest(client, rows, account="acme")
    assert [record["account"] for record in peer.sessions.values()] == ["other", "acme"]


def test_devices_are_created_before_their_records_arrive(peer: Peer, folder: Path) -> None:
    peer.known = {"dev-0"}
    report = send(peer, folder, account=ACCOUNT, create_devices=True)
    assert report == Report(**{**vars(WHOLE), "devices_created": 2})
    assert peer.known == {"dev-0", "dev-1", "dev-2"}


def test_without_leave_to_create_them_unknown_devices_are_rejected(peer: Peer, folder: Path) -> None:
    peer.known = {"dev-0"}
    report = send(peer, folder)
    assert report.reasons["unknown_device"] > 50
    assert report.rows == report.accepted + report.merged + report.rejected == ROWS


def test_progress_is_told_after_every_batch(peer: Peer, folder: Path) -> None:
    seen: list[tuple[float, int]] = []
    send(peer, folder, progress=lambda part, report: seen.append((part, report.rows)))
    assert [rows for _, rows in seen] == list(range(10, ROWS + 1, 10))
    assert seen[-1][0] == 1.0


@pytest.mark.parametrize("batch", [1, 4, 7])
def test_an_ingest_that_is_killed_goes_on_and_ends_as_if_it_had_not_been(peer: Peer, folder: Path, batch: int) -> None:
    peer.faults[TRAFFIC].extend([*[PASS] * (batch - 1), HELD, HELD])
    command = [sys.executable, "-c", CHILD, peer.url, str(folder)]
    with subprocess.Popen(command) as child:
        assert peer.arrived(TRAFFIC, batch)
        child.send_signal(signal.SIGKILL)
    peer.released.set()
    assert (folder / "flows.csv.ingest").exists()
    assert send(peer, folder) == WHOLE
    assert listed(folder) == sorted(BACKWARDS + TIMELESS)
    assert not (folder / "flows.csv.ingest").exists()
    assert len(peer.sessions) == WHOLE.accepted


def test_what_is_acknowledged_is_not_sent_again(peer: Peer, folder: Path) -> None:
    interrupted(peer, folder)
    before = len(peer.asked("POST", TRAFFIC))
    assert send(peer, folder) == WHOLE
    assert len(peer.asked("POST", TRAFFIC)) - before == 7


def test_the_checkpoint_says_nothing_about_persons_and_places(peer: Peer, folder: Path) -> None:
    interrupted(peer, folder, account="acme-water")
    text = (folder / "flows.csv.ingest").read_text()
    assert not [word for word in ("acme", "dev-", "flows", str(folder)) if word in text]


def test_another_account_does_not_go_on_where_the_first_stopped(peer: Peer, folder: Path) -> None:
    interrupted(peer, folder)
    report = send(peer, folder, account="other")
    assert (report.rows, report.merged) == (ROWS, 26)


def test_a_file_that_changed_is_sent_from_its_start(peer: Peer, folder: Path) -> None:
    interrupted(peer, folder)
    with (folder / "flows.csv").open("a") as file:
        file.write("\ndev-1,101,1,2")
    report = send(peer, folder)
    assert (report.rows, report.merged) == (ROWS + 1, 26)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"job": 1}', b"\xff"])
def test_a_damaged_checkpoint_means_a_new_start(peer: Peer, folder: Path, damage: bytes) -> None:
    interrupted(peer, folder)
    (folder / "flows.csv.ingest").write_bytes(damage)
    report = send(peer, folder)
    assert (report.rows, report.merged) == (ROWS, 26)
    assert listed(folder) == sorted(BACKWARDS + TIMELESS)


def test_a_list_of_rejects_that_was_taken_away_means_a_new_start(peer: Peer, folder: Path) -> None:
    interrupted(peer, folder)
    (folder / "rejects.ndjson").unlink()
    assert send(peer, folder).rows == ROWS
    assert listed(folder) == sorted(BACKWARDS + TIMELESS)


def test_lines_after_the_last_checkpoint_are_cut_from_the_list(peer: Peer, folder: Path) -> None:
    interrupted(peer, folder)
    with (folder / "rejects.ndjson").open("a") as file:
        file.write('{"row": 40, "code": "ends_before_start", "detail": ""}\n{"ro')
    assert send(peer, folder) == WHOLE
    assert listed(folder) == sorted(BACKWARDS + TIMELESS)


def test_a_folder_that_is_not_for_writing_gets_no_checkpoint(
    peer: Peer, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    folder.chmod(0o555)
    seen: list[int] = []
    send(peer, folder, rejects=elsewhere / "r", progress=lambda *_: seen.append(len(list(folder.iterdir()))))
    given = send(
        peer, folder, rejects=None, state=elsewhere / "s", progress=lambda *_: seen.append(len(list(elsewhere.iterdir())))
    )
    folder.chmod(0o755)
    assert seen == [2] * 20
    assert given.rows == ROWS


def test_a_row_that_is_not_utf8_is_rejected_by_its_number(peer: Peer, folder: Path) -> None:
    text = (folder / "flows.csv").read_bytes()
    (folder / "flows.csv").write_bytes(text.replace(b"dev-2,2,", b"d\xe9v-2,2,"))
    report = send(peer, folder)
    assert (report.rows, report.accepted) == (ROWS, WHOLE.accepted - 1)
    assert listed(folder) == sorted([2, *BACKWARDS, *TIMELESS])


def test_rows_from_anywhere_need_neither_file_nor_checkpoint(peer: Peer) -> None:
    rows: list[Row] = [malformed("it is"), Record(source="s", session="1", started_at="2024", device="d")]
    with peer.client() as client:
        assert ingest(client, rows) == Report(2, 1, 0, 1, {"malformed": 1})


def test_a_file_that_is_missing_is_one_clear_line(peer: Peer, folder: Path) -> None:
    (folder / "flows.csv").unlink()
    with pytest.raises(FileNotFoundError):
        send(peer, folder)
    assert peer.requests == []
