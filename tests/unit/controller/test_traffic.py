"""Ingest: what is taken, what is merged, what is refused, and which clocks move."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import devices, traffic
from cloudpriv.controller.traffic import Verdict
from cloudpriv.controller.traffic_records import Batch, Record, session_key
from cloudpriv.platform.actor import Actor
from cloudpriv.platform.errors import BusyError
from tests.factories import BACKEND, NOW, make_account, make_device, make_person, transaction

START = datetime(2026, 5, 1, 8, tzinfo=UTC)
STOP = START + timedelta(hours=1)


@dataclass(frozen=True)
class Place:
    """An account with one device, and how records name them."""

    account_id: UUID
    device_id: UUID
    serial: str


@pytest.fixture
def place(services: Services) -> Place:
    """An account with one device."""
    return new_place(services)


def new_place(services: Services, **members: Any) -> Place:
    account_id = make_account(services, **members).row.account_id
    device = make_device(services, account_id)
    return Place(account_id, device.row.device_id, device.identity["serial"])


def record(place: Place, session: str = "s1", **members: Any) -> Record:
    told = {"account": str(place.account_id), "device": place.serial, "source": "radius", "started_at": START, **members}
    return Record(session=session, **told)


def ingest(services: Services, *records: Record, actor: Actor = BACKEND) -> Verdict:
    with transaction(services, actor) as tx:
        return traffic.ingest(tx, Batch(records, range(len(records))))


def stored(engine: Engine, columns: str = "*") -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text(f"SELECT {columns} FROM traffic ORDER BY started_at, session_key")))  # noqa: S608  our own text


def codes(verdict: Verdict) -> list[tuple[int, str]]:
    return [(each.index, each.code) for each in verdict.rejected]


def test_a_session_is_kept_with_all_that_was_told(services: Services, owner_engine: Engine, place: Place) -> None:
    person = make_person(services, place.account_id, username="kim")
    told = record(
        place,
        ended_at=STOP,
        bytes_from_device=2**63 - 1,
        bytes_to_device=7,
        protocol="tcp\\N\t\r\n",
        remote_address="2001:DB8::1",
        username="KIM ",
        end_reason="\\.",
    )
    assert ingest(services, told) == Verdict(1, 0, [])
    (row,) = stored(owner_engine)
    assert row.account_id == place.account_id
    assert row.session_key.hex() == session_key("radius", "s1")
    assert (row.device_id, row.person_id) == (place.device_id, person.row.person_id)
    assert (row.started_at, row.ended_at, row.received_at) == (START, STOP, NOW)
    assert (row.bytes_from_device, row.bytes_to_device) == (2**63 - 1, 7)
    assert (row.protocol, row.end_reason) == ("tcp\\N\t\r\n", "\\.")
    assert str(row.remote_address) == "2001:db8::1"


def test_a_duration_gives_the_end(services: Services, owner_engine: Engine, place: Place) -> None:
    assert ingest(services, record(place, duration_s=0.25)).accepted == 1
    assert stored(owner_engine, "ended_at") == [(START + timedelta(milliseconds=250),)]


def test_one_session_id_of_two_sources_is_two_sessions(services: Services, place: Place) -> None:
    assert ingest(services, record(place, source="a"), record(place, source="b")) == Verdict(2, 0, [])


def test_a_batch_sent_again_changes_nothing(services: Services, owner_engine: Engine, place: Place) -> None:
    batch = [record(place, f"s{number}", ended_at=STOP, bytes_to_device=number) for number in range(50)]
    assert ingest(services, *batch) == Verdict(50, 0, [])
    before = stored(owner_engine, "*, xmin")
    assert ingest(services, *batch) == Verdict(0, 50, [])
    assert stored(owner_engine, "*, xmin") == before


def test_updates_of_one_session_in_one_batch_make_one_row(services: Services, owner_engine: Engine, place: Place) -> None:
    start, interim = record(place), record(place, bytes_to_device=5)
    stop = record(place, bytes_to_device=9, ended_at=STOP, end_reason="User-Request")
    assert ingest(services, stop, start, interim, start) == Verdict(1, 3, [])
    assert stored(owner_engine, "bytes_to_device, ended_at, end_reason") == [(9, STOP, "User-Request")]


def test_the_first_receipt_stays(services: Services, owner_engine: Engine, place: Place) -> None:
    ingest(services, record(place))
    with transaction(services, BACKEND, NOW + timedelta(hours=1)) as tx:
        traffic.ingest(tx, Batch([record(place, ended_at=STOP)], [0]))
    assert stored(owner_engine, "received_at, ended_at") == [(NOW, STOP)]


def test_a_device_is_found_by_id_serial_and_common_name(services: Services, place: Place) -> None:
    device = make_device(services, place.account_id, serial="0417-0006-24", common_name="Cosy-0006")
    for name in (str(device.row.device_id), " 0417-0006-24", "cosy-0006"):
        assert ingest(services, record(place, name, device=name)).accepted == 1


def test_an_active_device_wins_over_a_removed_one(services: Services, owner_engine: Engine, place: Place) -> None:
    removed = make_device(services, place.account_id, serial="1", common_name="two")
    with transaction(services) as tx:
        devices.remove_device(tx, place.account_id, removed.row.device_id, 1)
    assert ingest(services, record(place, "late", device="1")).accepted == 1
    active = make_device(services, place.account_id, serial="x", common_name="1")
    assert ingest(services, record(place, "new", device="1", started_at=STOP)).accepted == 1
    assert stored(owner_engine, "device_id") == [(removed.row.device_id,), (active.row.device_id,)]


def test_a_device_registered_again_wins_over_its_removed_self(
    services: Services, owner_engine: Engine, place: Place
) -> None:
    with transaction(services) as tx:
        devices.remove_device(tx, place.account_id, place.device_id, 1)
    again = make_device(services, place.account_id, serial=place.serial)
    ingest(services, record(place))
    assert stored(owner_engine, "device_id") == [(again.row.device_id,)]


def test_of_active_devices_a_serial_wins_over_a_common_name(services: Services, owner_engine: Engine, place: Place) -> None:
    make_device(services, place.account_id, serial="a", common_name="b")
    by_serial = make_device(services, place.account_id, serial="b", common_name="c")
    ingest(services, record(place, device="b"))
    assert stored(owner_engine, "device_id") == [(by_serial.row.device_id,)]


def test_an_account_is_found_by_its_name_in_the_clients_service(services: Services) -> None:
    here, there = new_place(services, account_name="Acme"), new_place(services, account_name="Acme", service="intesis")
    assert ingest(services, record(here, account="ACME", device=here.serial)) == Verdict(1, 0, [])
    assert codes(ingest(services, record(there, account="acme"))) == [(0, "unknown_device")]


def test_another_services_account_is_unknown(services: Services) -> None:
    there = new_place(services, service="intesis")
    assert codes(ingest(services, record(there))) == [(0, "unknown_account")]


def test_a_device_of_another_account_is_unknown(services: Services, place: Place) -> None:
    other = new_place(services)
    assert codes(ingest(services, record(place, device=other.serial))) == [(0, "unknown_device")]
    assert codes(ingest(services, record(place, device=str(other.device_id)))) == [(0, "unknown_device")]


def test_an_unknown_username_leaves_the_person_open(services: Services, owner_engine: Engine, place: Place) -> None:
    assert ingest(services, record(place, username="nobody")) == Verdict(1, 0, [])
    assert stored(owner_engine, "person_id") == [(None,)]


def test_bad_records_are_named_and_good_ones_kept(services: Services, owner_engine: Engine, place: Place) -> None:
    ahead = NOW + timedelta(minutes=5, microseconds=1)
    verdict = ingest(
        services,
        record(place, account=str(uuid4())),
        record(place, account="nobody"),
        record(place, device="unheard-of"),
        record(place, ended_at=START - timedelta(microseconds=1)),
        record(place, duration_s=-1),
        record(place, started_at=ahead),
        record(place, ended_at=ahead),
        record(place, bytes_from_device=-1),
        record(place, bytes_to_device=-1),
        record(place, remote_address="10.0.0.1/8"),
        record(place, ended_at=STOP, duration_s=1),
        record(place, started_at=datetime(1969, 12, 31, 23, 59, tzinfo=UTC)),
        record(place, started_at=datetime(1, 1, 1, tzinfo=UTC), duration_s=-1e10),
        record(place, duration_s=1e10),
        record(place, "good", started_at=ahead - timedelta(microseconds=1)),
    )
    reasons = [
        "unknown_account", "unknown_account", "unknown_device", "ends_before_start", "ends_before_start", "in_the_future",
        "in_the_future", "negative_bytes", "negative_bytes", "malformed", "malformed", "too_old", "too_old", "in_the_future",
    ]  # fmt: skip
    assert codes(verdict) == list(enumerate(reasons))
    assert (verdict.accepted, verdict.merged) == (1, 0)
    assert len(stored(owner_engine)) == 1


def test_no_verdict_repeats_what_was_sent(services: Services, place: Place) -> None:
    for member in ("account", "device", "remote_address"):
        (rejection,) = ingest(services, record(place, **{member: "canary"})).rejected
        assert member in rejection.detail
        assert "canary" not in rejection.detail


def test_a_session_stays_with_the_device_that_was_told_first(services: Services, owner_engine: Engine, place: Place) -> None:
    other = make_device(services, place.account_id)
    theirs = record(place, device=other.identity["serial"], ended_at=STOP, bytes_to_device=99)
    verdict = ingest(services, record(place), theirs, record(place, bytes_to_device=1))
    assert (verdict.accepted, verdict.merged, codes(verdict)) == (1, 1, [(1, "session_conflict")])
    assert codes(ingest(services, theirs)) == [(0, "session_conflict")]
    assert stored(owner_engine, "device_id, bytes_to_device, ended_at") == [(place.device_id, 1, None)]
    assert clocks(owner_engine) == (START, {place.device_id: START, other.row.device_id: None})


def clocks(engine: Engine) -> tuple[datetime | None, dict[UUID, datetime | None]]:
    with engine.connect() as connection:
        account = connection.execute(text("SELECT last_traffic_at FROM accounts")).scalar_one()
        seen = connection.execute(text("SELECT device_id, last_seen_at FROM devices"))
        return account, {row.device_id: row.last_seen_at for row in seen}


def test_the_clocks_move_with_the_traffic_and_never_back(services: Services, owner_engine: Engine, place: Place) -> None:
    ingest(services, record(place, "a", ended_at=STOP))
    assert clocks(owner_engine) == (STOP, {place.device_id: STOP})
    ingest(services, record(place, "b", ended_at=START))
    assert clocks(owner_engine) == (STOP, {place.device_id: STOP})


def test_a_session_that_lasts_moves_the_clocks_to_its_start(services: Services, owner_engine: Engine, place: Place) -> None:
    ingest(services, record(place, bytes_to_device=1))
    assert clocks(owner_engine) == (START, {place.device_id: START})


def test_rejected_records_move_no_clock(services: Services, owner_engine: Engine, place: Place) -> None:
    ingest(services, record(place, ended_at=NOW + timedelta(days=1)), record(place, ended_at=STOP, bytes_to_device=-1))
    assert clocks(owner_engine) == (None, {place.device_id: None})


@pytest.mark.parametrize(
    ("status", "code"),
    [("closing", "account_closing"), ("purging", "unknown_account"), ("restricted", "account_restricted")],
)
def test_an_account_that_is_not_active_takes_no_traffic(
    services: Services, owner_engine: Engine, place: Place, status: str, code: str
) -> None:
    active = new_place(services)
    with owner_engine.begin() as connection:
        set_status(connection, place, status)
    verdict = ingest(services, record(place, "a"), record(active, "b"), record(place, "c"))
    assert (verdict.accepted, verdict.merged, codes(verdict)) == (1, 0, [(0, code), (2, code)])
    assert stored(owner_engine, "account_id") == [(active.account_id,)]
    assert audited(owner_engine) == [active.account_id]


def set_status(connection: Connection, place: Place, status: str) -> None:
    statement = text("UPDATE accounts SET status = :status WHERE account_id = :account_id")
    connection.execute(statement, {"status": status, "account_id": place.account_id})


def audited(engine: Engine) -> list[UUID]:
    query = text("SELECT account_id FROM audit_events WHERE action = 'traffic.write' ORDER BY event_id")
    with engine.connect() as connection:
        return list(connection.scalars(query))


def test_each_account_of_a_batch_is_audited_once(services: Services, owner_engine: Engine, place: Place) -> None:
    other = new_place(services)
    ingest(services, *(record(each, str(number)) for number in range(5) for each in (place, other)))
    assert sorted(audited(owner_engine)) == sorted([place.account_id, other.account_id])


def test_a_batch_of_nothing_writes_nothing(services: Services, owner_engine: Engine, place: Place) -> None:
    assert ingest(services) == Verdict(0, 0, [])
    ingest(services, record(place, device="unknown"))
    assert audited(owner_engine) == []


def test_two_batches_in_one_transaction_are_told_apart(services: Services, place: Place) -> None:
    with transaction(services, BACKEND) as tx:
        assert traffic.ingest(tx, Batch([record(place), record(place, "s2")], [0, 1])) == Verdict(2, 0, [])
        set_status(tx.connection, place, "restricted")
        assert codes(traffic.ingest(tx, Batch([record(place, "s3")], [0]))) == [(0, "account_restricted")]


@contextmanager
def waiting(services: Services, held: Connection, *records: Record) -> Iterator[Future[Verdict]]:
    """A batch that waits for the account's lock, which `held` has."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ingest, services, *records)
        while not future.done() and not held.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            held.execute(text("SELECT pg_sleep(0.01)"))
        assert not future.done()
        yield future


