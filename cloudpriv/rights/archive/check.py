"""Checks an archive offline: that it was signed with a key, and that every file in it is the one that was signed.

The archive may be anybody's, so nothing in it is believed before the manifest's signature is: until then no more than
`MOST_BYTES` of it are read, and afterwards no more of a file than the manifest says that it has.
"""

import csv
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final

from cloudpriv.audit import certificates
from cloudpriv.audit.merkle import ProofError
from cloudpriv.rights.archive.writing import FORMAT, MANIFEST, SIGNATURE

MOST_BYTES: Final = 8 * 1024 * 1024  # of the list of files, of the manifest, of the signature
MOST_FILES: Final = 10_000
MOST_DEPTH: Final = 1000
CHUNK: Final = 256 * 1024
KNOWN: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED: Final = 0x1
MARK: Final = re.compile(r'\\.|["{}\[\]]', re.DOTALL)
UNREADABLE: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError)


class ArchiveError(Exception):
    """An archive is not what was signed, or cannot be read; the text says what is wrong."""


def check(path: Path, vkeys: str) -> dict[str, Any]:
    """The manifest of an archive whose every byte is as signed with one of the verifier keys, one a line.

    Digests, sizes and numbers of rows hold, and there is no other file. In bounded memory, whatever the archive is. Raises
    ArchiveError; OSError when it cannot be read at all.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(_Bounded(file)) as archive:
                return _checked(archive, vkeys)
        except UNREADABLE as fault:
            raise ArchiveError(f"the file is no archive that can be read ({type(fault).__name__})") from None


def _checked(archive: zipfile.ZipFile, vkeys: str) -> dict[str, Any]:
    files = _files(archive)
    content = _small(archive, files, MANIFEST)
    _check_signature(content, _small(archive, files, SIGNATURE), vkeys)
    manifest = _read_manifest(content)
    members = {each["name"]: each for each in manifest["members"]}
    if len(members) != len(manifest["members"]) or {*members, MANIFEST, SIGNATURE} != set(files):
        raise ArchiveError("the files are not those that the manifest lists")
    for name, member in members.items():
        _check_member(archive, files[name], member)
    return manifest


def _files(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    listed = archive.infolist()
    files = {each.filename: each for each in listed}
    if len(files) != len(listed) or len(files) > MOST_FILES:
        raise ArchiveError("a file is twice in the archive, or there are too many")
    if any(each.compress_type not in KNOWN or each.flag_bits & ENCRYPTED for each in listed):
        raise ArchiveError("a file is packed in another way than ours are")
    return files


def _small(archive: zipfile.ZipFile, files: Mapping[str, zipfile.ZipInfo], name: str) -> bytes:
    if name not in files:
        raise ArchiveError(f"there is no {name} in the archive")
    with archive.open(files[name]) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ArchiveError(f"{name} is too large")
    return content


def _check_signature(content: bytes, signature: bytes, vkeys: str) -> None:
    try:
        certificates.verify_signature(content, signature.decode("ascii").strip(), vkeys)
    except UnicodeDecodeError:
        raise ArchiveError(f"{SIGNATURE} is no signature") from None
    except ProofError:
        raise ArchiveError(f"{MANIFEST} was not signed as it is with a given key") from None


def _read_manifest(content: bytes) -> dict[str, Any]:
    """The manifest, whose signature holds: then it is one of ours, unless the key signed something else."""
    manifest = json.loads(content)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArchiveError(f"the manifest is not of the format {FORMAT}")
    return manifest


def _check_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, member: Mapping[str, Any]) -> None:
    """First that the bytes are those that were signed, and only then what they hold: until then they may be anything."""
    with archive.open(info) as file:
        measured = _measured(file, member["bytes"])
    if measured != (member["bytes"], member["sha256"]):
        raise ArchiveError(f"{info.filename} is not the one that was signed")
    if member["rows"] is None:
        return
    with archive.open(info) as file:
        rows = _rows(info.filename, io.TextIOWrapper(file, encoding="utf-8", newline=""))
    if rows != member["rows"]:
        raise ArchiveError(f"{info.filename} has another number of rows than the manifest says")


def _measured(file: IO[bytes], most: int) -> tuple[int, str]:
    """Size and SHA-256 of a file, which is read no further than to be too large."""
    size, digest = 0, sha256()
    while size <= most and (content := file.read(CHUNK)):
        size += len(content)
        digest.update(content)
    return size, digest.hexdigest()


def _rows(name: str, lines: io.TextIOWrapper) -> int:
    return _csv_rows(lines) if name.endswith(".csv") else _json_rows(iter(lambda: lines.read(CHUNK), ""))


def _csv_rows(lines: Iterable[str]) -> int:
    try:
        return sum(1 for _ in csv.reader(lines, strict=True)) - 1
    except csv.Error:
        raise ArchiveError("a member is no CSV") from None


def _json_rows(chunks: Iterator[str]) -> int:
    """How many objects stand by themselves or in the outermost array, without reading them into memory."""
    rows, path, within, held = 0, "", False, ""
    for chunk in chunks:
        text, held = held + chunk, ""
        if _ends_escaping(text):
            text, held = text[:-1], text[-1]
        for mark in MARK.findall(text):
            if mark == '"':
                within = not within
            elif not within and mark in "{[":
                rows += mark == "{" and path in ("", "[")
                path = _deeper(path, mark)
            elif not within and mark in "}]":
                path = path[:-1]
    return rows


def _deeper(path: str, mark: str) -> str:
    if len(path) > MOST_DEPTH:
        raise ArchiveError("a member is no JSON of ours")
    return path + mark


def _ends_escaping(text: str) -> bool:
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


class _Bounded(io.RawIOBase):
    """A file of which nobody reads more than MOST_BYTES at once: its list of files may be made up to fill the memory."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """Where it is."""
        return int(self._file.tell())

    def read(self, size: int = -1) -> bytes:
        """So much, or all; raises ArchiveError for more than MOST_BYTES."""
        content: bytes = self._file.read(MOST_BYTES + 1 if size is None or size < 0 else min(size, MOST_BYTES + 1))
        if len(content) > MOST_BYTES:
            raise ArchiveError("the list of files is too large")
        return content
