"""Owners are told in time, once for each stage, and nobody is erased by policy whose owners were not."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from itertools import product
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import Engine, insert, select, text
from structlog.testing import capture_logs

from cloudpriv.bootstrap import Services
from cloudpriv.controller import people
from cloudpriv.controller.outbox import Mail
from cloudpriv.controller.tables import Account
from cloudpriv.platform.ids import new_id
from cloudpriv.policy.periods import parse_period
from cloudpriv.policy.register import load
from cloudpriv.retention import due, notices
from cloudpriv.retention.due import DueAccount
from cloudpriv.retention.tables import Hold, Notice
from tests.exports import ask, open_archive
from tests.exports import run as run_export
from tests.factories import NOW, make_account, make_person, transaction
from tests.purges import await_blocked, let_it_age
from tests.stack import every_row

MOMENT = timedelta(microseconds=1)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
TODAY = NOW.replace(hour=0)
LAST_TRAFFIC = datetime(2019, 8, 29, 15, tzinfo=UTC)
DUE_ON = datetime(2026, 8, 30, tzinfo=UTC)  # 90 days after NOW's
STAGES = [DUE_ON - timedelta(days=days) for days in (90, 30, 7)]


@pytest.fixture
def give(worker_services: Services) -> Callable[..., int]:
    """What the schedule does, at a time."""

    def once(now: datetime = NOW, limit: int = 100) -> int:
        with transaction(worker_services, now=now) as tx:
            return notices.give_due(tx, worker_services.policy, limit=limit)

    return once


Give = Callable[..., int]


def given(owner: Engine) -> list[tuple[date, int, int]]:
    """Every notice in order of giving: for which day, at which stage, with how many mails."""
    with owner.connect() as connection:
        query = select(Notice.due_on, Notice.days, Notice.mails).order_by(Notice.given_at, Notice.due_on)
        return [(row.due_on, row.days, row.mails) for row in connection.execute(query)]


def stages(owner: Engine) -> list[int]:
    return [days for _, days, _ in given(owner)]


def make_idle(services: Services, last_traffic: datetime = LAST_TRAFFIC, owners: int = 1) -> UUID:
    """An account without traffic since then."""
    account_id = make_account(services, created_at=last_traffic).row.account_id
    for _ in range(owners):
        make_person(services, account_id)
    return account_id


def hold(owner: Engine, account_id: UUID, scope: str = "account", **columns: object) -> None:
    row = {
        "account_id": account_id,
        "hold_id": new_id(),
        "scope": scope,
        "authority": "a court",
        "reference": "1",
        "placed_by": "client:x",
        "placed_at": NOW,
        **columns,
    }
    with owner.begin() as connection:
        connection.execute(insert(Hold), row)


def is_pending(services: Services, account_id: UUID, now: datetime, last_traffic: datetime = LAST_TRAFFIC) -> bool:
    erasable_from = due.rule(services.policy).erasable_from(last_traffic)
    account = DueAccount(account_id, "talk2m", last_traffic, erasable_from)
    with transaction(services, now=now) as tx:
        return notices.pending_among(tx, services.policy, [account]) == {account_id}


def test_each_stage_is_given_from_the_first_moment_of_its_day_and_once(
    services: Services, give: Give, owner_engine: Engine
) -> None:
    make_idle(services)
    told = []
    for begins, days in zip(STAGES, (90, 30, 7), strict=True):
        assert give(begins - MOMENT) == 0
        assert give(begins) == 1
        assert give(begins) == 0
        assert give(begins + DAY) == 0
        told.append((DUE_ON.date(), days, 1))
    assert give(DUE_ON + timedelta(days=365)) == 0
    assert given(owner_engine) == told


@pytest.mark.parametrize(
    ("last_traffic", "begins", "due_on"),
    [
        ("2020-02-29T23:59:59Z", "2026-12-01", date(2027, 3, 1)),
        ("2021-02-28T00:00:00Z", "2027-12-01", date(2028, 2, 29)),
        ("2021-03-01T00:00:00Z", "2027-12-03", date(2028, 3, 2)),
        ("2019-11-08T12:00:00+14:00", "2026-08-10", date(2026, 11, 8)),
    ],
)
def test_days_are_counted_by_the_calendar(
    services: Services, give: Give, owner_engine: Engine, last_traffic: str, begins: str, due_on: date
) -> None:
    make_idle(services, datetime.fromisoformat(last_traffic))
    first = datetime.fromisoformat(f"{begins}T00:00:00Z")
    assert (give(first - MOMENT), give(first)) == (0, 1)
    assert given(owner_engine) == [(due_on, 90, 1)]


@pytest.mark.parametrize(
    ("now", "stage"),
    [(STAGES[1] - MOMENT, 90), (STAGES[1], 30), (STAGES[2] - MOMENT, 30), (STAGES[2], 7), (DUE_ON + 5000 * DAY, 7)],
)
def test_who_was_not_told_in_time_is_told_the_most_urgent_alone(
    services: Services, give: Give, owner_engine: Engine, now: datetime, stage: int
) -> None:
    make_idle(services)
    assert (give(now), give(now)) == (1, 0)
    assert stages(owner_engine) == [stage]


def test_an_earlier_stage_does_not_follow_a_later_one_when_a_clock_was_put_back(
    services: Services, give: Give, owner_engine: Engine
) -> None:
    make_idle(services)
    assert (give(STAGES[2]), give(STAGES[0]), give(STAGES[1])) == (1, 0, 0)
    assert stages(owner_engine) == [7]


def test_traffic_between_notices_starts_anew(services: Services, give: Give, owner_engine: Engine) -> None:
    account_id = make_idle(services)
    give(STAGES[0])
    give(STAGES[1])
    let_it_age(owner_engine, account_id, LAST_TRAFFIC + 10 * DAY)
    assert give(STAGES[2]) == 1, "what was given was for another day, which is not 30 days ahead any more"
    assert give(STAGES[2] + 10 * DAY) == 1
    later = date(2026, 9, 9)
    assert given(owner_engine) == [(DUE_ON.date(), 90, 1), (DUE_ON.date(), 30, 1), (later, 30, 1), (later, 7, 1)]
    assert is_pending(services, account_id, DUE_ON + 10 * DAY - MOMENT, LAST_TRAFFIC + 10 * DAY)
    assert not is_pending(services, account_id, DUE_ON + 10 * DAY, LAST_TRAFFIC + 10 * DAY)


def test_traffic_of_the_same_day_changes_nothing(services: Services, give: Give, owner_engine: Engine) -> None:
    account_id = make_idle(services)
    give(STAGES[0])
    let_it_age(owner_engine, account_id, LAST_TRAFFIC.replace(hour=23, minute=59))
    assert give(STAGES[0]) == 0


def test_nobody_is_told_who_is_in_use_or_is_not_active(services: Services, give: Give, owner_engine: Engine) -> None:
    make_idle(services, NOW)
    for status in ("restricted", "closing", "purging"):
        account_id = make_idle(services)
        with owner_engine.begin() as connection:
            statement = text("UPDATE accounts SET status = :status WHERE account_id = :id")
            connection.execute(statement, {"status": status, "id": account_id})
    assert give(DUE_ON) == 0


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({}, 0),
        ({"until": DUE_ON + MOMENT}, 0),
        ({"until": DUE_ON}, 1),
        ({"released_at": NOW}, 1),
        ({"scope": "category", "category": "traffic_metadata"}, 1),
    ],
)
def test_an_account_under_a_hold_is_told_when_that_has_ended(
    services: Services, give: Give, owner_engine: Engine, columns: dict[str, str], told: int
) -> None:
    hold(owner_engine, make_idle(services), **columns)
    assert give(DUE_ON) == told


def test_each_owner_with_an_address_gets_a_mail_and_nobody_else(
    services: Services, give: Give, owner_engine: Engine
) -> None:
    account_id = make_idle(services, owners=2)
    make_idle(services, NOW)
    for address in (None, "", "kim@example.com, eve@example.com"):
        make_person(services, account_id, email=address)
    with transaction(services) as tx:
        people.add_person(tx, account_id, "member", {"username": "member", "email": "member@example.com"})
        gone = people.add_person(tx, account_id, "owner", {"username": "gone", "email": "gone@example.com"}).row
        gone.erasure_requested_at = NOW
    give()
    assert given(owner_engine) == [(DUE_ON.date(), 90, 2)]
    with owner_engine.connect() as connection:
        rows = connection.execute(select(Mail.account_id, Mail.kind, Mail.status, Mail.next_try_at)).all()
    assert [tuple(row) for row in rows] == [(account_id, "erasure_notice", "queued", NOW)] * 2


def test_an_account_that_nobody_can_be_told_of_counts_as_told(services: Services, give: Give, owner_engine: Engine) -> None:
    deserted = make_idle(services, owners=0)
    give(STAGES[2])
    assert given(owner_engine) == [(DUE_ON.date(), 7, 0)]
    assert not is_pending(services, deserted, DUE_ON)


def test_an_erasure_waits_until_the_last_notice_is_seven_full_days_old(services: Services, give: Give) -> None:
    account_id = make_idle(services)
    give(STAGES[1])
    assert is_pending(services, account_id, DUE_ON), "only the last notice counts"
    late = DUE_ON + timedelta(days=3, hours=5)
    give(late)
    assert is_pending(services, account_id, late + WEEK - MOMENT)
    assert not is_pending(services, account_id, late + WEEK)
    assert is_pending(services, new_id(), late + WEEK), "a notice is its account's own"


def test_nothing_is_pending_among_none(services: Services) -> None:
    with transaction(services) as tx:
        assert notices.pending_among(tx, services.policy, []) == set()


def test_every_notice_is_audited_and_names_nobody(services: Services, give: Give, owner_engine: Engine) -> None:
    account_id = make_idle(services)
    make_person(services, account_id, name="Robin Placeholder", email="robin@example.com")
    give()
    with owner_engine.connect() as connection:
        query = text("SELECT action, account_id FROM audit_events WHERE action LIKE 'notice.%'")
        assert [tuple(row) for row in connection.execute(query)] == [("notice.give", account_id)]
    said = str(every_row(owner_engine))
    assert [word for word in ("Robin", "robin@example.com", "kim@example.com") if word in said] == []


def test_notices_are_in_the_accounts_export(services: Services, give: Give, worker_services: Services) -> None:
    account_id = make_idle(services)
    give()
    export_id = ask(services, account_id)
    run_export(worker_services, export_id)
    [told] = json.loads(open_archive(services, export_id).read("notices.json"))
    assert (told["due_on"], told["days_before"], told["mails"]) == ("2026-08-30", 90, 1)


def test_two_planners_at_once_give_nothing_twice(
    services: Services, worker_services: Services, give: Give, owner_engine: Engine
) -> None:
    make_idle(services)
    with ThreadPoolExecutor(1) as other:
        with transaction(worker_services) as tx:
            assert notices.give_due(tx, services.policy, limit=10) == 1
            second = other.submit(give)
            assert await_blocked(owner_engine, second.done), "it does not see what is not committed, and must wait"
        assert second.result() == 0
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM outbox")) == 1
    assert stages(owner_engine) == [90]


def test_any_number_of_planners_give_each_account_its_notice_once(
    services: Services, give: Give, owner_engine: Engine
) -> None:
    accounts = {make_idle(services, LAST_TRAFFIC - number * DAY) for number in range(30)}

    def all_of_them() -> None:
        while give(limit=4):
            pass

    with ThreadPoolExecutor(4) as planners:
        for each in [planners.submit(all_of_them) for _ in range(4)]:
            each.result()
    while give(limit=4):
        pass
    with owner_engine.connect() as connection:
        mailed = list(connection.scalars(text("SELECT account_id FROM outbox")))
        told = set(connection.scalars(select(Notice.account_id)))
    assert sorted(mailed) == sorted(accounts) == sorted(told)


def test_an_account_whose_erasure_begins_is_left_out_and_not_waited_for(
    services: Services, give: Give, owner_engine: Engine
) -> None:
    taken, _ = make_idle(services), make_idle(services)
    with owner_engine.begin() as purge:
        purge.execute(text("SELECT FROM accounts WHERE account_id = :id FOR UPDATE"), {"id": taken})
        assert give() == 1
    assert give() == 1


def test_traffic_is_taken_while_notices_are_given(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_idle(services)
    with transaction(worker_services) as tx:
        assert notices.give_due(tx, services.policy, limit=10) == 1
        with owner_engine.begin() as ingest:
            ingest.execute(text("SET LOCAL lock_timeout = '2s'"))
            ingest.execute(text("SELECT FROM accounts WHERE account_id = :id FOR NO KEY UPDATE"), {"id": account_id})
            ingest.execute(
                text("UPDATE accounts SET last_traffic_at = :at WHERE account_id = :id"), {"at": NOW, "id": account_id}
            )


def test_an_owner_who_is_being_erased_is_not_mailed(services: Services, give: Give, owner_engine: Engine) -> None:
    account_id = make_account(services, created_at=LAST_TRAFFIC).row.account_id
    person_id = make_person(services, account_id).row.person_id
    with ThreadPoolExecutor(1) as planner:
        with transaction(services) as tx:
            people.remove_person(tx, account_id, person_id, 1)
            tx.session.flush()
            second = planner.submit(give)
            assert await_blocked(owner_engine, second.done)
        assert second.result() == 1
    assert given(owner_engine) == [(DUE_ON.date(), 90, 0)]


def fill(owner: Engine, number: int, first: datetime, step: timedelta) -> None:
    """Very many accounts without people, each without traffic since `step` after the one before."""
    statement = """
        INSERT INTO accounts (account_id, service, status, profile, created_at, version)
        SELECT gen_random_uuid(), 'talk2m', 'active', '', :first + i * :step, 1 FROM generate_series(0, :number - 1) i
    """
    with owner.begin() as connection:
        connection.execute(text(statement), {"first": first, "step": step, "number": number})
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE accounts"))


def test_ten_thousand_accounts_that_come_due_are_told_in_bounded_batches(give: Give, owner_engine: Engine) -> None:
    fill(owner_engine, 10_000, datetime(2018, 1, 1, tzinfo=UTC), timedelta(hours=1))
    batches: list[int] = []
    while not batches or batches[-1] == 1000:
        batches.append(give(limit=1000))
    assert batches == [1000] * 10 + [0]
    assert sorted(set(stages(owner_engine))) == [7]


def test_the_cost_follows_what_comes_due_and_not_how_many_accounts_there_are(
    services: Services, give: Give, owner_engine: Engine
) -> None:
    fill(owner_engine, 20_000, NOW - timedelta(days=2000), timedelta(hours=2))
    for _ in range(3):
        make_idle(services)
    seen: list[str] = []
    with owner_engine.connect() as connection:
        query = notices.to_be_told(services.policy, NOW).limit(100)
        compiled = query.compile(connection)
        plan = connection.exec_driver_sql(f"EXPLAIN ANALYZE {compiled}", compiled.construct_params())
        seen = [row[0] for row in plan]
    assert [line for line in seen if "ix_accounts_activity" in line]
    assert [line for line in seen if "Seq Scan on accounts" in line] == []
    assert give() == 3


PERIODS = ("P7Y", "P6M", "P1M", "P1Y1M30D", "P3W", "P45D")
RULES = [*product(PERIODS, (None, "end_of_year")), ("PT36H", None)]


@pytest.mark.parametrize(("period", "rounded"), RULES)
def test_the_database_counts_days_as_the_policy_does(owner_engine: Engine, period: str, rounded: str | None) -> None:
    fill(owner_engine, 3000, datetime(2015, 1, 1, tzinfo=UTC) - MOMENT, timedelta(hours=29, microseconds=1))
    rule = msgspec.structs.replace(due.rule(load()), period=parse_period(period), round=rounded)
    with owner_engine.connect() as connection:
        connection.execute(text("SET TimeZone = 'Pacific/Auckland'"))
        query = select(Account.created_at, due.day_in_sql(rule))
        wrong = [(at, day) for at, day in connection.execute(query) if rule.erasable_from(at).date() != day]
    assert wrong == []


def test_an_account_whose_key_does_not_open_is_reported_and_holds_up_nobody(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    broken = [make_idle(services, LAST_TRAFFIC - DAY) for _ in range(2)]
    whole = make_idle(services)
    with owner_engine.begin() as connection:
        statement = text("UPDATE account_keys SET wrapped = '\\x00' WHERE account_id = ANY (:ids)")
        connection.execute(statement, {"ids": broken})
    unreadable: set[UUID] = set()
    with capture_logs() as told:
        for seen_to in (2, 1, 0):
            with transaction(worker_services) as tx:
                assert notices.give_due(tx, services.policy, limit=2, unreadable=unreadable) == seen_to
    assert unreadable == set(broken)
    assert sorted(line["account"] for line in told) == sorted(map(str, broken))
    with owner_engine.connect() as connection:
        assert list(connection.scalars(select(Notice.account_id))) == [whole]
    assert is_pending(services, broken[0], DUE_ON + 30 * DAY, LAST_TRAFFIC - DAY), "who was not told is not erased by policy"
