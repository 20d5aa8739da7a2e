"""The archive of an account's data, or of one person's: one zip, made in constant memory from one snapshot of the database.

Its members follow from the classification of the columns, so that a newly classified table is in it without a change here.
The manifest tells of every other member and is signed, so that nobody can change an archive unseen.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import msgspec
import stream_zip
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from isal import isal_zlib
from sqlalchemy import Table

from cloudpriv.audit import certificates
from cloudpriv.platform import bulk
from cloudpriv.platform.db import Tx
from cloudpriv.policy.register import Policy
from cloudpriv.rights.archive import access_log as archive_log
from cloudpriv.rights.archive import information, page, records
from cloudpriv.rights.archive import schemas as archive_schemas
from cloudpriv.rights.archive import texts as archive_texts
from cloudpriv.rights.archive import traffic as archive_traffic
from cloudpriv.rights.archive.scope import Scope
from cloudpriv.rights.archive.traffic import Totals

FORMAT: Final = "cloudpriv-export/2"
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.jws"
MODE: Final = 0o600
# Faster than a disk on one core, and within a tenth of the size that gzip reaches at its default level.
DEFLATE_LEVEL: Final = 2
JSON: Final = msgspec.json.Encoder(enc_hook=str)
INDENT: Final = 2


@dataclass
class Member:
    """A file of the archive; its size, digest and number of rows are known once its content has been read."""

    name: str
    schema: str | None = None
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
        digest = self._digest.hexdigest()
        return {"name": self.name, "bytes": self.size, "sha256": digest, "rows": self.rows, "schema": self.schema}


def _uncounted(_: int) -> None:
    """What nobody counts."""


@dataclass(frozen=True)
class Order:
    """Which archive is wanted: by which policy, signed with which key, its page in which language; who counts its rows."""

    policy: Policy
    key: Ed25519PrivateKey
    export_id: UUID
    language: str
    wrote: Callable[[int], None] = _uncounted


@contextmanager
def streamed(tx: Tx, scope: Scope, order: Order) -> Iterator[Iterator[bytes]]:
    """The archive: everything exportable, the information of Article 15, a readable page, schemas, a signed manifest.

    `tx` is one read-only snapshot; it is fit for other queries after the block, even if the archive was not read to its
    end. The manifest comes last, since only then the digests are known.
    """
    with ExitStack() as queries:
        members = _members(_Writing(tx, scope, order, queries))
        files = ((name, tx.now, MODE, stream_zip.ZIP_64, content) for name, content in members)
        yield iter(stream_zip.stream_zip(files, get_compressobj=_deflate))


def expected_rows(tx: Tx, scope: Scope) -> int:
    """How many rows an archive from this snapshot will have, for its progress."""
    return records.count(tx, scope) + archive_log.count(tx, scope)


@dataclass
class _Writing:
    """Whose archive from which snapshot, the queries to be ended with it, and what is written of it so far."""

    tx: Tx
    scope: Scope
    order: Order
    queries: ExitStack
    written: list[Member] = field(default_factory=list)
    totals: Totals = field(default_factory=Totals)

    def member(self, name: str, *, schema: str | None = None, rows: int | None = None) -> Member:
        """The next member."""
        self.written.append(Member(name, schema, rows))
        return self.written[-1]

    def entries(self) -> list[dict[str, Any]]:
        """What the manifest says of all that is written."""
        return [each.entry() for each in self.written]

    def rows_of(self, name: str) -> int:
        """How many rows a member has that is written; none if it is not in this archive."""
        return next((each.rows or 0 for each in self.written if each.name == name), 0)


def _deflate() -> Any:  # isal's object does what zlib's does, by another name of its type
    return isal_zlib.compressobj(level=DEFLATE_LEVEL, wbits=-15)


def _members(this: _Writing) -> Iterator[tuple[str, Iterator[bytes]]]:
    schemas = archive_schemas.schemas(this.scope)
    for table in records.tables(this.scope):
        yield _with_rows(this, table.info["member"], partial(_content, this, table))
    yield _with_rows(this, archive_traffic.NAME, partial(_csv, _by_month(this), _uncounted))
    yield _with_rows(this, archive_log.NAME, partial(_csv, _log(this), this.order.wrote))
    for name, schema in schemas.items():
        yield _small(this, archive_schemas.path_of(name), schema)
    told = _information(this)
    yield _small(this, "processing.json", told, schema=archive_schemas.path_of("processing.json"))
    yield _page(this, told)
    yield from _signed_manifest(this)


def _with_rows(this: _Writing, name: str, content: Callable[[Member], Iterator[bytes]]) -> tuple[str, Iterator[bytes]]:
    member = this.member(name, schema=archive_schemas.path_of(name), rows=0)
    return name, member.measured(content(member))


def _small(this: _Writing, name: str, value: Any, *, schema: str | None = None) -> tuple[str, Iterator[bytes]]:
    return name, this.member(name, schema=schema).measured([_pretty(value)])


def _page(this: _Writing, told: dict[str, dict[str, Any]]) -> tuple[str, Iterator[bytes]]:
    language = archive_texts.language_of(this.order.language)
    of_policy = language if language in told else next(iter(told))
    html = page.render(
        this.tx,
        this.scope,
        page.Told(language, _about(this), told[of_policy], of_policy, this.entries(), this.totals),
    )
    return "index.html", this.member("index.html").measured(html)


def _information(this: _Writing) -> dict[str, dict[str, Any]]:
    """The information of Article 15 in every language of the policy."""
    policy, account, disclosures = this.order.policy, this.scope.account.row, this.rows_of("disclosures.json")
    return {
        language: information.of_account(policy, account, language, disclosures=disclosures) for language in policy.languages
    }


def _signed_manifest(this: _Writing) -> Iterator[tuple[str, Iterator[bytes]]]:
    content = _pretty({"format": FORMAT, **_about(this), "members": this.entries()})
    yield MANIFEST, iter([content])
    yield SIGNATURE, iter([certificates.sign(content, this.order.key).encode() + b"\n"])


def _about(this: _Writing) -> dict[str, Any]:
    return {
        "account_id": this.scope.account_id,
        "export_id": this.order.export_id,
        "scope": "account" if this.scope.person_id is None else "person",
        "person_id": this.scope.person_id,
        "language": archive_texts.language_of(this.order.language),
        "created_at": this.tx.now,
        "policy_version": this.order.policy.version,
    }


def _content(this: _Writing, table: Table, member: Member) -> Iterator[bytes]:
    if member.name.endswith(".csv"):
        blocks = bulk.csv_blocks(this.tx.session, records.csv_query(this.scope, table))
        return _csv(this.queries.enter_context(closing(blocks)), this.order.wrote, member)
    rows = _counted(records.rows(this.tx, this.scope, table), member, this.order.wrote)
    return _json(rows, single=records.is_single(table))


def _by_month(this: _Writing) -> Generator[bytes, None, int]:
    return archive_traffic.blocks(this.tx, this.scope, this.totals, this.queries)


def _log(this: _Writing) -> Generator[bytes, None, int]:
    return this.queries.enter_context(closing(bulk.csv_blocks(this.tx.session, archive_log.query(this.scope))))


def _csv(blocks: Generator[bytes, None, int], wrote: Callable[[int], None], member: Member) -> Iterator[bytes]:
    member.rows = yield from _told(blocks, wrote)


def _told(blocks: Generator[bytes, None, int], wrote: Callable[[int], None]) -> Generator[bytes, None, int]:
    """The same blocks; their rows are told by the ends of lines, which is close enough for a progress."""
    while True:
        try:
            block = next(blocks)
        except StopIteration as end:
            return int(end.value)
        wrote(block.count(b"\n"))
        yield block


def _counted(rows: Iterable[dict[str, Any]], member: Member, wrote: Callable[[int], None]) -> Iterator[dict[str, Any]]:
    member.rows = 0
    for row in rows:
        member.rows += 1
        wrote(1)
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
