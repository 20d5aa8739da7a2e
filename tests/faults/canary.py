"""An account with a planted canary wherever there is room for one, and a look for what is left of it anywhere."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from secrets import token_hex
from typing import Any, Final
from uuid import UUID

from redis import Redis
from sqlalchemy import CheckConstraint, Column, Engine, FromClause, String, insert, text, update

from cloudpriv.bootstrap import Services
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform.classify import Erasure, classification_of, erased_tables
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.retention.tables import Hold, Notice, Purge
from tests.factories import NOW, make_device, make_person
from tests.faults.stage import Stage
from tests.furnished import announce
from tests.purges import LONG_AGO, hear_of_log_data, let_it_age, make_full_account, order, rows_of
from tests.stack import every_row

CANARY: Final = "canary-"
CANARIES: Final = re.compile(CANARY + "([0-9a-f]{32})")
# Columns of few values that the service itself writes and goes by.
CLOSED: Final = frozenset({"service", "status", "role", "type"})
IDS: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BYTES: Final = re.compile(r"\\+x((?:[0-9a-f]{2}){16,})")  # hashes, keys and what is sealed; shorter ones prove nothing
TRAIL: Final = frozenset(
    table.name
    for table in CONTROLLER.sorted_tables
    if table.info["erasure"] is Erasure.KEPT and "account_id" in table.columns
)


@dataclass(frozen=True)
class Planted:
    """An account, and what would show that something of it is left: sealed values and hashes, and ids, of all its rows."""

    account_id: UUID
    bytes: frozenset[str]
    ids: frozenset[str]


def plant(services: Services, owner: Engine) -> Planted:
    """An account with a canary in every text that it has anywhere, objects, versions of them, and an unfinished upload."""
    account_id = make_full_account(services)
    word = f"{CANARY}{account_id.hex}"
    person = make_person(services, account_id, username=word, name=word, email=f"{word}@example.com", company_name=word)
    make_device(services, account_id, serial=word, common_name=word, name=word, model=word)
    _add_what_retention_keeps(owner, account_id, person.row.person_id, word)
    _write_into_every_text(owner, account_id, word)
    _upload(services.exports, account_id, word.encode())
    empty = {table.name for table in erased_tables(CONTROLLER)} - set(rows_of(owner, account_id))
    assert not empty, "an account that has everything has something in each table"
    return Planted(account_id, *_marks(row for _, row in _rows_of(owner, account_id)))


def mould(stage: Stage) -> "tuple[Planted, Mould]":
    """An account with everything that is due, with its open purge, and the means to make others like it."""
    planted = plant(stage.services, stage.owner)
    let_it_age(stage.owner, planted.account_id)
    purge_id = order(stage.services, stage.owner, planted.account_id)
    rows = _rows_of(stage.owner, planted.account_id, Purge.__table__)
    of_account = {"id": planted.account_id}
    with stage.owner.connect() as connection:
        archives = text("SELECT export_id, object_key FROM exports WHERE account_id = :id")
        export_id, archive = connection.execute(archives, of_account).one()
        mails = connection.execute(text("SELECT mail_id FROM outbox WHERE account_id = :id"), of_account).scalars().all()
        run_ids = connection.execute(text("SELECT run_id FROM purge_runs")).scalars().all()
    jobs = [("export", export_id), *(("mail", each) for each in mails)]
    return planted, Mould(rows, archive, jobs, planted.account_id, purge_id, {str(each): str(each) for each in run_ids})


def _add_what_retention_keeps(owner: Engine, account_id: UUID, person_id: UUID, word: str) -> None:
    hold = {
        "account_id": account_id, "hold_id": new_id(), "scope": "person", "person_id": person_id, "authority": word,
        "reference": word, "placed_by": "client:one", "placed_at": NOW, "until": NOW, "released_by": "client:two",
        "released_at": NOW,
    }  # fmt: skip
    notice = {"account_id": account_id, "due_on": NOW.date() + timedelta(30), "days": 30, "given_at": NOW, "mails": 1}
    with owner.begin() as connection:
        connection.execute(insert(Hold), hold)
        connection.execute(insert(Notice), notice)
        hear_of_log_data(connection, account_id, LONG_AGO)
        announce(connection, NOW)


def _write_into_every_text(owner: Engine, account_id: UUID, word: str) -> None:
    """Wherever a column that an export shows takes any text."""
    with owner.begin() as connection:
        for table in erased_tables(CONTROLLER):
            texts = [
                column.name
                for column in table.columns
                if isinstance(column.type, String) and not column.primary_key and not _is_closed(column)
                and (mark := classification_of(column)) is not None and mark.export is not None
            ]  # fmt: skip
            if texts:
                connection.execute(update(table).where(table.c.account_id == account_id).values(dict.fromkeys(texts, word)))


def _is_closed(column: Column[Any]) -> bool:
    """Whether the database takes certain texts only."""
    rules = (str(rule.sqltext) for rule in column.table.constraints if isinstance(rule, CheckConstraint))
    return column.name in CLOSED or any(re.search(rf"\b{column.name}\b", rule) for rule in rules)


def _upload(objects: ObjectStore, account_id: UUID, content: bytes) -> None:
    """An object with two versions, a delete marker where the store has such, and an upload that nobody finished."""
    folder, client = f"exports/{account_id}/", objects._s3
    for key in ("kept.zip", "kept.zip", "deleted.zip"):
        objects.put(folder + key, content)
    client.delete_object(Bucket=objects.bucket, Key=f"{folder}deleted.zip")
    key = f"{folder}unfinished.zip"
    upload = client.create_multipart_upload(Bucket=objects.bucket, Key=key)["UploadId"]
    client.upload_part(Bucket=objects.bucket, Key=key, UploadId=upload, PartNumber=1, Body=content)


def _rows_of(owner: Engine, account_id: UUID, *more: FromClause) -> list[tuple[str, str]]:
    """Table and text of every row of the account that is to be erased, what is referred to first, and of more tables."""
    names = [table.name for table in (*reversed(list(erased_tables(CONTROLLER))), *more)]
    found = []
    with owner.connect() as connection:
        for name in names:
            query = text(f"SELECT CAST(t AS text) FROM {name} t WHERE account_id = :id")  # noqa: S608  our own table
            found += [(name, row) for row in connection.execute(query, {"id": account_id}).scalars()]
    return found


def _marks(rows: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    texts = list(rows)
    return frozenset(_found(BYTES, texts)), frozenset(_found(IDS, texts))


def _found(pattern: re.Pattern[str], texts: Iterable[str]) -> Iterator[str]:
    for each in texts:
        yield from pattern.findall(each)


@dataclass(frozen=True)
class Mould:
    """An account as it is planted, with an open purge: to make others of, much faster than by the services."""

    rows: Sequence[tuple[str, str]]  # tables, what is referred to first, and a row as text
    archive: str  # the key of an export's object
    jobs: Sequence[tuple[str, UUID]]
    account_id: UUID
    purge_id: UUID
    same: Mapping[str, str]  # ids that stay as they are

    def cast(self, stage: Stage) -> tuple[Planted, UUID]:
        """Another account like it, with ids, canaries and bytes of its own; and its open purge."""
        ids = dict(self.same)
        rows = [(table, self._renewed(row, ids)) for table, row in self.rows]
        with stage.owner.begin() as connection:
            for table, row in rows:
                connection.execute(text(f"INSERT INTO {table} SELECT (CAST(:row AS {table})).*"), {"row": row})
        account_id, purge_id = (UUID(ids[str(each)]) for each in (self.account_id, self.purge_id))
        _upload(stage.services.exports, account_id, f"{CANARY}{account_id.hex}".encode())
        stage.services.exports.put(self._renewed(self.archive, ids), b"an archive")
        for job, subject in self.jobs:
            stage.services.controller.enqueue(job, UUID(ids[str(subject)]))
        marks = _marks(row for table, row in rows if table != Purge.__tablename__)
        return Planted(account_id, *marks), purge_id

    def _renewed(self, row: str, ids: dict[str, str]) -> str:
        """The same with other ids, each the same everywhere, and other bytes."""
        row = IDS.sub(lambda found: ids.setdefault(found[0], str(new_id())), row)
        row = BYTES.sub(lambda found: found[0].replace(found[1], token_hex(len(found[1]) // 2)), row)
        return row.replace(self.account_id.hex, UUID(ids[str(self.account_id)]).hex)


def left(stage: Stage, gone: Sequence[Planted], spared: Sequence[Planted] = ()) -> list[tuple[str, str]]:
    """Where something of accounts is left, and what: in any table, object, upload, entry of the queue's server, or log.

    What `spared` accounts have too proves nothing. Ids alone may stay in logs, and in the audit trail, which outlives the
    account (GDPR Article 5(2)).
    """
    sought = _Sought(
        {each.account_id.hex for each in gone},
        set().union(*(each.bytes for each in gone)).difference(*(each.bytes for each in spared)),
        set().union(*(each.ids for each in gone)),
    )
    found = [
        (table, mark)
        for table, rows in every_row(stage.owner).items()
        for row in rows
        for mark in sought.marks_in(row)
        if not (table in TRAIL and mark in sought.ids)
    ]
    elsewhere = {
        "exports": _everything_in(stage.services.exports),
        "ledger": _everything_in(stage.services.ledger),
        "queue": everything_queued(stage.services.redis),
    }
    found += [(place, mark) for place, texts in elsewhere.items() for each in texts for mark in sought.marks_in(each)]
    logged = sought.marks_in(stage.log.read_text(encoding="utf-8"))
    return found + [("log", mark) for mark in logged if mark not in sought.ids]


@dataclass(frozen=True)
class _Sought:
    canaries: set[str]
    bytes: set[str]
    ids: set[str]

    def marks_in(self, content: str) -> Iterator[str]:
        """What of the sought is in a text, also in the bytes that it shows in hexadecimal."""
        shown = [bytes.fromhex(each).decode(errors="replace") for each in BYTES.findall(content)]
        for each in (content, *shown):
            yield from (CANARY + found for found in self.canaries.intersection(CANARIES.findall(each)))
            yield from self.ids.intersection(IDS.findall(each))
        yield from (each[:40] for each in self.bytes.intersection(BYTES.findall(content)))


def _everything_in(store: ObjectStore) -> Iterator[str]:
    """Keys of all objects, versions, delete markers and unfinished uploads, and what can be read."""
    for key in store.keys(""):
        yield key
    for key, _ in store.unfinished(""):
        yield key
    for key in store.keys_after("", ""):
        yield store.get(key).decode(errors="replace")


def everything_queued(redis: Redis) -> Iterator[str]:
    """Every key and every value of Valkey's database, as text."""
    read: dict[bytes | str, Any] = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"set": redis.smembers,
        b"zset": lambda key: redis.zrange(key, 0, -1),
        b"stream": redis.xrange,
    }
    for key in redis.scan_iter():
        kind = redis.type(key)
        if kind != b"none":  # gone since
            yield f"{key.decode()} {read[kind](key)}"
