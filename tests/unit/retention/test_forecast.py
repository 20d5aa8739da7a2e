"""The forecast counts every account once, in the month that `purge_due_on` says, and what is held of it apart."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from threading import Thread
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.embedded.stack import Stack
from cloudpriv.platform.actor import OPERATOR, Actor, Service
from cloudpriv.platform.ids import new_id
from cloudpriv.policy.periods import Period, RoundTo, parse_period
from cloudpriv.policy.register import Policy, load
from cloudpriv.retention import due, forecast
from cloudpriv.retention.forecast import Forecast
from tests.exports import make_sessions
from tests.factories import BACKEND, NOW, make_account, make_device, transaction
from tests.purges import await_blocked
from tests.unit.policy.test_periods import instants, rules

POLICY = load()
PRESENT, JULY, LAST = date(2026, 6, 1), date(2026, 7, 1), date(2033, 6, 1)
IN_PRESENT = datetime(2018, 8, 1, tzinfo=UTC)  # overdue since August 2025
IN_JULY = datetime(2019, 7, 10, tzinfo=UTC)
HOLD = "INSERT INTO holds (account_id, hold_id, scope, {}authority, reference, placed_by, placed_at, until, released_at) "
HELD = HOLD + "VALUES (:account, :hold, :scope, {}'court', 'A 1', 'operator:cli', :now, :until, :released)"
PART = {"account": ("", ""), "person": ("person_id, ", "gen_random_uuid(), "), "category": ("category, ", "'traffic', ")}


def policy_with(period: Period, rounded: RoundTo | None = None) -> Policy:
    """The policy with another rule for accounts."""
    retention = msgspec.structs.replace(due.rule(POLICY), period=period, round=rounded)
    changed = [
        msgspec.structs.replace(each, retention=retention) if each.key == "cloud_services" else each
        for each in POLICY.activities
    ]
    return msgspec.structs.replace(POLICY, activities=tuple(changed))


def read(services: Services, actor: Actor = OPERATOR, now: datetime = NOW, policy: Policy = POLICY) -> Forecast:
    with transaction(services, actor, now) as tx:
        return forecast.read(tx, policy)


def recount(services: Services, now: datetime = NOW) -> None:
    with transaction(services, now=now) as tx:
        forecast.count(tx, POLICY)


def figures(found: Forecast) -> dict[tuple[str, date], tuple[int, int, int, int]]:
    """Accounts, records, and how many of each are held, of months that have any."""
    shown = {
        (row.service, row.month): (row.accounts, row.records, row.held_accounts, row.held_records) for row in found.months
    }
    return {place: counts for place, counts in shown.items() if any(counts)}


def account_with(services: Services, owner: Engine, records: int, created_at: datetime = IN_JULY) -> UUID:
    """An account with traffic, by its creation due in July 2026."""
    account_id = make_account(services, created_at=created_at).row.account_id
    make_sessions(owner, account_id, make_device(services, account_id).row.device_id, records)
    return account_id


def hold(owner: Engine, account_id: UUID, scope: str = "account", until: datetime | None = None,
         released: datetime | None = None) -> None:  # fmt: skip
    """A hold as an authority's order makes it."""
    values = {"account": account_id, "hold": new_id(), "scope": scope, "now": NOW, "until": until, "released": released}
    with owner.begin() as connection:
        connection.execute(text(HELD.format(*PART[scope])), values)


@pytest.fixture(scope="module")
def elsewhere(stack: Stack) -> Iterator[Engine]:
    """A session whose time zone is not ours, and moves its clock: the day is one of UTC all the same."""
    engine = create_engine(
        stack.environment["CLOUDPRIV_MIGRATION_DATABASE_URL"], connect_args={"options": "-c TimeZone=Pacific/Auckland"}
    )
    yield engine
    engine.dispose()


@settings(deadline=None)  # a busy machine is no fault of the calendar
@given(rule=rules, anchors=st.lists(instants, min_size=1, max_size=40))
def test_the_database_and_the_policy_name_the_same_day(
    elsewhere: Engine, rule: tuple[Period, RoundTo | None], anchors: list[datetime]
) -> None:
    assert days_by_database(elsewhere, policy_with(*rule), anchors) == [
        due.purge_due_on(policy_with(*rule), anchor, None) for anchor in anchors
    ]


