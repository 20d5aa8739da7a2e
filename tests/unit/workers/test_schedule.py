"""The schedule: what is unfinished is woken, what is over is erased, and nothing begins by itself unless it may."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Event
from uuid import UUID

import pytest
from sqlalchemy import Engine, create_engine, select, text
from structlog.testing import capture_logs

from cloudpriv.bootstrap import Services
from cloudpriv.controller import outbox
from cloudpriv.platform.db import Plane
from cloudpriv.platform.errors import RestoredError
from cloudpriv.platform.jobs import queue
from cloudpriv.platform.keys import KeyFault
from cloudpriv.retention import ledger
from cloudpriv.retention.duties import DAILY
from cloudpriv.retention.lease import LEASE
from cloudpriv.retention.ledger import Entry
from cloudpriv.retention.tables import Notice, Purge
from tests.exports import ask, stored
from tests.exports import run as run_export
from tests.factories import NOW, make_account, make_person, transaction
from tests.proofs import change
from tests.purges import LONG_AGO, close, let_traffic_come, tell_owners
from workers import duties, schedule, sweep
from workers.duties import Duty
from workers.schedule import Schedule
from workers.sweep import REWAKE

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


@dataclass
class Workplace:
    """A worker's services with a clock that is set by hand, and the jobs that were woken."""

    services: Services
    now: datetime = NOW
    woken: list[tuple[str, UUID]] = field(default_factory=list)

    def __post_init__(self) -> None:
        plane = self.services.controller
        recorded = Plane(plane.engine, plane.keys, lambda job, subject: self.woken.append((job, subject)))
        self.services = replace(self.services, controller=recorded, clock=lambda: self.now)


@pytest.fixture
def workplace(worker_services: Services) -> Workplace:
    return Workplace(worker_services)


def test_unfinished_work_is_woken_once_it_has_waited_long_enough(services: Services, workplace: Workplace) -> None:
    purge_id = close(services, make_account(services).row.account_id)
    export_id = ask(services, make_account(services).row.account_id)
    kept = Schedule()
    kept.round(workplace.services)
    assert workplace.woken == [("export", export_id)], "the purge's own wake-up has half a minute to arrive"
    workplace.now = NOW + LEASE
    kept.round(workplace.services)
    assert workplace.woken[1:] == [("purge", purge_id), ("export", export_id)]
    workplace.now += REWAKE - SECOND
    kept.round(workplace.services)
    assert len(workplace.woken) == 3, "not again so soon"
    workplace.now += SECOND
    kept.round(workplace.services)
    assert len(workplace.woken) == 5


def test_work_that_somebody_holds_is_left_alone_until_the_lease_is_over(
    services: Services, workplace: Workplace, owner_engine: Engine
) -> None:
    purge_id = close(services, make_account(services).row.account_id)
    with owner_engine.begin() as connection:
        statement = text("UPDATE purges SET status = 'running', lease_owner = gen_random_uuid(), lease_until = :until")
        connection.execute(statement, {"until": NOW + LEASE})
    kept = Schedule()
    workplace.now = NOW + LEASE - SECOND
    kept.round(workplace.services)
    assert workplace.woken == []
    workplace.now = NOW + LEASE
    kept.round(workplace.services)
    assert workplace.woken == [("purge", purge_id)]


def test_a_clock_that_is_put_back_delays_no_work(services: Services, workplace: Workplace) -> None:
    export_id = ask(services, make_account(services).row.account_id)
    kept = Schedule()
    workplace.now = NOW + timedelta(days=365)
    kept.round(workplace.services)
    workplace.now = NOW
    kept.round(workplace.services)
    assert workplace.woken[:2] == [("export", export_id)] * 2


def test_a_queue_that_nobody_works_on_does_not_grow_for_ever(services: Services, workplace: Workplace) -> None:
    ask(services, make_account(services).row.account_id)
    redis = workplace.services.redis
    redis.rpush(queue(redis).key, *["waiting"] * (sweep.ENOUGH - 1 - queue(redis).count))
    Schedule().round(workplace.services)
    assert len(workplace.woken) == 1
    redis.rpush(queue(redis).key, "one more")
    Schedule().round(workplace.services)
    assert len(workplace.woken) == 1


def test_a_mail_is_woken_when_its_time_has_come(services: Services, workplace: Workplace) -> None:
    with transaction(services) as tx:
        mail_id = outbox.queue_mail(tx, "hint", None, None)
    Schedule().round(workplace.services)
    assert workplace.woken == [("mail", mail_id)]


def test_nothing_that_is_due_is_planned_unless_the_settings_say_so(
    services: Services, workplace: Workplace, owner_engine: Engine
) -> None:
    due = make_account(services, created_at=LONG_AGO).row.account_id
    let_traffic_come(owner_engine, NOW + DAY)
    tell_owners(owner_engine, services.policy, NOW)
    kept = Schedule()
    kept.round(workplace.services)
    assert plan_count(services) == 0
    allowed = replace(workplace.services, settings=replace(workplace.services.settings, purge_automatically=True))
    kept.round(allowed)
    assert plan_count(services) == 0, "it was done for today"
    workplace.now += DAY
    kept.round(allowed)
    Schedule().round(allowed)
    assert plan_count(services) == 1, "two schedules plan once"
    with transaction(services) as tx:
        assert tx.session.scalars(select(Purge.account_id)).all() == [due]


