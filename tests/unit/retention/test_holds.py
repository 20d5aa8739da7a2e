"""Legal holds: placed and released under the account's lock, counted until they end, and what they put off goes on."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.classify import Category
from cloudpriv.platform.errors import (
    AccountClosingError,
    DomainError,
    InvalidError,
    NotFoundError,
    StaleError,
)
from cloudpriv.platform.ids import new_id
from cloudpriv.retention import due, holds, purge
from cloudpriv.retention.tables import Hold
from cloudpriv.rights.erasure import erase_person
from tests.factories import BACKEND, NOW, make_account, make_person, transaction
from tests.purges import LONG_AGO, await_blocked, clear_the_way, close, make_full_account, purge_of, rows_of, run

SOON, LATER = NOW + timedelta(hours=1), NOW + timedelta(days=1)


def place(services: Services, account_id: UUID, scope: str = "account", **members: object) -> Hold:
    with transaction(services, BACKEND) as tx:
        named = {"authority": "Example District Court", "reference": "T 1", **members}
        return holds.place(tx, account_id, scope, **named)  # type: ignore[arg-type]  # as each test names them


def release(services: Services, hold: Hold) -> list[tuple[str, UUID]]:
    """Release the hold; whom that wakes."""
    with transaction(services, BACKEND, SOON) as tx:
        holds.release(tx, hold.account_id, hold.hold_id)
        return tx.wake


def active(services: Services, account_id: UUID, now: object = NOW) -> list[UUID]:
    with transaction(services, now=now) as tx:  # type: ignore[arg-type]  # a time
        return [hold.hold_id for hold in holds.active(tx, account_id)]


@pytest.fixture
def account_id(services: Services) -> UUID:
    """An account with something everywhere."""
    return make_full_account(services)


def person_of(owner: Engine, account_id: UUID) -> UUID:
    with owner.connect() as connection:
        found: UUID = connection.execute(
            text("SELECT person_id FROM people WHERE account_id = :id"), {"id": account_id}
        ).scalar_one()
        return found


def filled(owner: Engine, account_id: UUID) -> set[str]:
    return {name for name, number in rows_of(owner, account_id).items() if number}


def test_a_hold_counts_until_it_is_released_or_its_time_is_over(services: Services) -> None:
    account_id = make_account(services).row.account_id
    until = LATER
    released, ending, lasting = (
        place(services, account_id),
        place(services, account_id, until=until),
        place(services, account_id),
    )
    release(services, released)
    assert active(services, account_id) == [ending.hold_id, lasting.hold_id]
    assert active(services, account_id, until - timedelta(microseconds=1)) == [ending.hold_id, lasting.hold_id]
    assert active(services, account_id, until) == [lasting.hold_id]
    assert holds.next_end([ending, lasting]) == until
    assert holds.next_end([lasting]) is None


def test_a_hold_is_placed_and_released_in_somebodys_name_and_audited(services: Services, owner_engine: Engine) -> None:
    hold = place(services, make_account(services).row.account_id)
    release(services, hold)
    with transaction(services) as tx:
        read = holds.read_hold(tx, hold.account_id, hold.hold_id)
        [listed] = holds.list_holds(tx, hold.account_id, limit=10)
    assert (read.placed_by, read.released_by, read.released_at) == (BACKEND.name, BACKEND.name, SOON)
    assert listed.hold_id == hold.hold_id
    with owner_engine.connect() as connection:
        actions = text("SELECT action FROM audit_events WHERE subject_id = :id ORDER BY event_id")
        told = list(connection.execute(actions, {"id": hold.hold_id}).scalars())
    assert told == ["hold.place", "hold.release", "hold.read", "hold.read"]


def test_what_was_released_stays_so_and_is_not_released_again(services: Services) -> None:
    hold = place(services, make_account(services).row.account_id)
    release(services, hold)
    with transaction(services, now=LATER + timedelta(days=1)) as tx:
        again = holds.release(tx, hold.account_id, hold.hold_id)
        assert again.released_at == SOON
    with pytest.raises(StaleError), transaction(services) as tx:
        holds.release(tx, hold.account_id, hold.hold_id, 1)


@pytest.mark.parametrize(
    ("scope", "members", "pointer"),
    [
        ("country", {}, "/scope"),
        ("account", {"category": "credentials"}, "/category"),
        ("account", {"person_id": new_id()}, "/person_id"),
        ("category", {}, "/category"),
        ("category", {"category": "operation"}, "/category"),
        ("category", {"category": "credentials", "person_id": new_id()}, "/person_id"),
        ("person", {}, "/person_id"),
        ("person", {"person_id": new_id()}, "/person_id"),
        ("account", {"until": NOW}, "/until"),
    ],
)
def test_a_hold_that_makes_no_sense_is_refused(
    services: Services, scope: str, members: dict[str, object], pointer: str
) -> None:
    account_id = make_account(services).row.account_id
    with pytest.raises(InvalidError) as refused:
        place(services, account_id, scope, **members)
    assert [error.pointer for error in refused.value.errors] == [pointer]
    assert active(services, account_id) == []


def test_every_category_of_personal_data_can_be_held(services: Services) -> None:
    account_id = make_account(services).row.account_id
    for category in set(Category) - {Category.OPERATION, Category.LOG_DATA}:
        place(services, account_id, "category", category=category.value)
    assert len(active(services, account_id)) == len(Category) - 2


def test_a_person_of_another_account_cannot_be_held_in_this_one(services: Services, owner_engine: Engine) -> None:
    here, there = make_account(services).row.account_id, make_account(services).row.account_id
    person_id = make_person(services, there).row.person_id
    with pytest.raises(InvalidError):
        place(services, here, "person", person_id=person_id)


def test_another_services_account_and_hold_are_not_there(services: Services) -> None:
    account_id = make_account(services, service="intesis").row.account_id
    with transaction(services) as tx:
        hold = holds.place(tx, account_id, "account", authority="a", reference="r")
    with pytest.raises(NotFoundError):
        place(services, account_id)
    with transaction(services, BACKEND) as tx:
        for refused in (
            lambda: holds.release(tx, account_id, hold.hold_id),
            lambda: holds.read_hold(tx, account_id, hold.hold_id),
            lambda: holds.list_holds(tx, account_id, limit=1),
        ):
            with pytest.raises(NotFoundError):
                refused()
    assert active(services, account_id) == [hold.hold_id]


def test_a_hold_of_another_account_is_not_found_below_this_one(services: Services) -> None:
    here, there = make_account(services).row.account_id, make_account(services).row.account_id
    hold = place(services, there)
    with pytest.raises(NotFoundError), transaction(services) as tx:
        holds.release(tx, here, hold.hold_id)


def test_a_held_account_waits_and_goes_by_itself_when_the_hold_is_released(
    services: Services, worker_services: Services, owner_engine: Engine, account_id: UUID
) -> None:
    hold, before = place(services, account_id), rows_of(owner_engine, account_id)
    purge_id = close(services, account_id)
    run(worker_services, purge_id)
    assert rows_of(owner_engine, account_id) == {**before, "holds": 2}
    assert release(services, hold) == [("purge", purge_id)]
    with transaction(worker_services, WORKER, SOON) as tx:
        assert purge.unfinished(tx) == [purge_id]  # the wake-up may be lost
    run(worker_services, purge_id, SOON)
    assert purge_of(services, purge_id).status == "done"
    assert filled(owner_engine, account_id) == set()


def test_a_purge_goes_on_when_a_hold_expires(
    services: Services, worker_services: Services, owner_engine: Engine, account_id: UUID
) -> None:
    place(services, account_id, "category", category="traffic_metadata", until=LATER)
    purge_id = close(services, account_id)
    run(worker_services, purge_id)
    assert filled(owner_engine, account_id) == {"accounts", "holds", "traffic", "people", "devices"}
    assert purge_of(services, purge_id).lease_until == LATER
    run(worker_services, purge_id, LATER - timedelta(seconds=1))
    assert filled(owner_engine, account_id) == {"accounts", "holds", "traffic", "people", "devices"}
    run(worker_services, purge_id, LATER)
    assert filled(owner_engine, account_id) == set()


def test_of_two_holds_the_second_keeps_its_scope_when_the_first_is_released(
    services: Services, worker_services: Services, owner_engine: Engine, account_id: UUID
) -> None:
    first = place(services, account_id, "category", category="connected_devices")
    second = place(services, account_id, "person", person_id=person_of(owner_engine, account_id))
    purge_id = close(services, account_id)
    run(worker_services, purge_id)
    release(services, first)
    run(worker_services, purge_id, LATER)
    kept = {"accounts", "account_keys", "holds", "people", "credentials", "outbox", "traffic", "devices"}
    kept |= {"holder_sessions", "one_time_codes", "consent_records", "disclosures", "owner_replacements"}
    assert filled(owner_engine, account_id) == kept
    release(services, second)
    run(worker_services, purge_id, LATER)
    assert purge_of(services, purge_id).status == "done"
    assert filled(owner_engine, account_id) == set()


def test_an_account_of_which_only_a_hold_keeps_something_is_gone_for_everybody_else(
    services: Services, worker_services: Services, owner_engine: Engine, account_id: UUID
) -> None:
    place(services, account_id, "category", category="identification")
    run(worker_services, close(services, account_id))
    assert "account_keys" in filled(owner_engine, account_id)
    with pytest.raises(NotFoundError):
        make_person(services, account_id)
    place(services, account_id, "category", category="credentials")  # a second authority asks for what is left
    assert len(active(services, account_id)) == 2


def test_nothing_can_be_held_of_an_account_whose_erasure_has_begun(
    services: Services, worker_services: Services, owner_engine: Engine, account_id: UUID
) -> None:
    ended = place(services, account_id, "category", category="traffic_metadata")
    run(worker_services, close(services, account_id))
    release(services, ended)
    with pytest.raises(AccountClosingError):
        place(services, account_id)


def test_a_hold_placed_while_the_purge_waits_for_the_account_stops_it(
    services: Services, worker_services: Services, owner_engine: Engine, account_id: UUID
) -> None:
    before = rows_of(owner_engine, account_id)
    purge_id = close(services, account_id)
    with ThreadPoolExecutor(1) as pool:
        with transaction(services, BACKEND) as tx:
            holds.place(tx, account_id, "account", authority="a", reference="r")
            tx.session.flush()
            erasing = pool.submit(run, worker_services, purge_id)
            assert await_blocked(owner_engine, erasing.done), "nobody waited"
        erasing.result()
    assert rows_of(owner_engine, account_id) == {**before, "holds": 2}
    assert purge_of(services, purge_id).shredded_at is None


@pytest.mark.parametrize("number", range(5))
def test_of_a_hold_and_a_purge_at_the_same_moment_one_wins_wholly(
    services: Services, worker_services: Services, owner_engine: Engine, number: int
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    before, purge_id = rows_of(owner_engine, account_id), close(services, account_id)
    with ThreadPoolExecutor(2) as pool:
        erasing, placing = pool.submit(run, worker_services, purge_id), pool.submit(_placed, services, account_id)
        erasing.result()
    if placing.result():
        assert rows_of(owner_engine, account_id) == {**before, "holds": 1}
    else:
        assert filled(owner_engine, account_id) == set()


def _placed(services: Services, account_id: UUID) -> bool:
    try:
        place(services, account_id)
    except (AccountClosingError, NotFoundError):
        return False
    return True


def test_a_restricted_account_is_not_purged(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    clear_the_way(services, owner_engine)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'restricted'"))
    with transaction(services) as tx:
        assert due.due_accounts(tx, services.policy, limit=10) == []
    with pytest.raises(DomainError):
        close(services, account_id)
    assert "account_keys" in filled(owner_engine, account_id)


@pytest.fixture
def waiting(services: Services, owner_engine: Engine, account_id: UUID) -> tuple[Hold, UUID]:
    """A hold on a person whose erasure was asked for."""
    person_id = person_of(owner_engine, account_id)
    hold = place(services, account_id, "person", person_id=person_id)
    with transaction(services, BACKEND) as tx:
        assert not erase_person(tx, account_id, person_id, 1)
    return hold, person_id


def erase_released(services: Services, now: object = LATER) -> int:
    with transaction(services, WORKER, now) as tx:  # type: ignore[arg-type]  # a time
        return holds.erase_released(tx, 10)


def test_a_person_whose_hold_has_ended_is_erased(
    services: Services, worker_services: Services, owner_engine: Engine, waiting: tuple[Hold, UUID]
) -> None:
    hold, _ = waiting
    assert erase_released(worker_services) == 0
    release(services, hold)
    assert erase_released(worker_services) == 1
    assert erase_released(worker_services) == 0
    left = filled(owner_engine, hold.account_id)
    assert not {"people", "credentials"} & left
    assert "traffic" in left


def test_a_person_stays_while_any_other_hold_keeps_them(
    services: Services, worker_services: Services, waiting: tuple[Hold, UUID]
) -> None:
    hold, _ = waiting
    place(services, hold.account_id, "category", category="identification", until=LATER + timedelta(days=1))
    place(services, hold.account_id, "category", category="connected_devices")
    release(services, hold)
    assert erase_released(worker_services) == 0
    assert erase_released(worker_services, LATER + timedelta(days=1)) == 1


def test_people_of_a_restricted_account_wait(
    services: Services, worker_services: Services, owner_engine: Engine, waiting: tuple[Hold, UUID]
) -> None:
    release(services, waiting[0])
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'restricted'"))
    assert erase_released(worker_services) == 0


def test_a_person_who_waits_goes_with_the_account(
    services: Services, worker_services: Services, owner_engine: Engine, waiting: tuple[Hold, UUID]
) -> None:
    hold, _ = waiting
    purge_id = close(services, hold.account_id)
    run(worker_services, purge_id)
    assert "people" in filled(owner_engine, hold.account_id)
    release(services, hold)
    run(worker_services, purge_id, LATER)
    assert filled(owner_engine, hold.account_id) == set()


def test_a_schedule_whose_clock_jumped_erases_no_held_person(services: Services, worker_services: Services) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    with transaction(services) as tx:
        holds.place(tx, account_id, "person", person_id=person_id, authority="Court", reference="T 1",
                    until=NOW + timedelta(days=700))  # fmt: skip
    with transaction(services) as tx:
        assert erase_person(tx, account_id, person_id, 1) is False
    with transaction(worker_services, now=NOW + timedelta(days=3 * 365)) as tx:
        assert holds.erase_released(tx) == 0
