"""Log data in the erasure of its account: its traffic counts until the last moment, its key goes second, then all of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Thread
from uuid import UUID

import pytest
from sqlalchemy import Engine, event, text
from structlog.testing import capture_logs

from cloudpriv.bootstrap import ProcessorServices, Services
from cloudpriv.controller.tables import Account
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.clock import utc_now
from cloudpriv.platform.db import PROCESSOR_SCHEMA, Plane, connect
from cloudpriv.platform.errors import BusyError, GoneError, NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.processor import accounts
from cloudpriv.processor.upkeep import erasure
from cloudpriv.retention import certify, erase, holds, ledger, log_data, replay
from cloudpriv.retention.lease import LEASE, PAUSE
from cloudpriv.retention.ledger import Entry
from tests.factories import BACKEND, NOW, make_account, transaction
from tests.logdata import carry_out, log_transaction
from tests.points import objects_of, put_back, send, sender
from tests.purges import LONG_AGO, Killed, await_blocked, close, die, hear_of_log_data, order, purge_of, run
from tests.purges import ledger as table
from workers import duties

LATER = NOW + PAUSE + timedelta(seconds=1)


@pytest.fixture
def account_id(services: Services, processor: ProcessorServices) -> UUID:
    """An account that would be due, with log data of long ago."""
    found = make_account(services, created_at=LONG_AGO).row.account_id
    put(processor, found, LONG_AGO)
    return found


def put(processor: ProcessorServices, account_id: UUID, at: datetime) -> None:
    """Have a device of the account append two points at this time."""
    send(sender(processor, account_id, now=at), ("t", at, 1.5), ("u", at, True))
    put_back(processor, account_id, at)


def erase_log_data(worker: ProcessorServices, now: datetime = NOW) -> None:
    """Do what schedule and worker of the processor plane do, once appends that were under way have ended."""
    later = replace(worker, clock=lambda: now + erasure.GRACE)
    with log_transaction(later, WORKER, now) as tx:
        erasure.enqueue_ordered(tx)
    carry_out(later)


def has_keys(owner: Engine, processor_owner: Engine, account_id: UUID) -> tuple[bool, bool]:
    """Whether there is a data key of the account in the controller plane; and in the processor plane."""
    tables = ((owner, "account_keys"), (processor_owner, "log_keys"))
    query = "SELECT EXISTS (SELECT FROM {} WHERE account_id = :id)"
    found = []
    for engine, name in tables:
        with engine.connect() as connection:
            found.append(bool(connection.scalar(text(query.format(name)), {"id": account_id})))
    return found[0], found[1]


def is_closed(processor_owner: Engine) -> bool:
    with processor_owner.connect() as connection:
        query = "SELECT EXISTS (SELECT FROM log_accounts WHERE closing_until IS NOT NULL OR erasing_at IS NOT NULL)"
        return bool(connection.scalar(text(query)))


def test_an_account_goes_with_its_log_data_and_the_certificate_counts_it(
    services: Services, worker_services: Services, processor: ProcessorServices, processor_worker: ProcessorServices,
    owner_engine: Engine, processor_owner: Engine, account_id: UUID,
) -> None:  # fmt: skip
    purge_id = order(services, owner_engine, account_id)
    run(worker_services, purge_id)
    waits = purge_of(services, purge_id)
    assert (waits.status, waits.step, waits.attempts) == ("running", "verify", 0)
    assert has_keys(owner_engine, processor_owner, account_id) == (False, False)
    run(worker_services, purge_id, LATER)
    assert purge_of(services, purge_id).status == "running", "log data is still there"
    erase_log_data(processor_worker)
    assert objects_of(processor, account_id) == set()
    run(worker_services, purge_id, LATER + PAUSE)
    done = purge_of(services, purge_id)
    of_log_data = {name: number for name, number in done.counts.items() if name.startswith("log_")}
    assert done.status == "done"
    assert of_log_data == {
        "log_accounts": 1, "log_chunks": 1, "log_devices": 1, "log_keys": 1, "log_objects": 1,
        "log_points": 2, "log_tags": 2, "log_tasks": 1, "log_tokens": 1,
    }  # fmt: skip
    assert certify.by_category(done.counts)["log_data"] == 2 + 2 + 1 + 1


@pytest.mark.parametrize("lived", ["until now", "until just before"])
def test_points_that_nobody_has_told_of_yet_end_an_erasure_by_policy(
    services: Services, worker_services: Services, processor: ProcessorServices, owner_engine: Engine,
    processor_owner: Engine, account_id: UUID, lived: str,
) -> None:  # fmt: skip
    at = NOW if lived == "until now" else services.policy.rule_for("cloud_services").anchor_cutoff(NOW)
    purge_id = order(services, owner_engine, account_id)
    put(processor, account_id, at)
    run(worker_services, purge_id)
    assert purge_of(services, purge_id).status == "cancelled"
    assert has_keys(owner_engine, processor_owner, account_id) == (True, True)
    assert not is_closed(processor_owner)
    with transaction(services) as tx:
        assert tx.session.get_one(Account, account_id).last_traffic_at == at


@pytest.mark.parametrize("host_says", [datetime(2018, 9, 1, tzinfo=UTC), NOW + timedelta(days=36500)])
def test_a_host_whose_clock_is_wrong_moves_no_clock_of_an_account(
    services: Services, worker_services: Services, processor: ProcessorServices, owner_engine: Engine, account_id: UUID,
    host_says: datetime,
) -> None:  # fmt: skip
    purge_id, before = order(services, owner_engine, account_id), utc_now()
    send(sender(processor, account_id, now=host_says), ("t", host_says, 1.5))
    run(worker_services, purge_id, utc_now())
    assert purge_of(services, purge_id).status == "cancelled"
    with transaction(services) as tx:
        heard = tx.session.get_one(Account, account_id).last_traffic_at
    assert heard is not None
    assert before <= heard <= utc_now()


def test_what_was_told_and_not_taken_in_ends_an_erasure_by_policy(
    services: Services, worker_services: Services, owner_engine: Engine, account_id: UUID
) -> None:
    purge_id = order(services, owner_engine, account_id)
    with owner_engine.begin() as connection:
        hear_of_log_data(connection, account_id, NOW - timedelta(days=1))
    run(worker_services, purge_id)
    assert purge_of(services, purge_id).status == "cancelled"


def test_an_erasure_on_request_asks_for_no_traffic(
    services: Services, worker_services: Services, processor: ProcessorServices, owner_engine: Engine,
    processor_owner: Engine, account_id: UUID,
) -> None:  # fmt: skip
    put(processor, account_id, NOW)
    run(worker_services, close(services, account_id))
    assert has_keys(owner_engine, processor_owner, account_id) == (False, False)


def test_a_hold_on_the_account_keeps_its_log_data_open_and_whole(
    services: Services, worker_services: Services, processor_owner: Engine, owner_engine: Engine, account_id: UUID
) -> None:
    purge_id = order(services, owner_engine, account_id)
    hold(services, account_id, "account")
    run(worker_services, purge_id)
    assert (purge_of(services, purge_id).status, is_closed(processor_owner)) == ("planned", False)
    assert has_keys(owner_engine, processor_owner, account_id) == (True, True)


def test_a_restricted_account_keeps_its_log_data_open_and_whole(
    services: Services, worker_services: Services, processor_owner: Engine, owner_engine: Engine, account_id: UUID
) -> None:
    purge_id = close(services, account_id)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'restricted'"))
    run(worker_services, purge_id)
    assert (purge_of(services, purge_id).status, is_closed(processor_owner)) == ("planned", False)


def test_a_hold_on_a_category_keeps_no_log_data(
    services: Services, worker_services: Services, processor_worker: ProcessorServices, processor: ProcessorServices,
    processor_owner: Engine, owner_engine: Engine, account_id: UUID,
) -> None:  # fmt: skip
    purge_id = order(services, owner_engine, account_id)
    hold(services, account_id, "category")
    run(worker_services, purge_id)
    erase_log_data(processor_worker)
    assert has_keys(owner_engine, processor_owner, account_id) == (True, False), "names that are held need the key"
    assert (objects_of(processor, account_id), purge_of(services, purge_id).step) == (set(), "rows")


def hold(services: Services, account_id: UUID, scope: str) -> None:
    """Place a hold; if on a category, on that of identification."""
    category = "identification" if scope == "category" else None
    with transaction(services, BACKEND) as tx:
        holds.place(tx, account_id, scope, authority="Court", reference="T 1-26", category=category)


def test_while_the_processor_plane_is_away_no_key_is_destroyed(
    services: Services, worker_services: Services, processor_owner: Engine, owner_engine: Engine, account_id: UUID
) -> None:
    purge_id = order(services, owner_engine, account_id)
    with pytest.raises(BusyError):
        run(replace(worker_services, eraser=nowhere(worker_services)), purge_id)
    assert has_keys(owner_engine, processor_owner, account_id) == (True, True)
    assert purge_of(services, purge_id).status == "planned"
    run(worker_services, purge_id)
    assert has_keys(owner_engine, processor_owner, account_id) == (False, False)


def nowhere(services: Services) -> Plane:
    """A processor plane that is away."""
    assert services.eraser is not None
    url = services.eraser.engine.url.update_query_dict({"host": "/nonexistent"})
    return replace(services.eraser, engine=connect(url.render_as_string(hide_password=False), pool_size=1))


def test_a_worker_that_stops_between_the_two_keys_is_succeeded(
    services: Services, worker_services: Services, processor_owner: Engine, owner_engine: Engine, account_id: UUID
) -> None:
    purge_id = order(services, owner_engine, account_id)
    assert worker_services.eraser is not None
    event.listen(worker_services.eraser.engine, "commit", lambda _: die())
    with pytest.raises(Killed):
        run(worker_services, purge_id)
    assert has_keys(owner_engine, processor_owner, account_id) == (False, True)
    assert purge_of(services, purge_id).step == "logdata"
    again = replace(worker_services, eraser=beside(worker_services.eraser))
    run(again, purge_id, NOW + LEASE)
    assert again.eraser is not None
    again.eraser.engine.dispose()
    assert has_keys(owner_engine, processor_owner, account_id) == (False, False)
    assert purge_of(services, purge_id).step == "verify"


def beside(plane: Plane) -> Plane:
    """The same door, as another worker opens it."""
    url = plane.engine.url.render_as_string(hide_password=False)
    return replace(plane, engine=connect(url, pool_size=1, schema=PROCESSOR_SCHEMA))


def test_an_append_that_is_under_way_when_it_is_decided_loses(
    worker_services: Services, processor: ProcessorServices, processor_owner: Engine, account_id: UUID
) -> None:
    outcome: list[str] = []
    device, before = sender(processor, account_id), objects_of(processor, account_id)

    def append() -> None:
        try:
            send(device, ("t", NOW, 1.5))
        except (BusyError, NotFoundError) as fault:
            outcome.append(fault.code)

    assert worker_services.eraser is not None
    with worker_services.eraser.transaction(WORKER, NOW) as tx:
        erasure.prepare(tx, account_id, None)
        sending = Thread(target=append)
        sending.start()
        assert await_blocked(processor_owner, lambda: not sending.is_alive()), "it did not wait"
        erasure.order(tx, account_id)
    sending.join()
    assert outcome in (["busy"], ["not_found"])
    assert objects_of(processor, account_id) == before, "its object is gone again"


def test_a_purge_of_an_account_without_log_data_leaves_a_tombstone(
    services: Services, worker_services: Services, processor: ProcessorServices, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    purge_id = order(services, owner_engine, account_id)
    run(worker_services, purge_id)
    assert purge_of(services, purge_id).status == "done"
    with log_transaction(processor) as tx, pytest.raises(GoneError):
        accounts.open_account(tx, account_id)


def test_log_data_that_came_back_with_a_backup_goes_again(
    services: Services, worker_services: Services, processor: ProcessorServices, processor_worker: ProcessorServices,
    owner_engine: Engine, account_id: UUID,
) -> None:  # fmt: skip
    erased, unknown = new_id(), new_id()
    for each in (erased, unknown):
        put(processor, each, LONG_AGO)
    with owner_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO ledger (account_hash, service, trigger, rule, policy_version, counts, erased_at) "
                "SELECT hash, 'talk2m', 'policy', 'x', 'x', '{}', :at FROM unnest(CAST(:hashes AS bytea[])) hash"
            ),
            {"at": NOW, "hashes": [erase.hash_of(each) for each in (erased, account_id)]},
        )
    assert worker_services.eraser is not None
    found = log_data.order_returned(services.controller, worker_services.eraser, lambda: NOW)
    assert found == [erased], "what is there as an account is for `purge replay`"
    erase_log_data(processor_worker)
    assert [len(objects_of(processor, each)) for each in (erased, unknown, account_id)] == [0, 1, 1]
    assert log_data.order_returned(services.controller, worker_services.eraser, lambda: NOW) == []


def test_a_replay_after_a_restore_erases_log_data_too(
    services: Services, worker_services: Services, processor: ProcessorServices, processor_worker: ProcessorServices,
    account_id: UUID,
) -> None:  # fmt: skip
    at = NOW + timedelta(hours=1)
    entry = Entry(erase.hash_of(account_id), "talk2m", "policy", "P7Y after last_traffic", "2023-03-30", {"accounts": 1}, at)
    ledger.store(services.ledger, entry)
    replayed(worker_services, at + timedelta(days=1))
    erase_log_data(processor_worker, at + timedelta(days=1))
    replayed(worker_services, at + timedelta(days=2))
    assert objects_of(processor, account_id) == set()
    with transaction(services) as tx:
        assert tx.session.get(Account, account_id) is None
    assert [row.account_hash for row in table(services)] == [entry.account_hash]


def replayed(worker: Services, now: datetime) -> None:
    """`purge replay`, once."""
    options = (worker.controller, worker.stores, worker.policy, lambda: now)
    replay.carry_out(*options, actor=WORKER, origin_base="127.0.0.1:8080")


def test_without_a_processor_plane_there_is_nothing_to_wait_for(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    purge_id = order(services, owner_engine, account_id)
    run(replace(worker_services, eraser=None), purge_id)
    assert purge_of(services, purge_id).status == "done"


def test_that_log_data_came_back_is_seen_by_the_latest_erasure_alone(
    services: Services, worker_services: Services, processor_worker: ProcessorServices, processor_owner: Engine,
    account_id: UUID,
) -> None:  # fmt: skip
    assert worker_services.eraser is not None
    look = (services.controller, worker_services.eraser, lambda: NOW)
    assert not log_data.is_older(*look), "nothing was erased yet"
    purge_id = close(services, account_id)
    run(worker_services, purge_id)
    erase_log_data(processor_worker)
    run(worker_services, purge_id, LATER)
    assert purge_of(services, purge_id).status == "done"
    assert not log_data.is_older(*look)
    with processor_owner.begin() as connection:
        connection.execute(text("DELETE FROM log_erased"))
    assert log_data.is_older(*look)


def test_log_data_of_an_account_that_nobody_knows_is_told_and_stays(
    services: Services, worker_services: Services, processor: ProcessorServices, account_id: UUID
) -> None:
    stranger = new_id()
    put(processor, stranger, LONG_AGO)
    with capture_logs() as told:
        duties.tell_unknown(worker_services)
    assert [(line["event"], line["accounts"], line["ids"]) for line in told] == [
        ("log_data_without_account", 1, [str(stranger)])
    ]
    assert objects_of(processor, stranger)
