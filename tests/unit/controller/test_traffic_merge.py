"""Updates of a session may come in any order, any number of times, in any batches: the database ends the same."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any, NamedTuple
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import traffic
from cloudpriv.controller.traffic import Verdict
from cloudpriv.controller.traffic_records import Batch, Record, session_key
from tests.factories import BACKEND, make_account, make_device, make_person, transaction

START = datetime(2026, 5, 1, tzinfo=UTC)
MEMBERS = (
    "started_at", "ended_at", "bytes_from_device", "bytes_to_device", "protocol", "remote_address", "end_reason",
    "person_id",
)  # fmt: skip
# Each greater than the one before by bytes, though not in every language's order; likewise the addresses.
TEXTS = ["TCP", "Z", "tcp", "z", "\u00e9", "\U0001f600"]
ADDRESSES = ["9.255.0.1", "10.0.0.1", "::ffff:9.0.0.1", "2001:db8::1"]


def minutes(least: int, most: int) -> st.SearchStrategy[datetime]:
    return st.integers(least, most).map(lambda number: START + timedelta(minutes=number))


def maybe(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.sampled_from(values)


updates = st.fixed_dictionaries({
    "session": st.sampled_from(["a", "b", "c"]),
    "started_at": minutes(0, 5),
    "ended_at": st.none() | minutes(6, 12),
    "bytes_from_device": st.none() | st.integers(0, 3),
    "bytes_to_device": st.none() | st.integers(0, 2**63 - 1),
    "protocol": maybe(TEXTS),
    "remote_address": maybe(ADDRESSES),
    "end_reason": maybe(TEXTS),
    "username": maybe(["kim", "robin", "unknown"]),
})  # fmt: skip
batches = st.lists(st.lists(updates, max_size=8), min_size=1, max_size=5)


class Account(NamedTuple):
    """An account with one device and two people."""

    account_id: UUID
    device: str
    people: dict[str, UUID]


def new_account(services: Services) -> Account:
    account_id = make_account(services).row.account_id
    device = str(make_device(services, account_id).row.device_id)
    people = {name: make_person(services, account_id, username=name).row.person_id for name in ("kim", "robin")}
    return Account(account_id, device, people)


def told(account: Account, update: dict[str, Any]) -> Record:
    return Record(account=str(account.account_id), device=account.device, source="s", **update)


def expected(account: Account, update_lists: list[list[dict[str, Any]]]) -> dict[str, tuple[Any, ...]]:
    """By the definition: the earliest start, and of everything else the greatest that was told."""
    sessions: dict[str, list[dict[str, Any]]] = {}
    for update in (each for updates in update_lists for each in updates):
        known = {**update, "person_id": account.people.get(update["username"])}
        sessions.setdefault(session_key("s", update["session"]), []).append(known)
    return {key: tuple(_merged(name, of_session) for name in MEMBERS) for key, of_session in sessions.items()}


def _merged(name: str, of_session: list[dict[str, Any]]) -> Any:
    values = [update[name] for update in of_session if update[name] is not None]
    if name == "started_at":
        return min(values)
    if name.startswith("bytes"):
        return max(values, default=0)
    if name == "remote_address":
        addresses = [ip_address(value) for value in values]
        return max(addresses, key=lambda each: (each.version, int(each)), default=None)
    return max(values, key=_in_bytes, default=None)


def _in_bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def stored(engine: Engine, account: Account) -> dict[str, tuple[Any, ...]]:
    query = text(f"SELECT session_key, {', '.join(MEMBERS)} FROM traffic WHERE account_id = :id")  # noqa: S608  our own names
    with engine.connect() as connection:
        return {bytes(row[0]).hex(): tuple(row[1:]) for row in connection.execute(query, {"id": account.account_id})}


def last_traffic_at(engine: Engine, account: Account) -> datetime | None:
    query = text("SELECT last_traffic_at FROM accounts WHERE account_id = :id")
    with engine.connect() as connection:
        found: datetime | None = connection.scalar(query, {"id": account.account_id})
        return found


def ingest(services: Services, account: Account, batch: list[dict[str, Any]]) -> Verdict:
    with transaction(services, BACKEND) as tx:
        return traffic.ingest(tx, Batch([told(account, update) for update in batch], range(len(batch))))


# The database is one for all examples; each opens an account of its own in it.
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=batches, again=st.randoms(use_true_random=False))
def test_any_order_repetition_and_batching_gives_the_same_sessions(
    services: Services, owner_engine: Engine, batches: list[list[dict[str, Any]]], again: Any
) -> None:
    account = new_account(services)
    verdicts = [ingest(services, account, batch) for batch in batches]
    result = expected(account, batches)
    assert stored(owner_engine, account) == result
    assert sum(each.accepted for each in verdicts) == len(result)
    assert sum(each.accepted + each.merged for each in verdicts) == sum(map(len, batches))
    every = [update for batch in batches for update in batch]
    latest = [update["ended_at"] or update["started_at"] for update in every]
    assert last_traffic_at(owner_engine, account) == max(latest, default=None)
    again.shuffle(every)
    assert ingest(services, account, every) == Verdict(0, len(every), [])
    assert stored(owner_engine, account) == result
    other = new_account(services)
    ingest(services, other, every)
    assert stored(owner_engine, other) == expected(other, [every])
