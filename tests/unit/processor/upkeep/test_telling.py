"""Log data's traffic is told by account and time alone: hardly more than hourly, never not at all, in the end exactly."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.clock import utc_now
from cloudpriv.platform.db import Plane, connect
from cloudpriv.platform.errors import BusyError
from cloudpriv.processor.upkeep import telling
from tests.factories import NOW
from tests.logdata import make_log_account
from tests.purges import Killed, Moments, die

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def tell(worker: ProcessorServices, now: datetime | Callable[[], datetime]) -> int:
    """Do what the schedule does."""
    assert worker.teller is not None
    clock = now if callable(now) else lambda: now
    return telling.tell(worker.plane, worker.teller, clock)


def put_point(owner: Engine, account_id: UUID, at: datetime) -> None:
    """Have the account's last point come then."""
    with owner.begin() as connection:
        statement = text("UPDATE log_accounts SET last_point_at = :at WHERE account_id = :id")
        connection.execute(statement, {"at": at, "id": account_id})


def told(owner: Engine) -> list[tuple[UUID, datetime]]:
    """What waits in the controller plane's box, in order of time."""
    with owner.connect() as connection:
        rows = connection.execute(text("SELECT account_id, at FROM log_data_traffic ORDER BY at, told_id"))
        return [(row.account_id, row.at) for row in rows]


def test_a_first_point_is_told_at_once_and_more_of_them_once_an_hour(
    processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine, owner_engine: Engine
) -> None:
    account_id = make_log_account(processor)
    assert tell(processor_worker, NOW) == 0, "it has no point"
    for minutes, number in ((0, 1), (1, 0), (59, 0), (60, 1), (61, 0)):
        put_point(processor_owner, account_id, NOW + minutes * MINUTE)
        assert tell(processor_worker, NOW + minutes * MINUTE) == number
    assert told(owner_engine) == [(account_id, NOW), (account_id, NOW + HOUR)]


def test_the_last_point_of_all_is_told_exactly(
    processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine, owner_engine: Engine
) -> None:
    account_id = make_log_account(processor)
    put_point(processor_owner, account_id, NOW)
    tell(processor_worker, NOW)
    put_point(processor_owner, account_id, NOW + MINUTE)
    for minutes, number in ((60, 0), (61, 1), (62, 0), (6000, 0)):
        assert tell(processor_worker, NOW + minutes * MINUTE) == number
    assert told(owner_engine) == [(account_id, NOW), (account_id, NOW + MINUTE)]


def test_a_clock_that_was_ahead_once_keeps_no_account_for_ever_and_nothing_from_being_told(
    processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine, owner_engine: Engine
) -> None:
    account_id, ahead = make_log_account(processor), utc_now() + timedelta(days=36500)
    put_point(processor_owner, account_id, ahead)
    with processor_owner.begin() as connection:
        connection.execute(text("UPDATE log_accounts SET told_at = :at"), {"at": ahead})
    assert tell(processor_worker, utc_now()) == 1
    [(_, now)] = told(owner_engine)
    assert timedelta(0) <= utc_now() - now < MINUTE
    assert tell(processor_worker, utc_now()) == 0


@pytest.mark.parametrize(("moment", "again"), [(3, 1), (4, 2)])
def test_a_schedule_that_stops_in_between_has_it_told_again(
    processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine, owner_engine: Engine,
    moment: int, again: int,
) -> None:  # fmt: skip
    account_id = make_log_account(processor)
    put_point(processor_owner, account_id, NOW)
    with pytest.raises(Killed):
        tell(processor_worker, Moments(moment, die))
    assert tell(processor_worker, NOW) == 1
    assert told(owner_engine) == [(account_id, NOW)] * again


def test_a_controller_plane_that_is_away_is_told_when_it_is_back(
    processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine, owner_engine: Engine
) -> None:
    account_id = make_log_account(processor)
    put_point(processor_owner, account_id, NOW)
    with pytest.raises(BusyError):
        tell(replace(processor_worker, teller=_nowhere(processor_worker)), NOW)
    assert (tell(processor_worker, NOW), told(owner_engine)) == (1, [(account_id, NOW)])


def _nowhere(worker: ProcessorServices) -> Plane:
    assert worker.teller is not None
    away = worker.teller.engine.url.update_query_dict({"host": "/nonexistent"})
    return replace(worker.teller, engine=connect(away.render_as_string(hide_password=False), pool_size=1))


def test_more_accounts_than_are_told_at_once_are_all_told(
    processor_worker: ProcessorServices, processor_owner: Engine, owner_engine: Engine
) -> None:
    many = telling.TOLD_AT_ONCE + 5
    with processor_owner.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO log_accounts (account_id, opened_at, head_seq, next_number, last_point_at) "
                "SELECT gen_random_uuid(), :at, 1, 1, :at FROM generate_series(1, :many)"
            ),
            {"at": NOW, "many": many},
        )
    assert (tell(processor_worker, NOW), tell(processor_worker, NOW)) == (many, 0)
    assert len({account_id for account_id, _ in told(owner_engine)}) == many


def test_an_account_that_is_being_erased_is_told_of_no_more(
    processor: ProcessorServices, processor_worker: ProcessorServices, processor_owner: Engine
) -> None:
    account_id = make_log_account(processor)
    put_point(processor_owner, account_id, NOW)
    with processor_owner.begin() as connection:
        connection.execute(text("UPDATE log_accounts SET erasing_at = now()"))
    assert tell(processor_worker, NOW) == 0
