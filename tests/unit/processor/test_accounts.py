"""Accounts of the processor plane: made when first used, and never again once erased."""

from datetime import timedelta
from threading import Thread
from uuid import UUID

import pytest
from sqlalchemy import update

from cloudpriv.bootstrap import ProcessorServices
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.clock import utc_now
from cloudpriv.platform.errors import BusyError, GoneError, NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.processor import accounts
from cloudpriv.processor.tables import LogAccount, LogErased
from tests.factories import NOW

MINUTE = timedelta(minutes=1)


def open_account(services: ProcessorServices, account_id: UUID) -> None:
    """Open it as its owner does."""
    with services.plane.transaction(WORKER, NOW) as tx:
        accounts.open_account(tx, account_id)


def mark(services: ProcessorServices, account_id: UUID, **marks: object) -> None:
    """Set columns of the account's row."""
    with services.plane.transaction(WORKER, NOW) as tx:
        tx.session.execute(update(LogAccount).where(LogAccount.account_id == account_id).values(**marks))


def test_an_account_has_one_data_key_however_often_it_is_opened(processor: ProcessorServices) -> None:
    account_id = new_id()
    open_account(processor, account_id)
    with processor.plane.transaction(WORKER, NOW) as tx:
        sealed = accounts.open_account(tx, account_id).key.seal_object("a", b"b")
        assert accounts.find_account(tx, account_id).key.open_object("a", sealed) == b"b"


def test_two_who_open_it_at_once_open_the_same(processor: ProcessorServices) -> None:
    account_id = new_id()
    threads = [Thread(target=open_account, args=(processor, account_id)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with processor.plane.transaction(WORKER, NOW) as tx:
        assert accounts.find_account(tx, account_id).row.head_seq == 0


def test_what_was_erased_is_not_opened_again(processor: ProcessorServices, processor_worker: ProcessorServices) -> None:
    account_id = new_id()
    with processor_worker.plane.transaction(WORKER, NOW) as tx:
        tx.session.add(LogErased(account_hash=accounts.hash_of(account_id), ordered_at=NOW, counts={}))
    with pytest.raises(GoneError):
        open_account(processor, account_id)


def test_an_account_that_may_be_about_to_go_takes_nothing_and_shows_what_it_has(processor: ProcessorServices) -> None:
    account_id = new_id()
    open_account(processor, account_id)
    mark(processor, account_id, closing_until=utc_now() + 5 * MINUTE)
    with processor.plane.transaction(WORKER, utc_now() + 60 * MINUTE) as tx:
        accounts.find_account(tx, account_id)
        with pytest.raises(BusyError):
            accounts.lock_account(tx, account_id)
    mark(processor, account_id, closing_until=utc_now())
    with processor.plane.transaction(WORKER, NOW) as tx:
        accounts.lock_account(tx, account_id)


def test_an_account_that_is_being_erased_is_not_found(processor: ProcessorServices) -> None:
    account_id = new_id()
    open_account(processor, account_id)
    mark(processor, account_id, erasing_at=NOW)
    with processor.plane.transaction(WORKER, NOW) as tx:
        for find in (accounts.find_account, accounts.lock_account):
            with pytest.raises(NotFoundError):
                find(tx, account_id)
