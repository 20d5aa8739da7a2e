"""The erasure of log data: ordered by a role that can do nothing else, carried out to the last row and object, once."""

from datetime import datetime, timedelta
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import ARRAY, BigInteger, Column, Date, DateTime, Engine, Integer, LargeBinary, String, Uuid, insert, text
from sqlalchemy.dialects.postgresql import JSONB

from cloudpriv.bootstrap import ProcessorServices, Services
from cloudpriv.metadata import PROCESSOR
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.classify import erased_tables
from cloudpriv.platform.db import Plane
from cloudpriv.platform.errors import GoneError, NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.processor import accounts
from cloudpriv.processor.tables import LogErased, LogTask
from cloudpriv.processor.tasks import LaterError
from cloudpriv.processor.upkeep import erasure
from cloudpriv.processor.upkeep.erasure import GRACE, OBJECTS, POINTS
from tests.factories import NOW
from tests.logdata import carry_out, log_transaction, make_log_account
from tests.purges import Killed, Moments, await_blocked, die

SOME: dict[type[Any], Any] = {
    Uuid: UUID(int=1), LargeBinary: b"sealed", DateTime: NOW, Date: NOW.date(), Integer: 1, BigInteger: 1, String: "text",
    ARRAY: [1], JSONB: {},
}  # fmt: skip
# Of columns that take few values.
ONE_OF: dict[tuple[str, str], Any] = {
    ("log_tokens", "kind"): "device",
    ("log_instructions", "kind"): "delete",
    ("log_deletions", "trigger"): "customer",
    ("log_exports", "format"): "csv",
    ("log_requests", "type"): "access",
    ("log_tasks", "lease_until"): NOW + timedelta(days=3650),  # nobody is to do it
}
EVERYTHING = {table.name for table in erased_tables(PROCESSOR)}


@pytest.fixture
def eraser(worker_services: Services) -> Plane:
    """The door of the controller plane's workers."""
    assert worker_services.eraser is not None
    return worker_services.eraser


def make_full_account(processor: ProcessorServices, owner: Engine) -> UUID:
    """An account with a row in every table that is erased, and objects in both folders, one of them unfinished."""
    account_id = make_log_account(processor)
    with owner.begin() as connection:
        for table in reversed(list(erased_tables(PROCESSOR))):
            if table.name not in {"log_accounts", "log_keys"}:
                row = {column.name: _some(column) for column in table.columns if column.name != "account_id"}
                connection.execute(insert(table).values(account_id=account_id, **row))
    for folder in erasure.FOLDERS:
        processor.objects.put(f"{folder}{account_id}/{new_id()}", b"sealed")
    client, key = processor.objects._s3, f"exports/{account_id}/unfinished"
    client.create_multipart_upload(Bucket=processor.objects.bucket, Key=key)
    return account_id


def _some(column: Column[Any]) -> Any:
    if (column.table.name, column.name) in ONE_OF:
        return ONE_OF[column.table.name, column.name]
    return "pending" if column.name == "status" else SOME.get(type(column.type), False)


def order(eraser: Plane, account_id: UUID, now: datetime = NOW - GRACE) -> None:
    with eraser.transaction(WORKER, now) as tx:
        erasure.order(tx, account_id)


def state(eraser: Plane, account_id: UUID) -> dict[str, int] | None:
    with eraser.statement(WORKER, NOW) as tx:
        return erasure.state(tx, account_id)


def prepare(eraser: Plane, account_id: UUID, cutoff: datetime | None = None) -> datetime | None:
    with eraser.transaction(WORKER, NOW) as tx:
        return erasure.prepare(tx, account_id, cutoff)


def erase(worker: ProcessorServices) -> None:
    """Do what the schedule and a worker do."""
    with log_transaction(worker, WORKER) as tx:
        erasure.enqueue_ordered(tx)
    carry_out(worker)


def rows_of(owner: Engine, account_id: UUID) -> dict[str, int]:
    """How many rows of the account there are in each table to be erased that has any."""
    with owner.connect() as connection:
        query = "SELECT count(*) FROM {} WHERE account_id = :id"
        counts = {name: connection.scalar(text(query.format(name)), {"id": account_id}) for name in EVERYTHING}
    return {name: number for name, number in counts.items() if number}


def objects_of(processor: ProcessorServices, account_id: UUID) -> list[str]:
    """Keys of the account's objects and unfinished uploads."""
    keys = [*processor.objects.keys(""), *(key for key, _ in processor.objects.unfinished(""))]
    return [key for key in keys if str(account_id) in key]


def put_point(owner: Engine, account_id: UUID, at: datetime) -> None:
    """Have the account's last point come then."""
    with owner.begin() as connection:
        connection.execute(
            text("UPDATE log_accounts SET last_point_at = :at WHERE account_id = :id"), {"at": at, "id": account_id}
        )


def closing_until(owner: Engine, account_id: UUID) -> datetime | None:
    with owner.connect() as connection:
        found: datetime | None = connection.scalar(
            text("SELECT closing_until FROM log_accounts WHERE account_id = :id"), {"id": account_id}
        )
        return found


