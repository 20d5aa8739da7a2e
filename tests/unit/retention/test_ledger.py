"""The erasure ledger in its bucket: written once, in order of time, and ahead of a database that came from a backup."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform import objectstore
from cloudpriv.platform.errors import BusyError, NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.retention import certify, erase, ledger
from cloudpriv.retention.ledger import Entry, LedgerError
from tests.factories import NOW, transaction
from tests.purges import close, make_full_account


def entry_of(account_id: UUID, erased_at: datetime = NOW) -> Entry:
    """What the ledger says of an erased account."""
    return Entry(
        erase.hash_of(account_id), "talk2m", "policy", "P7Y after last_traffic", "2023-03-30", {"people": 2}, erased_at
    )


def enter(services: Services, entry: Entry) -> None:
    """Let the database know of an erasure too."""
    with transaction(services) as tx:
        certify.enter(tx, entry, None)


def is_ahead(services: Services) -> bool:
    with transaction(services) as tx:
        return ledger.ahead_of(tx, services.ledger)


def keys_of(services: Services) -> list[str]:
    return [key for page in ledger.pages(services.ledger) for key in page]


def test_an_entry_is_read_as_it_was_written(services: Services) -> None:
    entry = entry_of(new_id(), datetime(2026, 11, 22, 21, 0, 0, 7, tzinfo=UTC))
    ledger.store(services.ledger, entry)
    assert keys_of(services) == [f"ledger/20261122T210000.000007Z-{entry.account_hash.hex()}.json"]
    assert ledger.read(services.ledger, entry.key) == entry


def test_an_entry_holds_the_hash_of_an_id_and_no_id(services: Services) -> None:
    account_id = new_id()
    entry = entry_of(account_id)
    ledger.store(services.ledger, entry)
    content = services.ledger.get(entry.key)
    assert str(account_id).encode() not in content
    assert account_id.hex.encode() not in content
    assert json.loads(content) == {
        "account_hash": entry.account_hash.hex(),
        "counts": {"people": 2},
        "erased_at": "20260601T120000.000000Z",
        "policy_version": "2023-03-30",
        "rule": "P7Y after last_traffic",
        "service": "talk2m",
        "trigger": "policy",
    }


def test_an_entry_is_written_once(services: Services) -> None:
    entry = entry_of(new_id())
    ledger.store(services.ledger, entry)
    ledger.store(services.ledger, entry)
    other = Entry(**{**vars(entry), "rule": "another"})
    with pytest.raises(LedgerError, match=entry.key):
        ledger.store(services.ledger, other)
    assert ledger.read(services.ledger, entry.key) == entry


def test_keys_are_in_the_order_of_erasures(services: Services) -> None:
    entries = [entry_of(new_id(), NOW + timedelta(microseconds=n)) for n in (2, 0, 1_000_000, 1)]
    for entry in entries:
        ledger.store(services.ledger, entry)
    assert keys_of(services) == [entry.key for entry in sorted(entries, key=lambda each: each.erased_at)]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"account_hash": 1}', b"\xff"])
def test_what_is_no_entry_is_not_taken_for_one(services: Services, content: bytes) -> None:
    key = entry_of(new_id()).key
    services.ledger.put(key, content)
    with pytest.raises(LedgerError, match=key):
        ledger.read(services.ledger, key)


def test_an_entry_in_the_place_of_another_is_not_taken_for_it(services: Services) -> None:
    entry, other = entry_of(new_id()), entry_of(new_id())
    ledger.store(services.ledger, entry)
    services.ledger.put(other.key, services.ledger.get(entry.key))
    with pytest.raises(LedgerError, match=other.key):
        ledger.read(services.ledger, other.key)


def test_an_object_of_a_foreign_name_is_not_passed_over(services: Services) -> None:
    services.ledger.put("ledger/readme.txt", b"hello")
    with pytest.raises(LedgerError, match=r"readme\.txt"):
        is_ahead(services)


def test_the_ledger_is_ahead_of_a_database_that_lacks_an_erasure(services: Services, worker_services: Services) -> None:
    assert not is_ahead(services)
    first, second = entry_of(new_id()), entry_of(new_id(), NOW + timedelta(days=400))
    ledger.store(services.ledger, first)
    assert is_ahead(services)
    enter(worker_services, first)
    assert not is_ahead(services)
    ledger.store(services.ledger, second)
    assert is_ahead(services)


def test_an_erasure_that_ended_late_is_missed_in_its_place(services: Services, worker_services: Services) -> None:
    late, newest = entry_of(new_id()), entry_of(new_id(), NOW + timedelta(hours=23))
    ledger.store(services.ledger, newest)
    enter(worker_services, newest)
    ledger.store(services.ledger, late)
    assert is_ahead(services)


def test_only_what_is_newer_than_the_databases_last_day_is_looked_at(services: Services, worker_services: Services) -> None:
    services.ledger.put("ledger/20000101T000000.000000Z-old", b"would be refused")
    enter(worker_services, entry_of(new_id()))
    assert not is_ahead(services)


def test_an_erasure_dated_ahead_hides_none_of_today(services: Services, worker_services: Services) -> None:
    ahead = entry_of(new_id(), NOW + timedelta(days=365))
    ledger.store(services.ledger, ahead)
    enter(worker_services, ahead)
    assert not is_ahead(services)
    ledger.store(services.ledger, entry_of(new_id(), NOW + timedelta(days=1)))
    assert is_ahead(services)


def lacks_newest(services: Services) -> bool:
    with transaction(services) as tx:
        return ledger.lacks_newest(tx, services.ledger)


def test_a_bucket_without_the_newest_erasure_is_not_the_databases_own(services: Services, worker_services: Services) -> None:
    assert not lacks_newest(services)
    for entry in (entry_of(new_id()), entry_of(new_id(), NOW + timedelta(days=1))):
        enter(worker_services, entry)
        assert lacks_newest(services)
        ledger.store(services.ledger, entry)
        assert not lacks_newest(services)


def test_an_erasure_that_is_ending_at_this_moment_is_not_missed(services: Services, owner_engine: Engine) -> None:
    account_id = make_full_account(services)
    close(services, account_id)
    ledger.store(services.ledger, entry_of(account_id))
    assert is_ahead(services)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE purges SET status = 'running', step = 'certificate'"))
    assert not is_ahead(services)


def test_many_erasures_are_compared_in_one_look(services: Services, worker_services: Services) -> None:
    entries = [entry_of(new_id(), NOW + timedelta(seconds=n)) for n in range(50)]
    for entry in entries:
        ledger.store(services.ledger, entry)
        enter(worker_services, entry)
    assert not is_ahead(services)
    with transaction(services) as tx:
        assert ledger.lacking(tx, [*keys_of(services), (lost := entry_of(new_id())).key]) == [lost.key]


def test_a_bucket_that_is_away_is_not_an_empty_one(services: Services) -> None:
    keys = {"access_key_id": "x", "secret_access_key": "y"}
    away = objectstore.connect("ledger", region="us-east-1", endpoint="http://127.0.0.1:9", **keys)
    with transaction(services) as tx, pytest.raises(BusyError):
        ledger.ahead_of(tx, away)
    with transaction(services) as tx, pytest.raises(NotFoundError):
        ledger.ahead_of(tx, services.ledger.of_bucket("not-there"))
