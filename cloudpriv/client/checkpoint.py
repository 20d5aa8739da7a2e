"""How far an ingest has come, kept in a small file so that an interrupted one can be resumed exactly.

The file holds counts and hashes, no account, device or path.
"""

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, TypeAlias
from uuid import uuid4

import msgspec

from cloudpriv.client.rows import Rejection

# Of the file itself only its beginning is hashed: with size and time of change that tells two files apart.
HEAD: Final = 1 << 20

# Rejections with the numbers of their rows, counted from 1.
Numbered: TypeAlias = Sequence[tuple[int, Rejection]]


@dataclass
class Report:
    """What became of the rows of a file so far: rows == accepted + merged + rejected.

    `reasons` counts the rejected by code; `devices_created` counts devices that were not there before.
    """

    rows: int = 0
    accepted: int = 0
    merged: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    devices_created: int = 0


@dataclass
class Checkpoint:
    """Where an ingest stands: its report after the last row before which every row has its verdict.

    `run` makes the Idempotency-Keys of one ingest its own: a batch that the server took just before an
    interruption gets the same verdict when it is sent again; a second ingest of the file gets new ones.
    """

    job: str
    run: str = field(default_factory=lambda: uuid4().hex)
    report: Report = field(default_factory=Report)
    rejects_size: int = 0

    def acknowledge(self, rows: int, accepted: int, merged: int, rejected: Numbered, listing: IO[bytes] | None) -> None:
        """Count one batch, and list what was rejected of it as NDJSON of row, code and detail."""
        self.report.rows += rows
        self.report.accepted += accepted
        self.report.merged += merged
        self.report.rejected += len(rejected)
        for _, rejection in rejected:
            self.report.reasons[rejection.code] = self.report.reasons.get(rejection.code, 0) + 1
        if listing:
            listing.writelines(_line(row, rejection) for row, rejection in rejected)
            listing.flush()
            self.rejects_size = listing.tell()

    def save(self, path: Path | None) -> None:
        """Write to `path`, if any, so that a reader sees the old state or the new one, never a part."""
        if path:
            beside = path.with_name(path.name + ".new")
            beside.write_bytes(msgspec.json.encode(self))
            beside.replace(path)


def resume(path: Path | None, job: str, rejects: Path | None) -> Checkpoint:
    """The checkpoint in `path` if it is of the same job and its list of rejects is there; else a new one."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Checkpoint) if path else None
        if found and found.job == job and (rejects is None or rejects.stat().st_size >= found.rejects_size):
            return found
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        pass  # none, or one that a power cut has damaged: to send all again changes nothing in the database
    return Checkpoint(job)


def job_of(path: Path, *settings: object) -> str:
    """What identifies the ingest of a file: its size, time of change and beginning, and all `settings`."""
    status = path.stat()
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(HEAD))
    digest.update(repr((status.st_size, status.st_mtime_ns, settings)).encode(errors="surrogateescape"))
    return digest.hexdigest()


def open_rejects(path: Path | None, size: int) -> AbstractContextManager[IO[bytes] | None]:
    """The list of rejects cut to the `size` that a checkpoint vouches for, to be continued."""
    if path is None:
        return nullcontext()
    listing = path.open("ab")
    listing.truncate(size)
    return listing


def _line(row: int, rejection: Rejection) -> bytes:
    return msgspec.json.encode({"row": row, "code": rejection.code, "detail": rejection.detail}) + b"\n"
