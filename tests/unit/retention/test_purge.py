"""A purge from its plan to the ledger: everything of the account, and nothing else."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform.classify import erased_tables
from cloudpriv.platform.errors import (
    NotFoundError,
)
from cloudpriv.retention import erase, holds, purge
from cloudpriv.retention.lease import LEASE, Grip
from tests.exports import ask, make_sessions, stored
from tests.factories import NOW, make_account, make_device, transaction
from tests.purges import (
    LONG_AGO,
    Killed,
    Moments,
    checksums_of_others,
    close,
    die,
    ledger,
    let_it_age,
    make_full_account,
    plan,
    purge_of,
    rows_of,
    run,
    run_with,
)
from tests.stack import every_row


def hold_export(owner: Engine, status: str, until: datetime) -> None:
    with owner.begin() as connection:
        statement = text("UPDATE exports SET status = :status, lease_owner = gen_random_uuid(), lease_until = :until")
        connection.execute(statement, {"status": status, "until": until})


def test_after_a_purge_nothing_is_left_but_ledger_and_audit(worker_services: Services, services: Services,
                                                            owner_engine: Engine) -> None:  # fmt: skip
    account_id, other = make_full_account(services), make_full_account(services)
    let_it_age(owner_engine, account_id)
    assert stored(services, account_id)

    [purge_id] = plan(services, owner_engine)
    others = checksums_of_others(owner_engine, account_id)
    filled = rows_of(owner_engine, account_id)
    assert set(filled) == {table.name for table in erased_tables(CONTROLLER)}, "the factory left a table empty"
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
    assert (waiting.status, waiting.step, waiting.lease_until) == ("running", "verify", NOW + LEASE)
    assert ledger(services) == []
    with owner_engine.begin() as connection:
        connection.execute(text("DELETE FROM forgotten"))
    run(worker_services, purge_id)
    assert purge_of(services, purge_id).status == "done"


@pytest.mark.parametrize("rows", [erase.BATCH - 3, erase.BATCH, 2 * erase.BATCH, 3 * erase.BATCH + 1])
def test_no_transaction_erases_more_than_a_batch(
    services: Services, worker_services: Services, owner_engine: Engine, rows: int
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    make_sessions(owner_engine, account_id, make_device(services, account_id).row.device_id, rows)
    [purge_id] = plan(services, owner_engine)
    left = [rows]

    def look() -> None:
        left.append(rows_of(owner_engine, account_id).get("traffic", 0))
        clock.number += 1

    clock = Moments(1, look)
    run_with(worker_services, purge_id, clock)
    left.append(0)
    assert max(before - after for before, after in pairwise(left)) <= erase.BATCH
    assert purge_of(services, purge_id).counts["traffic"] == rows


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
    [purge_id] = plan(services, owner_engine)
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


def test_a_new_account_of_the_same_name_inherits_nothing(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    old = make_account(services, account_name="acme", created_at=LONG_AGO).row.account_id
    [purge_id] = plan(services, owner_engine)
    run(worker_services, purge_id)
    new = make_account(services, account_name="acme")
    assert new.row.account_id != old
    with transaction(services) as tx:
        found = accounts.find_by_name(tx, "talk2m", "acme")
        assert found is not None
        assert found.row.account_id == new.row.account_id


def test_what_the_erasure_recorded_tells_who_and_when(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    make_account(services, created_at=LONG_AGO)
    [purge_id] = plan(services, owner_engine)
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


def test_an_export_asked_for_in_time_is_not_left_behind(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    [purge_id] = plan(services, owner_engine)
    ask(services, account_id)
    run(worker_services, purge_id)
    assert purge_of(services, purge_id).status == "planned", "there is time to answer"
    run(worker_services, purge_id, NOW + timedelta(days=62))
    assert purge_of(services, purge_id).status == "done"
    assert stored(services, account_id) == []


def test_a_worker_whose_clock_jumped_ends_no_hold(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    purge_id = close(services, account_id)
    with transaction(services) as tx:
        holds.place(tx, account_id, "account", authority="Court", reference="T 1", until=NOW + timedelta(days=700))
    before = rows_of(owner_engine, account_id)
    run(worker_services, purge_id, NOW + timedelta(days=3 * 365))
    assert rows_of(owner_engine, account_id) == before
    assert purge_of(services, purge_id).status == "planned"


def test_the_certificate_says_when_the_key_really_went(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    purge_id = close(services, account_id)
    with owner_engine.connect() as connection:
        person_id = connection.scalar(text("SELECT person_id FROM people WHERE account_id = :id"), {"id": account_id})
    with transaction(services) as tx:
        hold = holds.place(tx, account_id, "person", authority="Court", reference="T 1", person_id=person_id)
    run(worker_services, purge_id)
    assert rows_of(owner_engine, account_id)["account_keys"] == 1
    assert purge_of(services, purge_id).shredded_at is None
    later = NOW + timedelta(days=100)
    with transaction(services, now=later) as tx:
        holds.release(tx, account_id, hold.hold_id)
    run(worker_services, purge_id, later)
    with owner_engine.connect() as connection:
        body = json.loads(connection.execute(text("SELECT body FROM certificates")).scalar_one())
    moments = [datetime.fromisoformat(body[name]) for name in ("key_destroyed_at", "erased_at")]
    assert moments == [later, later]


def test_a_lease_is_renewed_beside_a_slow_store(services: Services, worker_services: Services) -> None:
    purge_id = close(services, make_full_account(services))
    now = [NOW]
    grip = Grip(worker_services.controller, purge_id, lambda: now[0])
    with grip.unit():
        pass
    now[0] = NOW + timedelta(hours=1)
    with grip.kept(seconds=0.01):
        while purge_of(services, purge_id).lease_until != now[0] + LEASE:
            pass
    run(worker_services, purge_id, now[0] + LEASE - timedelta(seconds=1))
    assert purge_of(services, purge_id).status == "running", "still ours"