def test_after_an_erasure_nothing_is_left_but_a_tombstone_and_events(
    eraser: Plane, processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine
) -> None:
    account_id, other = (make_full_account(processor, processor_owner) for _ in range(2))
    assert set(rows_of(processor_owner, account_id)) == EVERYTHING, "a table was left empty"
    assert len(objects_of(processor, account_id)) == 3
    kept = rows_of(processor_owner, other)
    order(eraser, account_id)
    assert state(eraser, account_id) is None
    erase(processor_worker)
    assert (rows_of(processor_owner, account_id), objects_of(processor, account_id)) == ({}, [])
    assert (rows_of(processor_owner, other), len(objects_of(processor, other))) == (kept, 3)
    expected = {**dict.fromkeys(EVERYTHING, 1), "log_tasks": 2, OBJECTS: 3, POINTS: 1}
    assert state(eraser, account_id) == expected
    with log_transaction(processor) as tx:
        assert tx.session.get_one(LogErased, accounts.hash_of(account_id)).erased_at is not None
        with pytest.raises(GoneError):
            accounts.open_account(tx, account_id)


def test_the_order_destroys_the_key_at_once_and_closes_the_account_for_good(
    eraser: Plane, processor: ProcessorServices, processor_owner: Engine
) -> None:
    account_id = make_full_account(processor, processor_owner)
    order(eraser, account_id)
    assert "log_keys" not in rows_of(processor_owner, account_id)
    with log_transaction(processor) as tx:
        for find in (accounts.find_account, accounts.lock_account):
            with pytest.raises(NotFoundError):
                find(tx, account_id)
        with pytest.raises(GoneError):
            accounts.open_account(tx, account_id)


def test_an_account_without_log_data_has_its_tombstone_at_once_and_none_later(
    eraser: Plane, processor: ProcessorServices
) -> None:
    account_id = new_id()
    assert state(eraser, account_id) is None, "nothing was ordered"
    order(eraser, account_id)
    order(eraser, account_id, NOW + timedelta(days=1))
    assert state(eraser, account_id) == {}
    with log_transaction(processor) as tx:
        assert tx.session.get_one(LogErased, accounts.hash_of(account_id)).erased_at == NOW - GRACE
        with pytest.raises(GoneError):
            accounts.open_account(tx, account_id)


@pytest.mark.parametrize("moment", range(1, 6))
def test_a_worker_killed_between_any_two_transactions_is_succeeded_and_counts_once(
    eraser: Plane, processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine, moment: int
) -> None:
    account_id = make_full_account(processor, processor_owner)
    order(eraser, account_id)
    clock = Moments(moment, die)
    with pytest.raises(Killed):
        erasure.carry_out(processor_worker.plane, processor_worker.objects, account_id, clock)
    erase(processor_worker)
    counts = state(eraser, account_id)
    assert counts == {**dict.fromkeys(EVERYTHING, 1), "log_tasks": 2, OBJECTS: 3, POINTS: 1}
    assert (rows_of(processor_owner, account_id), objects_of(processor, account_id)) == ({}, [])


def test_the_moments_above_are_all_there_are(
    eraser: Plane, processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine
) -> None:
    account_id = make_full_account(processor, processor_owner)
    order(eraser, account_id)
    clock = Moments(0, die)
    erasure.carry_out(processor_worker.plane, processor_worker.objects, account_id, clock)
    assert clock.read == 5


def test_rows_go_in_batches(
    eraser: Plane, processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine
) -> None:
    account_id = make_full_account(processor, processor_owner)
    many = 2 * erasure.BATCH + 5
    with processor_owner.begin() as connection:
        statement = "INSERT INTO log_garbage SELECT :id, 'chunks/' || n, now() FROM generate_series(1, :many) n"
        connection.execute(text(statement), {"id": account_id, "many": many})
    order(eraser, account_id)
    clock = Moments(0, die)
    erasure.carry_out(processor_worker.plane, processor_worker.objects, account_id, clock)
    assert clock.read == 5 + 2
    counts = state(eraser, account_id)
    assert counts is not None
    assert counts["log_garbage"] == many + 1


def test_the_last_look_waits_for_appends_that_began_before_the_order(
    eraser: Plane, processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine
) -> None:
    account_id = make_full_account(processor, processor_owner)
    order(eraser, account_id, NOW)
    plane, objects = processor_worker.plane, processor_worker.objects
    early, late = NOW + GRACE - timedelta(seconds=1), NOW + GRACE
    with pytest.raises(LaterError):
        erasure.carry_out(plane, objects, account_id, lambda: early)
    assert rows_of(processor_owner, account_id) == {"log_accounts": 1, "log_tasks": 1}
    objects.put(f"chunks/{account_id}/{new_id()}", b"put by an append that will fail")
    assert state(eraser, account_id) is None
    erasure.carry_out(plane, objects, account_id, lambda: late)
    assert (objects_of(processor, account_id), rows_of(processor_owner, account_id)) == ([], {})


