"""What `cloudpriv export verify` accepts, and what it does not, in bounded memory."""

import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from cloudpriv.audit import certificates, notes
from cloudpriv.bootstrap import Services
from cloudpriv.rights.archive import check as archive_check
from cloudpriv.rights.archive.check import ArchiveError
from tests.exports import ask, open_archive, run
from tests.unit.rights.full_account import full_account

KEY = Ed25519PrivateKey.generate()
VKEY = notes.verifier_key("example.com/log", KEY).text
MIB = 1024 * 1024


def packed(target: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target


def signed(files: dict[str, bytes], rows: dict[str, int | None], **more: Any) -> dict[str, bytes]:
    """An archive's files with a manifest that KEY has signed."""
    members = [
        {"name": name, "bytes": len(content), "sha256": sha256(content).hexdigest(), "rows": rows.get(name)}
        for name, content in files.items()
    ]
    manifest = json.dumps({"format": "cloudpriv-export/2", "members": members, **more}).encode()
    return {**files, "manifest.json": manifest, "manifest.jws": certificates.sign(manifest, KEY).encode()}


def test_an_archive_of_ours_is_as_it_was_signed(services: Services, owner_engine: Engine, tmp_path: Path) -> None:
    made = full_account(services, owner_engine)
    run(services, export_id := ask(services, made.account_id))
    archive = open_archive(services, export_id)
    whole = tmp_path / "whole.zip"
    whole.write_bytes(archive.fp.getvalue())  # type: ignore[union-attr]  # it was opened on bytes
    vkey = notes.verifier_key("example.com/log", services.require_proof_key()).text
    manifest = archive_check.check(whole, f"{VKEY}\n{vkey}\n")
    assert manifest["export_id"] == str(export_id)
    with pytest.raises(ArchiveError, match="was not signed"):
        archive_check.check(whole, VKEY)


FILES = {
    "rows.csv": b'a,b\n1,"x\ny"\n2,z\n',
    "list.json": b'[\n{"a": [{"b": "}{\\\\\\"["}]},\n{}\n]\n',
    "one.json": b'{"a": {}}\n',
}
ROWS: dict[str, int | None] = {"rows.csv": 2, "list.json": 2, "one.json": 1}


def test_rows_are_counted_as_they_are(tmp_path: Path) -> None:
    path = packed(
        tmp_path / "a.zip",
        signed({**FILES, "no.json": b"null\n", "none.json": b"[]\n"}, {**ROWS, "no.json": 0, "none.json": 0}),
    )
    assert len(archive_check.check(path, VKEY)["members"]) == 5


@pytest.mark.parametrize("name", FILES)
def test_another_number_of_rows_than_the_manifest_says_is_told(tmp_path: Path, name: str) -> None:
    path = packed(tmp_path / "a.zip", signed(FILES, {**ROWS, name: 3}))
    with pytest.raises(ArchiveError, match=f"{name} has another number of rows"):
        archive_check.check(path, VKEY)


def without(name: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda files: {each: content for each, content in files.items() if each != name}


def with_(**changed: bytes) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda files: {**files, **{name.replace("_", "."): content for name, content in changed.items()}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without("rows.csv"), "not those that the manifest lists"),
        (without("manifest.json"), "no manifest.json"),
        (without("manifest.jws"), "no manifest.jws"),
        (with_(more_txt=b""), "not those that the manifest lists"),
        (with_(rows_csv=b"a,b\n1,2\n3,4\n"), "rows.csv is not the one that was signed"),
        (with_(rows_csv=FILES["rows.csv"] + b"3,4\n"), "rows.csv is not the one that was signed"),
        (with_(rows_csv=FILES["rows.csv"].replace(b"x", b"y")), "rows.csv is not the one that was signed"),
        (with_(manifest_json=b"{}"), "was not signed"),
        (with_(manifest_jws=b"x..y"), "was not signed"),
        (with_(manifest_jws=b"\xff"), "no signature"),
    ],
)
def test_whatever_was_changed_is_told(
    tmp_path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], told: str
) -> None:
    path = packed(tmp_path / "a.zip", change(signed(FILES, ROWS)))
    with pytest.raises(ArchiveError, match=told):
        archive_check.check(path, VKEY)


def test_what_the_key_signed_for_something_else_is_no_manifest(tmp_path: Path) -> None:
    content = b'{"format":"another","members":[]}'
    path = packed(tmp_path / "a.zip", {"manifest.json": content, "manifest.jws": certificates.sign(content, KEY).encode()})
    with pytest.raises(ArchiveError, match="not of the format"):
        archive_check.check(path, VKEY)


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"no archive at all", b"PK\x05\x06" + bytes(18), b"PK\x05\x06" + b"\xff" * 18]
)
def test_what_is_no_archive_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(ArchiveError):
        archive_check.check(path, VKEY)


def test_an_archive_that_breaks_off_anywhere_is_told(tmp_path: Path) -> None:
    whole = packed(tmp_path / "a.zip", signed(FILES, ROWS)).read_bytes()
    bad = tmp_path / "b.zip"
    for place in range(0, len(whole), 7):
        bad.write_bytes(whole[:place])
        with pytest.raises(ArchiveError):
            archive_check.check(bad, VKEY)


def test_a_method_of_packing_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", signed(FILES, ROWS), zipfile.ZIP_LZMA)
    with pytest.raises(ArchiveError, match="packed in another way"):
        archive_check.check(path, VKEY)


def test_a_file_that_is_twice_in_it_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", signed(FILES, ROWS))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("rows.csv", b"another")
    with pytest.raises(ArchiveError, match="twice"):
        archive_check.check(path, VKEY)


def peak(path: Path, told: str) -> float:
    """The most memory that looking at an archive takes, in MiB."""
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match=told):
            archive_check.check(path, VKEY)
        return tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()


def test_a_manifest_of_gigabytes_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("manifest.json", "w") as file:
        for _ in range(200):
            file.write(bytes(MIB))
    assert peak(path, "manifest.json is too large") < 40


def test_a_file_of_gigabytes_in_the_place_of_a_signed_one_is_not_read_to_its_end(tmp_path: Path) -> None:
    files = signed(FILES, ROWS)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            with archive.open(name, "w") as file:
                file.write(content)
                for _ in range(300 if name == "rows.csv" else 0):
                    file.write(bytes(MIB))
    assert peak(path, "not the one that was signed") < 10


class Endless(io.RawIOBase):
    """A file that never ends, and tells when somebody reads on and on."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.left -= len(buffer)
        assert self.left > 0, "it is read further than it may be long"
        return len(buffer)


def test_a_file_is_read_no_further_than_to_be_too_long() -> None:
    size, _ = archive_check._measured(cast("IO[bytes]", Endless(5 * MIB)), 2 * MIB)
    assert 2 * MIB < size < 3 * MIB


def test_a_list_of_files_that_is_made_up_to_be_large_is_not_read(tmp_path: Path) -> None:
    path, size = tmp_path / "bomb.zip", 64 * MIB
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, size, 0, 0))
    assert peak(path, "list of files is too large") < 20


def test_more_files_than_any_archive_has_are_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for number in range(archive_check.MOST_FILES + 1):
            archive.writestr(str(number), b"")
    path = tmp_path / "many.zip"
    path.write_bytes(content.getvalue())
    with pytest.raises(ArchiveError, match="too many"):
        archive_check.check(path, VKEY)
