"""A purge from its plan to the ledger: everything of the account, nothing else, whoever stops wherever."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform.classify import erased_tables
from cloudpriv.platform.errors import (
    AccountClosingError,
    AccountRestrictedError,
    BusyError,
    NotDueError,
    NotFoundError,
    StaleError,
)
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.retention import erase, purge
from cloudpriv.retention.lease import LEASE
from tests.exports import ask, make_sessions, stored
from tests.factories import BACKEND, NOW, make_account, make_device, transaction
from tests.purges import (
    LONG_AGO,
    checksums_of_others,
    close,
    is_blocked,
    ledger,
    let_it_age,
    make_full_account,
    plan,
    purge_of,
    rows_of,
    run,
)
from tests.stack import every_row

Interrupt = Callable[[], None]


class Killed(BaseException):
    """The worker ends here, as SIGKILL would end it."""


def die() -> None:
    raise Killed


class Moments:
    """A clock that does something when it is read for the n-th time: between two transactions of a worker."""

    def __init__(self, number: int, happens: Interrupt, now: datetime = NOW) -> None:
        self.number, self.happens, self.now, self.read = number, happens, now, 0

    def __call__(self) -> datetime:
        self.read += 1
        if self.read == self.number:
            self.happens()
        return self.now


def run_with(services: Services, purge_id: UUID, clock: Callable[[], datetime]) -> None:
    purge.run(services.controller, services.exports, services.policy, purge_id, clock)


def hold_export(owner: Engine, status: str, until: datetime) -> None:
    with owner.begin() as connection:
        statement = text("UPDATE exports SET status = :status, lease_owner = gen_random_uuid(), lease_until = :until")
        connection.execute(statement, {"status": status, "until": until})


def test_after_a_purge_nothing_is_left_but_ledger_and_audit(worker_services: Services, services: Services,
                                                            owner_engine: Engine) -> None:  # fmt: skip
    account_id, other = make_full_account(services), make_full_account(services)
    let_it_age(owner_engine, account_id)
    filled = rows_of(owner_engine, account_id)
    assert all(filled.values()), f"the factory left a table empty: {filled}"
    assert stored(services, account_id)
    others = checksums_of_others(owner_engine, account_id)

    [purge_id] = plan(services)
    run(worker_services, purge_id)

    named = {name for name, rows in every_row(owner_engine).items() if any(str(account_id) in row for row in rows)}
    assert named == {"audit_events"}
    assert stored(services, account_id) == []
    assert stored(services, other)
    assert checksums_of_others(owner_engine, account_id) == others
    done = purge_of(services, purge_id)
    assert (done.status, done.step, done.account_id, done.lease_owner) == ("done", "done", None, None)
    [entry] = ledger(services)
    assert entry.account_hash == sha256(account_id.bytes).digest()
    assert (entry.trigger, entry.rule, entry.policy_version) == ("policy", "P7Y after last_traffic", "2023-03-30")
    assert entry.counts == done.counts == {**filled, "objects": 1}
    assert entry.erased_at == NOW


def test_every_table_that_names_an_account_is_erased_cleared_or_kept(owner_engine: Engine) -> None:
    with owner_engine.connect() as connection:
        there = set(connection.exec_driver_sql(erase.TABLES_OF_ACCOUNTS).scalars())
    erased = {table.name for table in erased_tables(CONTROLLER)}
    assert there == erased | {"purges", "audit_events"}
    assert erased >= {"accounts", "account_keys", "directory", "people", "credentials", "devices", "traffic"}


def test_an_unclassified_table_cannot_hide_what_it_holds(services: Services, worker_services: Services,
                                                         owner_engine: Engine) -> None:  # fmt: skip
    account_id = make_full_account(services)
    with owner_engine.begin() as connection:
        connection.execute(text("CREATE TABLE forgotten (account_id uuid)"))
        connection.execute(text("GRANT SELECT ON forgotten TO cloudpriv_worker"))
        connection.execute(text("INSERT INTO forgotten VALUES (:id)"), {"id": account_id})
    purge_id = close(services, account_id)
    run(worker_services, purge_id)
    waiting = purge_of(services, purge_id)
    assert (waiting.status, waiting.step, waiting.lease_until) == ("running", "proof", NOW + LEASE)
    assert ledger(services) == []
    with owner_engine.begin() as connection:
        connection.execute(text("DELETE FROM forgotten"))
    run(worker_services, purge_id)
    assert purge_of(services, purge_id).status == "done"


@pytest.mark.parametrize("moment", range(1, 7))
def test_a_worker_killed_between_any_two_transactions_is_succeeded_by_another(
    services: Services, worker_services: Services, owner_engine: Engine, moment: int
) -> None:
    account_id = make_full_account(services)
    make_sessions(owner_engine, account_id, device_of(owner_engine, account_id), 2 * erase.BATCH + 500)
    filled = rows_of(owner_engine, account_id)
    purge_id = close(services, account_id)
    clock = Moments(moment, die)
    with pytest.raises(Killed):
        run_with(worker_services, purge_id, clock)

    run(worker_services, purge_id, NOW + LEASE - timedelta(seconds=1))
    assert purge_of(services, purge_id).status == ("done" if moment == 1 else "running"), "its lease had not run out"
    run(worker_services, purge_id, NOW + LEASE)
    done = purge_of(services, purge_id)
    assert (done.status, done.attempts) == ("done", 1 if moment == 1 else 2)
    assert done.counts == {**filled, "objects": 1}, "counted once, whoever did it"
    assert len(ledger(services)) == 1
    assert not any(rows_of(owner_engine, account_id).values())


def test_the_moments_above_are_all_there_are(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    account_id = make_full_account(services)
    make_sessions(owner_engine, account_id, device_of(owner_engine, account_id), 2 * erase.BATCH + 500)
    clock = Moments(0, die)
    run_with(worker_services, close(services, account_id), clock)
    assert clock.read == 6


def device_of(owner: Engine, account_id: UUID) -> UUID:
    with owner.connect() as connection:
        found: UUID = connection.scalar(text("SELECT device_id FROM devices WHERE account_id = :id"), {"id": account_id})
        return found


@pytest.mark.parametrize("rows", [erase.BATCH - 3, erase.BATCH, 2 * erase.BATCH, 3 * erase.BATCH + 1])
def test_no_transaction_erases_more_than_a_batch(
    services: Services, worker_services: Services, owner_engine: Engine, rows: int
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    make_sessions(owner_engine, account_id, make_device(services, account_id).row.device_id, rows)
    [purge_id] = plan(services)
    left = [rows]

    def look() -> None:
        left.append(rows_of(owner_engine, account_id)["traffic"])
        clock.number += 1

    clock = Moments(1, look)
    run_with(worker_services, purge_id, clock)
    left.append(0)
    assert max(before - after for before, after in pairwise(left)) <= erase.BATCH
    assert purge_of(services, purge_id).counts["traffic"] == rows


def test_new_traffic_between_plan_and_run_cancels(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    let_it_age(owner_engine, account_id)
    [purge_id] = plan(services)
    let_it_age(owner_engine, account_id, NOW)
    before = every_row(owner_engine)
    run(worker_services, purge_id)
    after = every_row(owner_engine)
    assert purge_of(services, purge_id).status == "cancelled"
    assert {name for name in before if before[name] != after[name]} == {"purges", "audit_events"}
    assert stored(services, account_id)
    let_it_age(owner_engine, account_id)
    run(worker_services, purge_id)
    assert purge_of(services, purge_id).status == "cancelled", "a cancelled purge stays so"
    [again] = plan(services)
    run(worker_services, again)
    named = {name for name, rows in every_row(owner_engine).items() if any(str(account_id) in row for row in rows)}
    assert named == {"audit_events"}, "cancelled purges forget the account too"


def test_traffic_that_holds_the_account_while_it_is_rechecked_cancels(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    [purge_id] = plan(services)
    worker = threading.Thread(target=run, args=(worker_services, purge_id))
    with owner_engine.begin() as ingest:
        ingest.execute(text("SELECT FROM accounts WHERE account_id = :id FOR NO KEY UPDATE"), {"id": account_id})
        worker.start()
        while not is_blocked(owner_engine):
            pass
        ingest.execute(text("UPDATE accounts SET last_traffic_at = :now"), {"now": NOW})
    worker.join()
    assert purge_of(services, purge_id).status == "cancelled"
    assert rows_of(owner_engine, account_id)["account_keys"] == 1


@pytest.mark.parametrize("status", ["restricted"])
def test_an_account_restricted_after_its_plan_is_not_purged(
    services: Services, worker_services: Services, owner_engine: Engine, status: str
) -> None:
    make_account(services, created_at=LONG_AGO)
    [purge_id] = plan(services)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = :status"), {"status": status})
    run(worker_services, purge_id)
    assert purge_of(services, purge_id).status == "cancelled"


def test_from_the_first_commit_on_the_account_cannot_be_read(services: Services, worker_services: Services) -> None:
    account_id = make_full_account(services)
    purge_id = close(services, account_id)
    with pytest.raises(Killed):
        run_with(worker_services, purge_id, Moments(2, die))
    with transaction(services) as tx:
        with pytest.raises(NotFoundError):
            accounts.find_account(tx, account_id)
        assert tx.session.scalar(text("SELECT status FROM accounts")) == "purging"
        assert not tx.session.scalar(text("SELECT count(*) FROM directory"))


def test_a_purge_waits_for_an_export_that_is_being_written(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    until = NOW + timedelta(seconds=20)
    hold_export(owner_engine, "running", until)
    purge_id = close(services, account_id)
    run(worker_services, purge_id)
    waiting = purge_of(services, purge_id)
    assert (waiting.step, waiting.lease_owner, waiting.lease_until) == ("objects", None, until)
    assert stored(services, account_id), "the export's worker is not pulled the bucket from under its feet"
    with transaction(services, now=until - timedelta(seconds=1)) as tx:
        assert purge.unfinished(tx) == []
    with transaction(services, now=until) as tx:
        assert purge.unfinished(tx) == [purge_id]
    run(worker_services, purge_id, until)
    assert purge_of(services, purge_id).status == "done"
    assert stored(services, account_id) == []


def test_an_object_that_appears_late_is_erased_before_the_ledger_says_so(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    services.exports.put_stream(f"exports/{account_id}/stray.zip", [b"archive"], confirm=lambda: None)
    [purge_id] = plan(services)
    run(worker_services, purge_id)
    assert purge_of(services, purge_id).status == "running", "no row told of it: found by looking, and looked for again"
    assert stored(services, account_id) == []
    run(worker_services, purge_id, NOW + LEASE)
    assert purge_of(services, purge_id).counts["objects"] == 1


def test_an_unfinished_upload_is_erased_too(services: Services, worker_services: Services) -> None:
    account_id = make_full_account(services)
    abandoned = f"exports/{account_id}/abandoned.zip"
    services.exports._s3.create_multipart_upload(Bucket=services.exports.bucket, Key=abandoned)
    assert abandoned in stored(services, account_id)
    purge_id = close(services, account_id)
    run(worker_services, purge_id)
    assert stored(services, account_id) == []
    assert purge_of(services, purge_id).counts["objects"] == 2


def test_a_store_that_is_away_delays_the_purge_and_loses_nothing(services: Services, worker_services: Services) -> None:
    account_id = make_full_account(services)
    purge_id = close(services, account_id)
    away = ObjectStore(services.exports._s3, "no-such-bucket")
    with pytest.raises((BusyError, NotFoundError)):
        purge.run(worker_services.controller, away, services.policy, purge_id, lambda: NOW)
    assert ledger(services) == []
    run(worker_services, purge_id, NOW + LEASE)
    assert purge_of(services, purge_id).status == "done"


def test_two_workers_on_one_purge_erase_once(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    account_id = make_full_account(services)
    make_sessions(owner_engine, account_id, device_of(owner_engine, account_id), 3 * erase.BATCH)
    filled = rows_of(owner_engine, account_id)
    purge_id = close(services, account_id)
    workers = [threading.Thread(target=run, args=(worker_services, purge_id)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    done = purge_of(services, purge_id)
    assert (done.status, done.attempts) == ("done", 1)
    assert done.counts == {**filled, "objects": 1}


def test_a_worker_whose_lease_was_taken_over_changes_nothing_more(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    purge_id = close(services, account_id)

    def overtake() -> None:
        run(worker_services, purge_id, NOW + LEASE)

    run_with(worker_services, purge_id, Moments(3, overtake))
    done = purge_of(services, purge_id)
    assert (done.status, done.attempts, done.finished_at) == ("done", 2, NOW + LEASE)
    assert len(ledger(services)) == 1


def test_what_is_planned_twice_is_planned_once(services: Services) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    [planned] = plan(services)
    assert plan(services) == []
    with transaction(services) as tx:
        assert purge.plan_account(tx, services.policy, account_id).purge_id == planned
    with transaction(services, now=NOW + LEASE) as tx:
        assert purge.unfinished(tx) == [planned]


def test_a_plan_chooses_among_due_accounts_and_is_bounded(services: Services) -> None:
    due_ids = [make_account(services, created_at=LONG_AGO).row.account_id for _ in range(3)]
    fresh = make_account(services).row.account_id
    with transaction(services) as tx:
        [chosen] = purge.plan_due(tx, services.policy, account_ids=[due_ids[1], fresh])
    assert purge_of(services, chosen).account_id == due_ids[1]
    with transaction(services) as tx:
        assert len(purge.plan_due(tx, services.policy, limit=1)) == 1
        assert [job for job, _ in tx.wake] == ["purge"]
    assert len(plan(services)) == 1


def test_only_a_due_account_can_be_planned(services: Services) -> None:
    fresh = make_account(services).row.account_id
    theirs = make_account(services, service="intesis", created_at=LONG_AGO).row.account_id
    with transaction(services, BACKEND) as tx, pytest.raises(NotDueError):
        purge.plan_account(tx, services.policy, fresh)
    with transaction(services, BACKEND) as tx, pytest.raises(NotFoundError):
        purge.plan_account(tx, services.policy, theirs)


def test_a_closed_account_is_erased_however_fresh(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    let_it_age(owner_engine, account_id, NOW)
    purge_id = close(services, account_id)
    with transaction(services) as tx:
        assert tx.session.scalar(text("SELECT status FROM accounts")) == "closing"
        with pytest.raises(AccountClosingError):
            purge.request_erasure(tx, services.policy, account_id, 2)
    run(worker_services, purge_id)
    [entry] = ledger(services)
    assert (entry.trigger, entry.rule) == ("request", purge.ON_REQUEST)


def test_closing_an_account_that_the_policy_planned_leaves_one_purge(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    let_it_age(owner_engine, account_id)
    [planned] = plan(services)
    assert close(services, account_id) == planned
    let_it_age(owner_engine, account_id, NOW)
    run(worker_services, planned)
    assert purge_of(services, planned).status == "done", "new traffic does not keep what its holder closed"


def test_closing_needs_the_current_version_and_an_unrestricted_account(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    with transaction(services) as tx, pytest.raises(StaleError):
        purge.request_erasure(tx, services.policy, account_id, 2)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'restricted'"))
    with transaction(services) as tx, pytest.raises(AccountRestrictedError):
        purge.request_erasure(tx, services.policy, account_id, 1)
    assert every_row(owner_engine)["purges"] == []


def test_a_new_account_of_the_same_name_inherits_nothing(services: Services, worker_services: Services) -> None:
    old = make_account(services, account_name="acme", created_at=LONG_AGO).row.account_id
    [purge_id] = plan(services)
    run(worker_services, purge_id)
    new = make_account(services, account_name="acme")
    assert new.row.account_id != old
    with transaction(services) as tx:
        found = accounts.find_by_name(tx, "talk2m", "acme")
        assert found is not None
        assert found.row.account_id == new.row.account_id


def test_what_the_erasure_recorded_tells_who_and_when(services: Services, worker_services: Services) -> None:
    make_account(services, created_at=LONG_AGO)
    [purge_id] = plan(services)
    run(worker_services, purge_id, datetime(2026, 6, 2, tzinfo=UTC))
    with transaction(services) as tx:
        events = tx.session.execute(
            text("SELECT action, actor_kind, at FROM audit_events WHERE subject_id = :id ORDER BY event_id"),
            {"id": purge_id},
        )
        assert [tuple(event) for event in events] == [
            ("purge.plan", "operator", NOW),
            ("account.erased", "worker", datetime(2026, 6, 2, tzinfo=UTC)),
        ]


def test_a_purge_that_does_not_exist_is_nothing_to_do(worker_services: Services) -> None:
    run(worker_services, UUID(int=0))


def test_an_export_asked_for_in_time_is_not_left_behind(services: Services, worker_services: Services) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    [purge_id] = plan(services)
    ask(services, account_id)
    run(worker_services, purge_id)
    assert purge_of(services, purge_id).status == "done"
    assert stored(services, account_id) == []