def test_what_was_not_ordered_is_not_erased(
    processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine
) -> None:
    account_id = make_full_account(processor, processor_owner)
    before = rows_of(processor_owner, account_id)
    erasure.carry_out(processor_worker.plane, processor_worker.objects, account_id, lambda: NOW)
    erasure.carry_out(processor_worker.plane, processor_worker.objects, new_id(), lambda: NOW)
    assert rows_of(processor_owner, account_id) == before
    with log_transaction(processor_worker, WORKER) as tx:
        assert erasure.enqueue_ordered(tx) == 0


def test_an_ordered_erasure_has_one_task(
    eraser: Plane, processor: ProcessorServices, processor_worker: ProcessorServices
) -> None:
    account_id = make_log_account(processor)
    order(eraser, account_id)
    with log_transaction(processor_worker, WORKER) as tx:
        assert [erasure.enqueue_ordered(tx), erasure.enqueue_ordered(tx)] == [1, 0]
        [task] = tx.session.query(LogTask).all()
        assert (task.kind, task.account_id) == ("erase", account_id)


def test_closing_tells_the_last_point_and_lapses_by_itself(
    eraser: Plane, processor: ProcessorServices, processor_owner: Engine
) -> None:
    account_id = make_log_account(processor)
    assert (prepare(eraser, account_id), prepare(eraser, new_id())) == (None, None)
    put_point(processor_owner, account_id, NOW)
    assert prepare(eraser, account_id, NOW + timedelta(seconds=1)) == NOW
    until = closing_until(processor_owner, account_id)
    assert until is not None
    assert timedelta(minutes=4) < until - processor.clock() <= erasure.CLOSED


def test_a_point_since_the_cutoff_closes_nothing(
    eraser: Plane, processor: ProcessorServices, processor_owner: Engine
) -> None:
    account_id = make_log_account(processor)
    put_point(processor_owner, account_id, NOW)
    assert prepare(eraser, account_id, NOW) == NOW
    assert closing_until(processor_owner, account_id) is None


def test_whoever_stops_after_closing_leaves_nothing_closed(
    eraser: Plane, processor: ProcessorServices, processor_owner: Engine
) -> None:
    account_id = make_log_account(processor)

    def stop() -> None:
        with eraser.transaction(WORKER, NOW) as tx:
            erasure.prepare(tx, account_id, None)
            die()

    with pytest.raises(Killed):
        stop()
    assert closing_until(processor_owner, account_id) is None


def test_nobody_opens_an_account_while_it_is_decided_whether_it_goes(
    eraser: Plane, processor: ProcessorServices, processor_owner: Engine
) -> None:
    account_id, outcome = new_id(), []

    def open_it() -> None:
        with log_transaction(processor) as tx:
            try:
                accounts.open_account(tx, account_id)
            except GoneError:
                outcome.append("gone")

    with eraser.transaction(WORKER, NOW) as tx:
        erasure.prepare(tx, account_id, None)
        opening = Thread(target=open_it)
        opening.start()
        assert await_blocked(processor_owner, lambda: not opening.is_alive()), "it did not wait"
        erasure.order(tx, account_id)
    opening.join()
    assert outcome == ["gone"]


def test_objects_that_come_back_after_the_end_are_removed_and_no_others(
    eraser: Plane, processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine
) -> None:
    gone, living, unknown = make_log_account(processor), make_full_account(processor, processor_owner), new_id()
    order(eraser, gone)
    erase(processor_worker)
    objects = processor.objects
    for account_id in (gone, unknown):
        objects.put(f"chunks/{account_id}/{new_id()}", b"of a backup")
    assert erasure.remove_returned(processor_worker.plane, objects, lambda: NOW) == 1
    assert [len(objects_of(processor, each)) for each in (gone, living, unknown)] == [0, 3, 1]


def test_an_account_that_a_restore_brought_back_is_erased_again(
    eraser: Plane, processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine
) -> None:
    account_id = make_log_account(processor)
    with processor_owner.begin() as connection:  # its tombstone is newer than the backup that it came back with
        row = {"account_hash": accounts.hash_of(account_id), "ordered_at": NOW, "erased_at": NOW, "counts": {"log_keys": 1}}
        connection.execute(insert(LogErased), row)
    assert state(eraser, account_id) is None, "it is there"
    order(eraser, account_id)
    erase(processor_worker)
    assert state(eraser, account_id) == {"log_keys": 1, "log_accounts": 1, "log_tasks": 1}


def test_the_ids_of_accounts_come_in_pages_without_those_that_go(eraser: Plane, processor: ProcessorServices) -> None:
    made = sorted(make_log_account(processor) for _ in range(4))
    order(eraser, made[2])
    with eraser.transaction(WORKER, NOW) as tx:
        first = erasure.account_ids(tx, None, 2)
        assert (first, erasure.account_ids(tx, first[-1], 2)) == (made[:2], made[3:])