def test_an_account_that_begins_to_be_purged_takes_no_more(services: Services, owner_engine: Engine, place: Place) -> None:
    with owner_engine.connect() as purge:
        set_status(purge, place, "purging")
        with waiting(services, purge, record(place)) as future:
            purge.commit()
            assert codes(future.result()) == [(0, "unknown_account")]
    assert stored(owner_engine) == []


@pytest.mark.parametrize("erased", ["DELETE FROM people", "UPDATE people SET erasure_requested_at = now()"])
def test_a_person_erased_meanwhile_is_not_named(services: Services, owner_engine: Engine, place: Place, erased: str) -> None:
    for name in ("kim", "robin"):
        make_person(services, place.account_id, username=name)
    left = text(f"{erased} WHERE person_id = (SELECT min(person_id::text)::uuid FROM people)")  # noqa: S608  said above
    with owner_engine.connect() as erasure:
        set_status(erasure, place, "active")
        erasure.execute(left)
        told = [record(place, name, username=name) for name in ("kim", "robin", "nobody")]
        with waiting(services, erasure, *told) as future:
            erasure.commit()
            assert future.result() == Verdict(3, 0, [])
    query = text("SELECT count(*), count(person_id) FROM traffic")
    with owner_engine.connect() as connection:
        assert connection.execute(query).one() == (3, 1)


