"""Several schedules: every slot is done once, whoever dies, is down, or loses Redis meanwhile."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, create_engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform.db import Plane
from cloudpriv.retention.duties import DAILY, LEASE, OFTEN
from tests.purges import Killed
from tests.stack import TestDatabase
from workers.duties import Duty
from workers.schedule import Schedule

START = datetime(2026, 6, 1, 1, 0, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


@dataclass
class Office:
    """Schedules with engines of their own that share a clock, which is moved by hand, and one list of what was done."""

    database: TestDatabase
    now: datetime = START
    done: list[tuple[str, datetime]] = field(default_factory=list)
    interrupt: Callable[[], None] = lambda: None

    def services(self) -> Services:
        """Services of one more schedule."""
        built = self.database.services("worker")
        return replace(built, clock=lambda: self.now)

    def schedule(self) -> Schedule:
        """A schedule of two duties."""
        duties = (Duty("daily", self._do("daily"), DAILY), Duty("often", self._do("often"), OFTEN))
        return Schedule(lambda _: duties)

    def _do(self, name: str) -> Callable[[Services], None]:
        def do(_: Services) -> None:
            self.interrupt()
            self.done.append((name, self.now))

        return do

    def times(self, name: str) -> list[datetime]:
        """When a duty was done."""
        return [at for done, at in self.done if done == name]


@pytest.fixture
def office(database: TestDatabase) -> Office:
    return Office(database)


@pytest.fixture
def pair(office: Office) -> Iterator[list[tuple[Schedule, Services]]]:
    """Two schedules, each as in a process of its own."""
    made = [(office.schedule(), office.services()) for _ in range(2)]
    yield made
    for _, services in made:
        services.controller.engine.dispose()


def at_once(pair: list[tuple[Schedule, Services]]) -> None:
    """A round of each, side by side."""
    threads = [threading.Thread(target=schedule.round, args=(services,)) for schedule, services in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_schedules_do_each_slot_of_a_month_once(office: Office, pair: list[tuple[Schedule, Services]]) -> None:
    for _ in range(30 * 12):
        at_once(pair)
        office.now += 2 * HOUR
    slots = Counter(DAILY.latest(at) for at in office.times("daily"))
    assert sorted(slots) == [DAILY.latest(START) + number * DAY for number in range(31)]
    assert set(slots.values()) == {1}
    assert set(Counter(OFTEN.latest(at) for at in office.times("often")).values()) == {1}
    assert len(office.times("often")) == 30 * 12


def test_a_schedule_that_dies_in_a_duty_is_followed_by_another(
    office: Office, pair: list[tuple[Schedule, Services]]
) -> None:
    def die() -> None:
        raise Killed

    (first, its), (second, others) = pair
    office.interrupt = die
    with pytest.raises(Killed):
        first.round(its)
    office.interrupt = lambda: None
    second.round(others)
    assert office.times("daily") == []
    office.now += LEASE
    second.round(others)
    assert office.times("daily") == [START + LEASE]
    assert len(office.times("often")) == 1


def test_a_duty_that_takes_longer_than_a_lease_is_not_begun_twice(
    office: Office, pair: list[tuple[Schedule, Services]], owner_engine: Engine
) -> None:
    (first, its), (second, others) = pair

    def take_long() -> None:
        office.interrupt = lambda: None
        with owner_engine.begin() as connection:  # as a renewal does
            connection.execute(text("UPDATE duties SET lease_until = :at"), {"at": office.now + 2 * LEASE})
        office.now += LEASE
        second.round(others)

    office.interrupt = take_long
    first.round(its)
    assert office.times("daily") == [START + LEASE]


def test_what_was_missed_in_three_days_is_made_up_for_once(office: Office, pair: list[tuple[Schedule, Services]]) -> None:
    at_once(pair)
    office.now += 3 * DAY
    restarted = [(office.schedule(), services) for _, services in pair]
    for _ in range(5):
        at_once(restarted)
        office.now += MINUTE
    assert office.times("daily") == [START, START + 3 * DAY]
    assert office.times("often") == [START, START + 3 * DAY]


def test_a_clock_that_is_put_back_repeats_nothing_and_starves_nothing(
    office: Office, pair: list[tuple[Schedule, Services]]
) -> None:
    office.now += 400 * DAY
    at_once(pair)
    office.now = START
    for _ in range(3 * 24):
        at_once(pair)
        office.now += HOUR
    assert office.times("daily") == [START + 400 * DAY, *(START + HOUR + number * DAY for number in range(3))]


def test_a_duty_that_meets_a_server_away_is_done_in_the_next_round(
    office: Office, pair: list[tuple[Schedule, Services]]
) -> None:
    (schedule, services), (other, others) = pair

    def fail() -> None:
        office.interrupt = lambda: None
        raise OSError

    office.interrupt = fail
    schedule.round(services)
    assert office.times("daily") == []
    other.round(others)
    assert office.times("daily") == [START]


def test_a_database_that_is_away_is_tried_again_next_round(office: Office, pair: list[tuple[Schedule, Services]]) -> None:
    (schedule, services), _ = pair
    nowhere = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    schedule.round(replace(services, controller=replace(services.controller, engine=nowhere)))
    nowhere.dispose()
    assert office.done == []
    schedule.round(services)
    assert office.times("daily") == [START]


def test_redis_may_be_emptied_between_any_two_steps(database: TestDatabase) -> None:
    services = database.services("worker")
    woken = []

    def forget(job: str, subject: object) -> None:
        services.redis.flushall()
        woken.append(job)

    def clock() -> datetime:
        services.redis.flushall()
        return START

    plane = Plane(services.controller.engine, services.controller.keys, forget)
    schedule = Schedule()
    schedule.round(replace(services, controller=plane, clock=clock))
    with services.controller.engine.connect() as connection:
        undone = connection.execute(text("SELECT name FROM duties WHERE done_at IS NULL")).all()
        done = connection.execute(text("SELECT count(*) FROM duties")).scalar_one()
    assert (undone, done > 8) == ([], True)
    assert services.eraser is not None
    for each in (services.controller, services.eraser):
        each.engine.dispose()
