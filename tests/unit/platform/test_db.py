"""Transactions: which faults of the database are worth another attempt."""

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.errors import BusyError

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