def test_a_lost_connection_is_busy_and_leaves_nothing(services: Services, owner_engine: Engine, place: Place) -> None:
    lost = text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
    with owner_engine.connect() as holder:
        set_status(holder, place, "restricted")
        with waiting(services, holder, record(place)) as future, services.controller.engine.connect() as same_role:
            same_role.execute(lost)
            with pytest.raises(BusyError):
                future.result()
    assert stored(owner_engine) == []
    assert ingest(services, record(place)).accepted == 1


def test_accounts_are_locked_in_the_order_of_their_ids(services: Services, owner_engine: Engine) -> None:
    places = [new_place(services) for _ in range(6)]
    free = text("SELECT account_id FROM accounts ORDER BY account_id FOR UPDATE SKIP LOCKED")
    with owner_engine.connect() as holder, owner_engine.connect() as other:
        set_status(holder, places[3], "active")
        with waiting(services, holder, *(record(each) for each in reversed(places))) as future:
            assert list(other.scalars(free)) == [each.account_id for each in places[4:]]
            other.rollback()
            holder.rollback()
            assert future.result().accepted == 6


def test_concurrent_batches_make_each_session_once(services: Services, owner_engine: Engine) -> None:
    places = [new_place(services) for _ in range(4)]

    def send(number: int) -> Verdict:
        order = places if number % 2 else places[::-1]
        return ingest(services, *(record(each, f"s{index}") for index in range(20) for each in order))

    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(send, range(12)))
    assert sum(each.accepted for each in verdicts) == len(stored(owner_engine)) == 80
    assert sum(each.merged for each in verdicts) == 11 * 80