def plan_count(services: Services) -> int:
    with transaction(services) as tx:
        return int(tx.session.execute(text("SELECT count(*) FROM purges")).scalar_one())


def test_what_is_over_is_erased(services: Services, workplace: Workplace) -> None:
    account_id = make_account(services).row.account_id
    run_export(services, ask(services, account_id))
    kept = Schedule()
    kept.round(workplace.services)
    assert len(stored(services, account_id)) == 1
    workplace.now += 8 * DAY
    kept.round(workplace.services)
    assert stored(services, account_id) == []


@pytest.fixture
def away(workplace: Workplace) -> Iterator[Services]:
    """Services whose database does not answer."""
    nowhere = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    yield replace(workplace.services, controller=replace(workplace.services.controller, engine=nowhere))
    nowhere.dispose()


def test_a_database_that_is_away_is_tried_again_next_round(services: Services, workplace: Workplace, away: Services) -> None:
    export_id = ask(services, make_account(services).row.account_id)
    kept = Schedule()
    kept.round(away)
    assert workplace.woken == []
    kept.round(workplace.services)
    assert workplace.woken == [("export", export_id)]


def test_a_stopped_schedule_does_nothing_more(services: Services, workplace: Workplace) -> None:
    ask(services, make_account(services).row.account_id)
    stopped = Event()
    stopped.set()
    schedule.run(workplace.services, stopped)
    assert workplace.woken == []


def test_a_schedule_whose_clock_is_ahead_tells_no_owner(services: Services, worker_services: Services) -> None:
    now = worker_services.clock()
    make_person(services, make_account(services, created_at=now - timedelta(days=7 * 366)).row.account_id)
    ahead = replace(worker_services, clock=lambda: now + timedelta(minutes=2))
    duties.give_notices(ahead)
    with transaction(services) as tx:
        assert tx.session.query(Notice).count() == 0
    duties.give_notices(worker_services)
    with transaction(services) as tx:
        assert tx.session.query(Notice).count() == 1


def test_one_account_whose_key_does_not_open_does_not_end_the_schedule(
    services: Services, workplace: Workplace, owner_engine: Engine
) -> None:
    for _ in range(2):
        account_id = make_account(services, created_at=LONG_AGO).row.account_id
        make_person(services, account_id)
    change(owner_engine, "UPDATE account_keys SET wrapped = '\\x00' WHERE account_id = :a", a=account_id)
    Schedule().round(workplace.services)
    with transaction(services) as tx:
        assert tx.session.execute(text("SELECT count(*) FROM notices")).scalar_one() == 1


def test_a_duty_that_fails_is_reported_and_the_others_go_on(workplace: Workplace) -> None:
    done = []

    def fail(_: Services) -> None:
        raise KeyFault("it names an account")

    listed = (Duty("first", fail), Duty("second", fail, DAILY), Duty("third", lambda _: done.append("third")))
    kept = Schedule(lambda _: listed)
    with capture_logs() as told:
        kept.round(workplace.services)
        kept.round(workplace.services)
    assert done == ["third", "third"]
    assert [line["duty"] for line in told] == ["first", "second"] * 2, "each is tried again"
    assert {(line["event"], line["fault"]) for line in told} == {("duty_failed", "KeyFault")}, "by its type alone"


def test_a_schedule_ends_when_the_database_is_restored_beneath_it(services: Services, workplace: Workplace) -> None:
    ask(services, make_account(services).row.account_id)
    ledger.store(services.ledger, Entry(bytes(32), "talk2m", "request", "r", "v", {}, NOW))
    with pytest.raises(RestoredError, match="older than the erasure ledger"):
        schedule.run(workplace.services)
    assert workplace.woken == []


def test_a_lease_is_renewed_after_any_fault_which_is_told_by_class_and_place_alone(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "RENEWAL_SECONDS", 0)
    tries, again = [], Event()

    def renew(*_: object) -> bool:
        tries.append(1)
        if len(tries) == 1:
            raise KeyFault("it names an account")
        again.set()
        return True

    monkeypatch.setattr("workers.schedule.duties.renew", renew)
    with capture_logs() as told:
        Schedule(lambda _: [Duty("long", lambda _: again.wait(60), DAILY)]).round(workplace.services)
    assert again.is_set(), "the next turn comes all the same"
    [line] = [each for each in told if each["event"] == "lease_not_renewed"]
    assert (line["log_level"], line["duty"], line["fault"]) == ("error", "long", "KeyFault")
    assert "names" not in str(line)
    assert line["place"].startswith("workers.schedule:")