@pytest.mark.parametrize("period", ["P7Y", "P1Y", "P1M", "P6M", "P1Y1M1D", "P2W", "P45D", "PT24H"])
def test_they_agree_on_every_day_of_nine_years_at_its_edges(elsewhere: Engine, period: str) -> None:
    policy = policy_with(parse_period(period))
    midnights = [datetime(2019, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(9 * 366)]
    anchors = [each - edge for each in midnights for edge in (timedelta(), timedelta.resolution)]
    assert days_by_database(elsewhere, policy, anchors) == [due.purge_due_on(policy, each, None) for each in anchors]


def days_by_database(engine: Engine, policy: Policy, anchors: list[datetime]) -> list[date]:
    statement = f"""
        SELECT {forecast.day_of(due.rule(policy))} FROM (SELECT number, at AT TIME ZONE 'UTC' AS anchor
        FROM unnest(CAST(:anchors AS timestamptz[])) WITH ORDINALITY AS given (at, number)) AS clocks ORDER BY number
    """  # noqa: S608  made of our own expression
    with engine.connect() as connection:
        return list(connection.execute(text(statement), {"anchors": anchors}).scalars())


def test_accounts_and_records_fall_into_the_month_of_their_day(services: Services, owner_engine: Engine) -> None:
    account_with(services, owner_engine, 3)
    make_account(services, created_at=datetime(2019, 6, 29, 23, 59, tzinfo=UTC))  # due on the 30th
    make_account(services, created_at=datetime(2019, 6, 30, tzinfo=UTC))  # due on 1 July
    account_with(services, owner_engine, 2, IN_PRESENT)
    make_account(services, service="intesis", created_at=datetime(2020, 2, 29, tzinfo=UTC))  # due on 1 March 2027
    assert figures(read(services)) == {
        ("talk2m", PRESENT): (2, 2, 0, 0),
        ("talk2m", JULY): (2, 3, 0, 0),
        ("intesis", date(2027, 3, 1)): (1, 0, 0, 0),
    }


def test_traffic_moves_an_account_to_a_later_month(services: Services, owner_engine: Engine) -> None:
    account_with(services, owner_engine, 1)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET last_traffic_at = '2020-01-31T23:00:00Z'"))
    assert figures(read(services)) == {("talk2m", date(2027, 2, 1)): (1, 1, 0, 0)}


def test_the_month_is_one_of_utc_whatever_the_session_s_time_zone(services: Services) -> None:
    make_account(services, created_at=datetime(2019, 6, 29, 23, 59, tzinfo=UTC))  # due on the 30th
    with transaction(services) as tx:
        tx.connection.execute(text("SET LOCAL TimeZone = 'Pacific/Auckland'"))
        forecast.count(tx, POLICY)
    assert figures(read(services)) == {("talk2m", PRESENT): (1, 0, 0, 0)}


@pytest.mark.parametrize("day", [date(2026, 6, 1), date(2026, 11, 29), date(2026, 11, 30), date(2028, 2, 29)])
def test_whatever_was_active_until_now_is_counted_exactly_once(services: Services, day: date) -> None:
    now = datetime(day.year, day.month, day.day, 23, 59, tzinfo=UTC)
    expected: Counter[date] = Counter()
    for number in range(24):
        created = now - timedelta(days=number**2 * 7)
        make_account(services, created_at=created, now=now)
        expected[max(due.purge_due_on(POLICY, created, None).replace(day=1), day.replace(day=1))] += 1
    found = read(services, now=now)
    assert {month: counts[0] for (_, month), counts in figures(found).items()} == expected
    of_one = [row.month for row in found.months if row.service == "talk2m"]
    assert len(of_one) == len(set(of_one)) == (86 if (day + timedelta(days=1)).day == 1 else 85)


@pytest.mark.parametrize("scope", ["account", "person", "category"])
def test_a_hold_on_an_account_or_a_part_of_it_counts_it_as_held(
    services: Services, owner_engine: Engine, scope: str
) -> None:
    account_with(services, owner_engine, 5)
    held = account_with(services, owner_engine, 2)
    hold(owner_engine, held, scope)
    hold(owner_engine, held, "account", until=NOW)
    assert figures(read(services)) == {("talk2m", JULY): (2, 7, 1, 2)}


def test_a_restricted_account_is_held_and_one_that_goes_anyway_is_not_counted(
    services: Services, owner_engine: Engine
) -> None:
    by_status = {status: account_with(services, owner_engine, 1) for status in ("restricted", "closing", "purging")}
    with owner_engine.begin() as connection:
        for status, account_id in by_status.items():
            statement = text("UPDATE accounts SET status = :status WHERE account_id = :id")
            connection.execute(statement, {"status": status, "id": account_id})
    assert figures(read(services)) == {("talk2m", JULY): (1, 1, 1, 1)}


@pytest.mark.parametrize(
    ("created", "until", "released", "held"),
    [
        (IN_JULY, None, None, 1),
        (IN_JULY, None, NOW, 0),
        (IN_JULY, datetime(2026, 7, 11, tzinfo=UTC), None, 0),  # it ends as its day begins
        (IN_JULY, datetime(2026, 7, 11, 0, 0, 1, tzinfo=UTC), None, 1),
        (IN_PRESENT, NOW, None, 0),
        (IN_PRESENT, NOW + timedelta(seconds=1), None, 1),
    ],
)
def test_only_a_hold_that_outlasts_the_day_blocks(
    services: Services, owner_engine: Engine, created: datetime, until: datetime | None, released: datetime | None, held: int
) -> None:
    hold(owner_engine, make_account(services, created_at=created).row.account_id, until=until, released=released)
    [counts] = figures(read(services)).values()
    assert counts == (1, 0, held, 0)


def test_without_accounts_every_month_of_every_service_is_there_and_zero(services: Services) -> None:
    found = read(services)
    assert figures(found) == {}
    assert len(found.months) == 2 * 85
    assert {(row.month, row.service) for row in found.months if row.month in (PRESENT, LAST)} == {
        (month, service) for month in (PRESENT, LAST) for service in ("talk2m", "intesis")
    }
    assert (found.rule, found.counted_at) == ("P7Y after last_traffic", NOW)


def test_an_actor_sees_its_service_and_can_ask_for_one_and_for_fewer_months(services: Services) -> None:
    services_of: tuple[Service, ...] = ("talk2m", "intesis")
    for service in services_of:
        make_account(services, service=service, created_at=IN_JULY)
    assert list(figures(read(services, BACKEND))) == [("talk2m", JULY)]
    with transaction(services, BACKEND) as tx:
        assert forecast.read(tx, POLICY, service="intesis").months == []
    with transaction(services) as tx:
        two = forecast.read(tx, POLICY, months=2, service="intesis").months
        assert [(row.service, row.month, row.accounts) for row in two] == [("intesis", PRESENT, 0), ("intesis", JULY, 1)]


@pytest.mark.parametrize(
    ("later", "policy", "again"),
    [
        (timedelta(days=1), POLICY, False),
        (timedelta(days=1, seconds=1), POLICY, True),
        (timedelta(0), policy_with(parse_period("P6Y")), True),
    ],
)
def test_it_is_counted_anew_after_a_day_and_when_the_period_has_changed(
    services: Services, later: timedelta, policy: Policy, again: bool
) -> None:
    recount(services)
    make_account(services, created_at=IN_JULY)
    found = read(services, now=NOW + later, policy=policy)
    assert bool(figures(found)) == again
    assert found.counted_at == (NOW + later if again else NOW)


def test_it_is_counted_anew_when_a_month_begins(services: Services) -> None:
    recount(services, datetime(2026, 6, 30, 23, 59, tzinfo=UTC))
    midnight = datetime(2026, 7, 1, tzinfo=UTC)
    found = read(services, now=midnight)
    assert (found.counted_at, found.months[0].month) == (midnight, JULY)


def test_a_worker_and_the_api_may_count_and_the_last_one_replaces_the_rest(
    services: Services, worker_services: Services
) -> None:
    for number, counter in enumerate((worker_services, services, worker_services), 1):
        make_account(services, created_at=IN_JULY)
        recount(counter)
        assert figures(read(services)) == {("talk2m", JULY): (number, 0, 0, 0)}


def test_readers_do_not_wait_for_a_counter_and_counters_take_turns(services: Services, owner_engine: Engine) -> None:
    recount(services)
    make_account(services, created_at=IN_JULY)
    with transaction(services) as tx:
        forecast.count(tx, POLICY)
        assert figures(read(services)) == {}, "the former figures stand until the commit"
        waiting = Thread(target=recount, args=(services,))
        waiting.start()
        assert await_blocked(owner_engine, lambda: not waiting.is_alive())
    waiting.join()
    assert figures(read(services)) == {("talk2m", JULY): (1, 0, 0, 0)}


def test_a_rule_without_a_period_has_no_forecast() -> None:
    with pytest.raises(ValueError, match="no period"):
        forecast.day_of(POLICY.rule_for("cloud_log_data"))
