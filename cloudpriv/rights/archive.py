"""The archive of an account's data: one zip, made in constant memory from one snapshot of the database.

Its members follow from the classification of the columns, so that a newly classified table is in it without a change here.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import msgspec
import stream_zip
from isal import isal_zlib
from sqlalchemy import Table

from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.platform import bulk
from cloudpriv.platform.classify import exported_tables
from cloudpriv.platform.db import ControllerBase, Tx
from cloudpriv.policy.register import Policy
from cloudpriv.rights import page, records
from cloudpriv.rights.information import processing

FORMAT: Final = "cloudpriv-export/1"
MODE: Final = 0o600
# Faster than a disk on one core, and within a tenth of the size that gzip reaches at its default level.
DEFLATE_LEVEL: Final = 2
JSON: Final = msgspec.json.Encoder(enc_hook=str)
INDENT: Final = 2


@dataclass
class Member:
    """A file of the archive; its size, digest and number of rows are known once its content has been read."""

    name: str
    rows: int | None = None
    size: int = 0
    _digest: Any = field(default_factory=sha256)

    def measured(self, content: Iterable[bytes]) -> Iterator[bytes]:
        """The same content, measured as it passes."""
        for block in content:
            self.size += len(block)
            self._digest.update(block)
            yield block

    def entry(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {"name": self.name, "bytes": self.size, "sha256": self._digest.hexdigest(), "rows": self.rows}


@contextmanager
def streamed(tx: Tx, policy: Policy, account: OpenedAccount, export_id: UUID) -> Iterator[Iterator[bytes]]:
    """The archive: everything exportable of the account, the information of Article 15, a readable page, a manifest.

    `tx` is one read-only snapshot; it is fit for other queries after the block, even if the archive was not read to its
    end. The manifest comes last, since only then the digests are known.
    """
    with ExitStack() as queries:
        members = _members(_Source(tx, policy, account, export_id, queries))
        files = ((name, tx.now, MODE, stream_zip.ZIP_64, content) for name, content in members)
        yield iter(stream_zip.stream_zip(files, get_compressobj=_deflate))


@dataclass(frozen=True)
class _Source:
    """Whose archive from which snapshot, and the queries to be ended with it."""

    tx: Tx
    policy: Policy
    account: OpenedAccount
    export_id: UUID
    queries: ExitStack


def _deflate() -> Any:  # isal's object does what zlib's does, by another name of its type
    return isal_zlib.compressobj(level=DEFLATE_LEVEL, wbits=-15)


def _members(source: _Source) -> Iterator[tuple[str, Iterator[bytes]]]:
    policy, written = source.policy, list[Member]()

    def member(name: str) -> Member:
        written.append(Member(name))
        return written[-1]

    for table in exported_tables(ControllerBase.metadata):
        each = member(table.info["member"])
        yield each.name, each.measured(_content(source, table, each))
    information = {language: processing(policy, source.account.row.service, language) for language in policy.languages}
    yield "processing.json", member("processing.json").measured([_pretty(information)])
    about = _about(source)
    html = page.render(source.tx, source.account, about, information, [each.entry() for each in written])
    yield "index.html", member("index.html").measured(html)
    yield "manifest.json", iter([_pretty({**about, "members": [each.entry() for each in written]})])


def _about(source: _Source) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "account_id": source.account.row.account_id,
        "export_id": source.export_id,
        "created_at": source.tx.now,
        "policy_version": source.policy.version,
    }


def _content(source: _Source, table: Table, member: Member) -> Iterator[bytes]:
    account_id = source.account.row.account_id
    if member.name.endswith(".csv"):
        blocks = bulk.csv_blocks(source.tx.session, records.csv_query(table, account_id))
        return _csv(source.queries.enter_context(closing(blocks)), member)
    rows = records.rows(source.tx, source.account.key, table, account_id)
    return _json(_counted(rows, member), single=records.is_single(table))


def _csv(blocks: Generator[bytes, None, int], member: Member) -> Iterator[bytes]:
    member.rows = yield from blocks


def _counted(rows: Iterable[dict[str, Any]], member: Member) -> Iterator[dict[str, Any]]:
    member.rows = 0
    for row in rows:
        member.rows += 1
        yield row


def _json(rows: Iterator[dict[str, Any]], *, single: bool) -> Iterator[bytes]:
    if single:
        yield _pretty(next(rows, None))
        return
    separator = b"[\n"
    for row in rows:
        yield separator + _pretty(row).rstrip()
        separator = b",\n"
    yield b"\n]\n" if separator == b",\n" else b"[]\n"


def _pretty(value: Any) -> bytes:
    return msgspec.json.format(JSON.encode(value), indent=INDENT) + b"\n"
