"""What is told of log data's traffic moves the clock of its account on, never back, never ahead of now, and is audited."""

from datetime import datetime, timedelta
from threading import Thread
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text

from cloudpriv.audit.events import AuditEvent
from cloudpriv.bootstrap import Services
from cloudpriv.controller import log_data
from cloudpriv.controller.tables import Account
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.ids import new_id
from tests.factories import NOW, make_account, transaction
from tests.purges import LONG_AGO, await_blocked, hear_of_log_data

DAY = timedelta(days=1)


def tell(owner: Engine, account_id: UUID, *at: datetime) -> None:
    """Have it told that there was traffic at these times."""
    with owner.begin() as connection:
        for each in at:
            hear_of_log_data(connection, account_id, each)


def take_in(services: Services, limit: int = 500) -> int:
    with transaction(services, WORKER) as tx:
        return log_data.take_in(tx, limit)


def clock_of(services: Services, account_id: UUID) -> datetime | None:
    with transaction(services) as tx:
        return tx.session.get_one(Account, account_id).last_traffic_at


def told_of(services: Services) -> list[UUID | None]:
    """The accounts of the audit events that tell of it."""
    with transaction(services) as tx:
        return list(tx.session.scalars(select(AuditEvent.account_id).where(AuditEvent.action == "logdata.traffic")))


def waiting(owner: Engine) -> int:
    with owner.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM log_data_traffic")).scalar_one())


def test_the_latest_of_what_is_told_counts_and_is_taken_out_of_the_box(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    tell(owner_engine, account_id, NOW - DAY, NOW, NOW - 2 * DAY)
    assert take_in(worker_services) == 1
    assert (clock_of(services, account_id), told_of(services), waiting(owner_engine)) == (NOW, [account_id], 0)
    assert take_in(worker_services) == 0


def test_a_clock_never_goes_back(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    for at in (NOW, NOW - DAY, NOW):
        tell(owner_engine, account_id, at)
        take_in(worker_services)
    assert (clock_of(services, account_id), told_of(services)) == (NOW, [account_id])


def test_a_clock_never_goes_ahead_of_now(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    tell(owner_engine, account_id, NOW + 3000 * DAY)
    take_in(worker_services)
    assert clock_of(services, account_id) == NOW + timedelta(minutes=5)


@pytest.mark.parametrize("status", ["purging", "gone"])
def test_what_is_told_of_an_account_that_goes_or_is_gone_is_dropped(
    services: Services, worker_services: Services, owner_engine: Engine, status: str
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'purging'"))
    tell(owner_engine, account_id if status == "purging" else new_id(), NOW)
    take_in(worker_services)
    assert (clock_of(services, account_id), told_of(services), waiting(owner_engine)) == (None, [], 0)


def test_more_than_is_taken_in_at_once_waits(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    made = [make_account(services, created_at=LONG_AGO).row.account_id for _ in range(3)]
    for account_id in made:
        tell(owner_engine, account_id, NOW, NOW - DAY)
    assert [take_in(worker_services, 2), waiting(owner_engine), take_in(worker_services, 2)] == [2, 2, 1]
    assert {clock_of(services, account_id) for account_id in made} == {NOW}


def test_it_waits_for_whoever_has_locked_the_account(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    tell(owner_engine, account_id, NOW)
    with owner_engine.begin() as erasure:
        erasure.execute(text("UPDATE accounts SET status = 'purging'"))
        taking = Thread(target=take_in, args=(worker_services,))
        taking.start()
        assert await_blocked(owner_engine, lambda: not taking.is_alive()), "it did not wait"
    taking.join()
    assert (clock_of(services, account_id), waiting(owner_engine)) == (None, 0)
