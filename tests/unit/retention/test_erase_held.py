"""What an erasure leaves under legal holds: exactly their scope, whatever they are, and nothing once they end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Engine, Table, select

from cloudpriv.bootstrap import Services
from cloudpriv.controller import credentials, devices, outbox
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform.classify import Category, classification_of, erased_tables
from cloudpriv.platform.ids import new_id
from cloudpriv.retention import around, erase, holds
from cloudpriv.retention.tables import Hold
from tests.exports import make_session, make_sessions
from tests.factories import NOW, make_device, make_person, transaction
from tests.purges import checksums_of_others, make_full_account, rows_of
from tests.stack import every_row

IDENTIFICATION, ACCOUNT, DEVICES, TRAFFIC, CREDENTIALS = holds.CATEGORIES
# Columns that cannot be empty and say little by themselves: they stay where the row has to.
FLAT = {
    *("accounts.service", "accounts.status", "accounts.created_at"),
    *("people.role", "people.created_at", "devices.registered_at"),
    *("holder_sessions.person_id", "holder_sessions.created_at", "holder_sessions.last_seen_at"),
    "holder_sessions.expires_at",
}
# Rows that name a person, and those that hold nothing but account data beside ids.
NAMING = (
    *("traffic", "credentials", "outbox", "requests", "exports", "holder_sessions", "one_time_codes", "consent_records"),
    *("disclosures", "owner_replacements", "policy_announcements"),
)
ACCOUNT_DATA = (
    *("requests", "notices", "consent_records", "disclosures", "recipient_notices", "owner_replacements"),
    "policy_announcements",
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Combination:
    """Categories and people (by their place among three) that are held."""

    categories: frozenset[str]
    people: frozenset[int]


@dataclass(frozen=True)
class Held:
    """A combination on a real account."""

    categories: frozenset[str]
    people: frozenset[UUID]

    def keeps_rows(self, table: str, rows: Sequence[Row], all_rows: dict[str, list[Row]]) -> list[Row]:
        """The rows of a table that have to stay, as a lawyer would say."""
        every = {
            "accounts": True,
            "holds": True,
            "account_keys": bool(self.people or self.categories & {IDENTIFICATION, ACCOUNT, DEVICES, CREDENTIALS}),
            "people": bool(self.categories & {IDENTIFICATION, ACCOUNT}),
            "credentials": CREDENTIALS in self.categories,
            "devices": DEVICES in self.categories,
            "traffic": TRAFFIC in self.categories,
            "holder_sessions": bool(self.categories & {ACCOUNT, CREDENTIALS}),
            **dict.fromkeys(ACCOUNT_DATA, ACCOUNT in self.categories),
        }
        if every.get(table):
            return list(rows)
        return [row for row in rows if self._keeps_row(table, row, all_rows)]

    def _keeps_row(self, table: str, row: Row, all_rows: dict[str, list[Row]]) -> bool:
        if table == "idempotency_keys":
            return IDENTIFICATION in self.categories and row["sealed"] is not None
        if table in ("people", "devices"):
            key = "person_id" if table == "people" else "device_id"
            referring = [name for name in NAMING if key in CONTROLLER.tables[name].columns]
            named = {kept[key] for name in referring for kept in self.keeps_rows(name, all_rows[name], all_rows)}
            return row[key] in named or row[key] in self.people
        return table in NAMING and row["person_id"] in self.people

    def keeps_value(self, column: Column[Any], row: Row) -> bool:
        """Whether a value of a row that stays belongs to what is held."""
        mark = classification_of(column)
        assert mark is not None
        if column.primary_key or column.name == "account_id" or mark.category is Category.OPERATION:
            return True
        return mark.category in self.categories or row.get("person_id") in self.people

    def as_holds(self, account_id: UUID) -> list[Hold]:
        """The holds that say so."""
        of_categories = [hold_of(account_id, category=category) for category in self.categories]
        return [*of_categories, *(hold_of(account_id, person_id=person) for person in self.people)]


def hold_of(account_id: UUID, *, person_id: UUID | None = None, category: str | None = None) -> Hold:
    scope = "person" if person_id else "category" if category else "account"
    return Hold(account_id=account_id, hold_id=new_id(), scope=scope, person_id=person_id, category=category,
                authority="Example District Court", reference="T 1", placed_by="operator:x", placed_at=NOW)  # fmt: skip


def rows_by_table(owner: Engine, account_id: UUID) -> dict[str, list[Row]]:
    with owner.connect() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(_rows(table, account_id)).mappings()]
            for table in erased_tables(CONTROLLER)
        }


def _rows(table: Table, account_id: UUID) -> Any:
    return select(table).where(table.c.account_id == account_id).order_by(*table.primary_key.columns)


def key_of(table: str, row: Row) -> tuple[Any, ...]:
    return tuple(row[column.name] for column in CONTROLLER.tables[table].primary_key.columns)


def fill(services: Services) -> tuple[UUID, list[UUID]]:
    """An account with something of three people everywhere, and a device that was registered twice."""
    account_id = make_full_account(services)
    people = [make_person(services, account_id).row.person_id for _ in range(3)]
    known = [make_device(services, account_id) for _ in range(3)]
    with transaction(services) as tx:
        devices.remove_device(tx, account_id, known[0].row.device_id, 1)
    make_device(services, account_id, serial=known[0].identity["serial"], common_name=known[0].identity["common_name"])
    for number, person_id in enumerate([*people, None]):
        device_id = known[number % 2].row.device_id
        make_session(services, account_id, device_id, 10 + number, person_id=person_id, remote_address="192.0.2.77",
                     protocol="canary")  # fmt: skip
        if person_id is not None:
            with transaction(services) as tx:
                credentials.set_credentials(tx, account_id, person_id, "not a hash", "the dog")
                outbox.queue_mail(tx, "hint", account_id, person_id)
    return account_id, people


def erase_all(services: Services, account_id: UUID, held: Sequence[Hold]) -> None:
    """What a purge does to rows, to the end."""
    with transaction(services) as tx:
        erase.shred_key(tx, account_id, held)
    more = True
    while more:
        with transaction(services) as tx:
            _, more = erase.erase_rows(tx, account_id, held)


combinations = st.builds(Combination, st.frozensets(st.sampled_from(holds.CATEGORIES)), st.frozensets(st.integers(0, 2)))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(Combination(frozenset({TRAFFIC, ACCOUNT}), frozenset()))
@example(Combination(frozenset(), frozenset({0})))
@given(combination=combinations.filter(lambda one: bool(one.categories or one.people)))
def test_an_erasure_around_holds_leaves_exactly_what_they_keep(
    services: Services, worker_services: Services, owner_engine: Engine, combination: Combination
) -> None:
    account_id, people = fill(services)
    held = Held(combination.categories, frozenset(people[number] for number in combination.people))
    before, others = rows_by_table(owner_engine, account_id), checksums_of_others(owner_engine, account_id)

    erase_all(worker_services, account_id, held.as_holds(account_id))

    after = rows_by_table(owner_engine, account_id)
    for table, rows in before.items():
        kept = held.keeps_rows(table, rows, before)
        assert [key_of(table, row) for row in after[table]] == [key_of(table, row) for row in kept], table
        for was, now in zip(kept, after[table], strict=True):
            check_values(held, table, was, now)
    look_for_canaries(held, owner_engine, before, after)
    assert checksums_of_others(owner_engine, account_id) == others

    erase_all(worker_services, account_id, [])
    assert {name for name, number in rows_of(owner_engine, account_id).items() if number} == {"accounts"}
    assert checksums_of_others(owner_engine, account_id) == others


def check_values(held: Held, table: str, was: Row, now: Row) -> None:
    for column in CONTROLLER.tables[table].columns:
        name = column.name
        if held.keeps_value(column, was) or f"{table}.{name}" in FLAT:
            assert now[name] == was[name], f"{table}.{name} has changed"
        else:
            assert now[name] in (None, b"", key_of(table, was)[-1].bytes), f"{table}.{name} is left"


def look_for_canaries(held: Held, owner: Engine, before: dict[str, list[Row]], after: dict[str, list[Row]]) -> None:
    """Nothing sealed or hashed that is not held is anywhere, whatever table it may have got into."""
    staying = {value for rows in after.values() for row in rows for value in row.values() if isinstance(value, bytes)}
    going = {
        value for rows in before.values() for row in rows for value in row.values() if isinstance(value, bytes)
    } - staying
    text = "\n".join(line for lines in every_row(owner).values() for line in lines)
    assert going
    assert [value for value in going if value and value.hex() in text] == []


def test_a_hold_on_the_account_keeps_all_of_it(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    account_id, people = fill(services)
    before = rows_by_table(owner_engine, account_id)
    erase_all(worker_services, account_id, [hold_of(account_id), hold_of(account_id, person_id=people[0])])
    assert rows_by_table(owner_engine, account_id) == before


@pytest.fixture
def large(services: Services, owner_engine: Engine) -> tuple[UUID, UUID]:
    """An account with more sessions than fit into a batch, and its person."""
    account_id = make_full_account(services)
    rows = rows_by_table(owner_engine, account_id)
    make_sessions(owner_engine, account_id, rows["devices"][0]["device_id"], erase.BATCH + 5)
    return account_id, rows["people"][0]["person_id"]


def test_a_large_account_is_erased_in_bounded_batches_around_a_hold(
    worker_services: Services, owner_engine: Engine, large: tuple[UUID, UUID]
) -> None:
    account_id, person_id = large
    held = [hold_of(account_id, person_id=person_id)]
    batches, more = [], True
    while more:
        with transaction(worker_services) as tx:
            erased, more = erase.erase_rows(tx, account_id, held)
        batches.append(sum(erased.values()))
    assert batches[0] == erase.BATCH
    assert max(batches) == erase.BATCH
    assert len(batches) == 2
    left = {name: number for name, number in rows_of(owner_engine, account_id).items() if number}
    assert (left["traffic"], left["people"], left["devices"], left["account_keys"]) == (1, 1, 1, 1)


def test_devices_that_kept_traffic_might_name_go_a_few_at_a_time(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    for _ in range(around.CHECKED + 1):
        make_device(services, account_id)
    held = [hold_of(account_id, category=TRAFFIC)]
    erased: list[tuple[dict[str, int], bool]] = []
    while not erased or erased[-1][1]:
        with transaction(worker_services) as tx:
            erased.append(erase.erase_rows(tx, account_id, held))
    assert max(counts.get("devices", 0) for counts, _ in erased) == around.CHECKED
    assert rows_of(owner_engine, account_id)["devices"] == 1


def test_the_key_goes_once_nothing_sealed_is_held_any_more(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    both = [hold_of(account_id, category=DEVICES), hold_of(account_id, category=TRAFFIC)]
    erase_all(worker_services, account_id, both)
    assert rows_of(owner_engine, account_id)["account_keys"] == 1
    erase_all(worker_services, account_id, both[1:])
    left = {name for name, number in rows_of(owner_engine, account_id).items() if number}
    assert left == {"traffic", "devices", "people", "holds", "accounts"}
