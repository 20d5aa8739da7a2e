"""Transactions: which faults of the database are worth another attempt."""

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.errors import BusyError
from tests import factories
from tests.stack import TestDatabase

BACKEND = text("SELECT pg_backend_pid()")
IS_THERE = text("SELECT count(*), pg_sleep(0.01) FROM pg_stat_activity WHERE pid = :pid")


def idle(services: Services, owner_engine: Engine) -> None:
    """A transaction that goes on after the database has ended its session for idling."""
    with services.controller.transaction(WORKER, services.clock()) as tx, owner_engine.connect() as other:
        pid = tx.connection.scalar(BACKEND)
        tx.connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '1ms'"))
        while other.execute(IS_THERE, {"pid": pid}).one()[0]:
            other.rollback()
        tx.connection.execute(BACKEND)


def test_what_idled_too_long_may_be_tried_again(worker_services: Services, owner_engine: Engine) -> None:
    with pytest.raises(BusyError):
        idle(worker_services, owner_engine)
    with worker_services.controller.transaction(WORKER, worker_services.clock()) as tx:
        assert tx.connection.scalar(BACKEND)


def test_a_restart_of_postgres_costs_one_request_not_one_for_each_connection(
    services: Services, database: TestDatabase
) -> None:
    account = factories.make_account(services).row.account_id
    held = [services.controller.engine.connect() for _ in range(3)]
    for connection in held:
        connection.close()
    other = database.engine("api")
    with other.connect() as killer:
        others = "usename = current_user AND datname = current_database() AND pid != pg_backend_pid()"
        ended = killer.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))  # noqa: S608  ours
        assert len(ended.all()) == 3
    other.dispose()
    with pytest.raises(BusyError), factories.transaction(services) as tx:
        accounts.read_account(tx, account)
    for _ in range(3):
        with factories.transaction(services) as tx:
            assert accounts.read_account(tx, account).row.account_id == account
