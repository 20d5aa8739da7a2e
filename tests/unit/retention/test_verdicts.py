"""Twenty accounts, one of each kind, at one midnight: what is said of each, and what a run then does to it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, credentials, devices, people, traffic
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.traffic_records import Batch, Record
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.retention import holds, notices, purge, runs, verdicts
from cloudpriv.retention.tables import Hold, Purge
from tests.factories import BACKEND, make_account, make_device, make_person, transaction
from tests.purges import ledger, let_traffic_come, purge_of, rows_of, run, tell_owners, terms
from tests.stack import every_row

NOW = datetime(2026, 6, 2, tzinfo=UTC)  # the first instant at which what was idle since 2019-06-01 may go
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
OLD = datetime(2018, 8, 1, tzinfo=UTC)
LAST_DUE, FIRST_FRESH = datetime(2019, 6, 1, 23, 59, 59, tzinfo=UTC), datetime(2019, 6, 2, tzinfo=UTC)
COURT: dict[str, Any] = {"authority": "Halmstad District Court", "reference": "T 1-26"}


@dataclass(frozen=True)
class Case:
    """An account, the word on it, what is left of it after a run, and whether its owners are told before."""

    make: Callable[["Cast"], UUID]
    word: str
    left: str = "all"
    told: bool = True


class Cast:
    """Makes the accounts."""

    def __init__(self, services: Services, owner: Engine) -> None:
        self.services, self.owner = services, owner

    def idle(self, last_traffic_at: datetime | None = OLD, created_at: datetime = OLD) -> UUID:
        """An account with a person, a device and a session of `last_traffic_at`."""
        account_id = make_account(self.services, created_at=created_at, now=NOW).row.account_id
        make_person(self.services, account_id)
        make_device(self.services, account_id, serial="4711")
        if last_traffic_at is not None:
            assert self.send(account_id, last_traffic_at, received=last_traffic_at) == 1
        return account_id

    def send(self, account_id: UUID, started_at: datetime, received: datetime = NOW) -> int:
        """How many sessions are taken."""
        record = Record(account=str(account_id), device="4711", session=started_at.isoformat(), started_at=started_at)
        with transaction(self.services, BACKEND, received) as tx:
            return traffic.ingest(tx, Batch([record], range(1))).accepted

    def held(self, scope: str, *, end: datetime | None = None, released: bool = False, **what: Any) -> UUID:
        """An idle account under a hold."""
        account_id = self.idle()
        if scope == "person":
            what["person_id"] = self.person(account_id)
        with transaction(self.services, now=NOW - 10 * DAY) as tx:
            hold = holds.place(tx, account_id, scope, **COURT, **what, until=end)
            if released:
                holds.release(tx, account_id, hold.hold_id)
        return account_id

    def person(self, account_id: UUID) -> UUID:
        with self.owner.connect() as connection:
            found: UUID = connection.scalar(text("SELECT person_id FROM people WHERE account_id = :id"), {"id": account_id})
            return found

    def in_status(self, status: str) -> UUID:
        account_id = self.idle()
        with self.owner.begin() as connection:
            statement = text("UPDATE accounts SET status = :status WHERE account_id = :id")
            connection.execute(statement, {"status": status, "id": account_id})
        return account_id

    def closing(self) -> UUID:
        account_id = self.idle(NOW - DAY)
        with transaction(self.services, now=NOW) as tx:
            purge.request_erasure(tx, self.services.policy, account_id, 1)
        return account_id

    def refused_future(self) -> UUID:
        account_id = self.idle()
        assert self.send(account_id, NOW + timedelta(minutes=6)) == 0
        return account_id

    def late_record(self) -> UUID:
        account_id = self.idle()
        assert self.send(account_id, LAST_DUE) == 1, "taken now, of a session seven years ago"
        return account_id

    def notified(self, ago: timedelta, *, bounced: bool = False) -> UUID:
        account_id = self.idle()
        with self.owner.begin() as connection:
            statement = text("INSERT INTO notices VALUES (:id, '2025-08-02', 7, :at, 1)")
            connection.execute(statement, {"id": account_id, "at": NOW - ago})
            if bounced:
                mail = """INSERT INTO outbox (mail_id, account_id, person_id, kind, status, failure, attempts, created_at,
                                              next_try_at)
                          VALUES (gen_random_uuid(), :id, :person, 'erasure_notice', 'failed', '550', 1, :at, :at)"""
                connection.execute(text(mail), {"id": account_id, "person": self.person(account_id), "at": NOW - ago})
        return account_id


CASES = {
    "due by one second": Case(lambda cast: cast.idle(LAST_DUE), "due", "nothing"),
    "fresh by one second": Case(lambda cast: cast.idle(FIRST_FRESH), "fresh"),
    "no traffic ever": Case(lambda cast: cast.idle(None), "due", "nothing"),
    "no traffic ever, and young": Case(lambda cast: cast.idle(None, created_at=NOW - DAY), "fresh"),
    "created after its last traffic": Case(lambda cast: cast.idle(OLD, created_at=FIRST_FRESH), "fresh"),
    "leap day, due": Case(lambda cast: cast.idle(datetime(2016, 2, 29, 12, tzinfo=UTC), OLD - 900 * DAY), "due", "nothing"),
    "held": Case(lambda cast: cast.held("account"), "held"),
    "held until tomorrow": Case(lambda cast: cast.held("account", end=NOW + DAY), "held"),
    "held until a moment ago": Case(lambda cast: cast.held("account", end=NOW), "due", "nothing"),
    "released": Case(lambda cast: cast.held("account", released=True), "due", "nothing"),
    "category held": Case(lambda cast: cast.held("category", category="traffic_metadata"), "partly", "traffic"),
    "person held": Case(lambda cast: cast.held("person"), "partly", "people"),
    "restricted": Case(lambda cast: cast.in_status("restricted"), "restricted"),
    "closing": Case(Cast.closing, "closing", "nothing"),
    "a record of the future": Case(Cast.refused_future, "due", "nothing"),
    "a late record of long ago": Case(Cast.late_record, "due", "nothing"),
    "brought over with its old creation date": Case(lambda cast: cast.idle(None), "notice_pending", told=False),
    "notice given six days ago": Case(lambda cast: cast.notified(6 * DAY), "notice_pending", told=False),
    "notice given a week ago": Case(lambda cast: cast.notified(7 * DAY), "due", "nothing", told=False),
    "notice bounced": Case(lambda cast: cast.notified(8 * DAY, bounced=True), "due", "nothing", told=False),
}


@pytest.fixture
def cast(services: Services, owner_engine: Engine) -> dict[str, UUID]:
    """All of them, in an installation where traffic comes."""
    makes = Cast(services, owner_engine)
    made = {name: case.make(makes) for name, case in CASES.items() if case.told}
    tell_owners(owner_engine, services.policy, NOW)
    made |= {name: case.make(makes) for name, case in CASES.items() if not case.told}
    let_traffic_come(owner_engine, NOW)
    return made


def test_there_are_twenty_of_them() -> None:
    assert len(CASES) == 20


def test_what_is_said_of_each_and_what_a_run_does_to_it(
    cast: dict[str, UUID], services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    with transaction(services, now=NOW) as tx:
        said = {name: str(verdicts.judge(tx, services.policy, account_id).verdict) for name, account_id in cast.items()}
    assert said == {name: case.word for name, case in CASES.items()}

    before = {name: rows_of(owner_engine, account_id) for name, account_id in cast.items()}
    with transaction(services, now=NOW) as tx:
        runs.plan_due(tx, terms(services, NOW))
    with transaction(services) as tx:
        planned = {row.account_id: row.purge_id for row in tx.session.query(Purge)}
    assert {name for name in CASES if cast[name] in planned} == {
        name for name, case in CASES.items() if case.word in ("due", "partly", "closing")
    }
    for purge_id in planned.values():
        run(worker_services, purge_id, NOW)

    after = {name: rows_of(owner_engine, account_id) for name, account_id in cast.items()}
    for name, case in CASES.items():
        if case.left == "all":
            assert after[name] == before[name], name
        elif case.left == "nothing":
            assert after[name] == {}, name
            assert purge_of(services, planned[cast[name]]).status == "done"
        else:
            assert after[name][case.left] == before[name][case.left] == 1, name
            assert sum(after[name].values()) < sum(before[name].values()), name
            assert purge_of(services, planned[cast[name]]).status == "running", "it goes on when the hold ends"
    assert len(ledger(services)) == sum(case.left == "nothing" for case in CASES.values())


def test_what_holds_kept_goes_by_itself_when_they_end(
    cast: dict[str, UUID], services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    kept = [cast[name] for name in ("held", "held until tomorrow", "category held", "person held")]
    with transaction(services, now=NOW) as tx:
        runs.plan_due(tx, terms(services, NOW))
        for purge_id in purge.waiting(tx, 100):
            tx.wake.append(("purge", purge_id))
        woken = [subject for _, subject in tx.wake]
    for purge_id in woken:
        run(worker_services, purge_id, NOW)
    later = NOW + DAY
    with transaction(services, now=later) as tx:
        for hold in tx.session.query(Hold).filter(Hold.until.is_(None), Hold.released_at.is_(None)):
            holds.release(tx, hold.account_id, hold.hold_id)
    with transaction(services, now=later) as tx:
        runs.plan_due(tx, terms(services, later))
        unfinished = [*purge.waiting(tx, 100), *purge.unfinished(tx)]
    for purge_id in unfinished:
        run(worker_services, purge_id, later)
    assert [rows_of(owner_engine, account_id) for account_id in kept] == [{}] * 4


@pytest.mark.parametrize(
    ("now", "word"), [(datetime(2023, 2, 28, 23, 59, 59, tzinfo=UTC), "fresh"), (datetime(2023, 3, 1, tzinfo=UTC), "due")]
)
def test_a_leap_day_ends_with_the_last_of_february(
    services: Services, owner_engine: Engine, now: datetime, word: str
) -> None:
    account_id = make_account(services, created_at=datetime(2016, 2, 29, 12, tzinfo=UTC)).row.account_id
    tell_owners(owner_engine, services.policy, now)
    with transaction(services, now=now) as tx:
        assert verdicts.judge(tx, services.policy, account_id).verdict == word


def test_what_is_being_erased_or_gone_says_so(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    account_id = Cast(services, owner_engine).closing()
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'purging'"))
    with transaction(services, now=NOW) as tx:
        assert verdicts.judge(tx, services.policy, account_id).verdict == "purging"
        [purge_id] = [each.purge_id for each in tx.session.query(Purge)]
    run(worker_services, purge_id, NOW)
    with transaction(services, now=NOW) as tx, pytest.raises(NotFoundError):
        verdicts.judge(tx, services.policy, account_id)


def test_who_takes_the_erased_ones_name_mail_and_serials_inherits_nothing(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    old = open_same(services, datetime(2018, 8, 1, tzinfo=UTC))
    with transaction(services, now=NOW) as tx:
        holds.place(tx, old.row.account_id, "account", **COURT, until=NOW + SECOND)
        assert notices.give_due(tx, services.policy, limit=10) == 0, "none while the hold lasts"
        closed = purge.request_erasure(tx, services.policy, old.row.account_id, 1)
    run(worker_services, closed.purge_id, NOW)
    assert rows_of(owner_engine, old.row.account_id), "held"
    run(worker_services, closed.purge_id, NOW + DAY)
    before = every_row(owner_engine)

    new = open_same(services, NOW)
    assert new.row.account_id != old.row.account_id
    inherited = rows_of(owner_engine, new.row.account_id)
    assert inherited == {"accounts": 1, "account_keys": 1, "directory": 1, "people": 1, "credentials": 1, "devices": 1}
    with owner_engine.connect() as connection:
        keys = [bytes(row[0]) for row in connection.execute(text("SELECT wrapped FROM account_keys"))]
    assert len(keys) == 1
    assert bytes(old.key.blind_index("x", "y")) != new.key.blind_index("x", "y"), "another data key"
    assert not any(str(new.row.account_id) in row for rows in before.values() for row in rows)
    with transaction(services, now=NOW) as tx:
        assert verdicts.judge(tx, services.policy, new.row.account_id).verdict == "fresh"
        assert holds.active(tx, new.row.account_id) == []


def open_same(services: Services, created_at: datetime) -> OpenedAccount:
    """The account "acme" of one Kim with one device: always the same names, mail and serial."""
    account = make_account(services, account_name="acme", created_at=created_at, now=NOW)
    account_id = account.row.account_id
    with transaction(services, now=NOW) as tx:
        document = {"username": "kim", "name": "Kim Example", "email": "kim@example.com"}
        person = people.add_person(tx, account_id, "owner", document)
        devices.add_device(tx, account_id, "gateway", {"serial": "4711", "common_name": "cosy-1", "name": "Pump"})
        credentials.set_credentials(tx, account_id, person.row.person_id, "not a hash", "the dog")
        assert accounts.find_by_name(tx, "talk2m", "acme") is not None
    return account
