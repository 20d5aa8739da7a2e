"""Nothing starts or goes on while the database knows less than the ledger's bucket, or the bucket less than the database."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from cloudpriv.audit import checkpoints
from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import OPERATOR
from cloudpriv.platform.errors import NotFoundError, RestoredError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.watch import OFTEN
from cloudpriv.retention import erase, ledger, replay, restored
from cloudpriv.retention.ledger import Entry
from cloudpriv.retention.restored import Watch
from tests.factories import NOW
from tests.proofs import BASE, advance, make_events
from tests.purges import close, make_full_account, run


def require_replayed(services: Services) -> None:
    restored.require_replayed(services.controller, services.ledger, services.clock)


def replay_all(services: Services) -> None:
    options = (services.controller, services.stores, services.policy, services.clock)
    replay.carry_out(*options, actor=OPERATOR, origin_base=BASE)


def erase_elsewhere(services: Services) -> Entry:
    """Have the bucket tell of an erasure that the database lacks."""
    entry = Entry(erase.hash_of(new_id()), "talk2m", "request", "r", "v", {}, NOW)
    ledger.store(services.ledger, entry)
    return entry


def test_a_new_installation_may_start(services: Services) -> None:
    require_replayed(services)


def test_an_emptied_bucket_is_no_sign_of_health_until_it_is_written_again(
    services: Services, worker_services: Services
) -> None:
    for _ in range(2):
        run(worker_services, close(services, make_full_account(services)))
        advance(worker_services)
    require_replayed(services)
    assert len(list(services.ledger.keys("certificates/"))) == 2
    before = {
        key: services.ledger.get(key)
        for prefix in ("certificates/", "ledger/", "log/")
        for key in services.ledger.keys(prefix)
    }
    worker_services.ledger.delete_below("")
    with pytest.raises(RestoredError, match="lacks what the database knows"):
        require_replayed(services)
    assert replay.look(services.controller, services.ledger, services.clock).unwritten == len(before) - 1
    replay_all(worker_services)
    assert {key: services.ledger.get(key) for key in before} == before
    require_replayed(services)


def test_a_checkpoint_that_the_bucket_lost_is_put_back(worker_services: Services) -> None:
    for _ in range(3):
        make_events(worker_services, 1)
        advance(worker_services)
    sizes = list(checkpoints.sizes_in_bucket(worker_services.ledger, 1, 0))
    for lost in (sizes[0], sizes[2]):
        worker_services.ledger.delete_below(checkpoints.checkpoint_key(1, lost))
    with pytest.raises(RestoredError, match="lacks"):
        require_replayed(worker_services)
    replay_all(worker_services)
    assert list(checkpoints.sizes_in_bucket(worker_services.ledger, 1, 0)) == sizes
    require_replayed(worker_services)


def test_an_absent_bucket_is_no_restored_database(services: Services, worker_services: Services) -> None:
    make_events(worker_services, 1)
    advance(worker_services)
    with pytest.raises(NotFoundError):
        require_replayed(replace(services, ledger=services.ledger.of_bucket("not-there")))


class Office:
    """A process that watches: what it looks with, and a clock that is set by hand."""

    def __init__(self, services: Services) -> None:
        self.services, self.now, self.watch = services, NOW, Watch()

    def clock(self) -> datetime:
        return self.now

    def goes_on(self) -> bool:
        """Whether what the process does may go on."""
        try:
            self.watch.require_replayed(self.services.controller, self.services.ledger, self.clock)
        except RestoredError:
            return False
        return True


@pytest.fixture
def office(worker_services: Services) -> Office:
    return Office(worker_services)


def test_a_restore_beneath_a_running_process_is_found_within_a_minute(office: Office) -> None:
    assert office.goes_on()
    erase_elsewhere(office.services)
    office.now += OFTEN - timedelta.resolution
    assert office.goes_on(), "it looks no more often"
    office.now += timedelta.resolution
    assert [office.goes_on(), office.goes_on()] == [False, False]
    replay_all(office.services)
    office.now += OFTEN
    assert office.goes_on()


def test_a_clock_that_is_put_back_blinds_nobody(office: Office) -> None:
    office.now += timedelta(days=365)
    assert office.goes_on()
    erase_elsewhere(office.services)
    office.now = NOW
    assert not office.goes_on()


def test_what_was_found_counts_also_while_the_store_is_away(office: Office) -> None:
    erase_elsewhere(office.services)
    assert not office.goes_on()
    there, away = office.services, replace(office.services, ledger=office.services.ledger.of_bucket("not-there"))
    office.services = away
    office.now += OFTEN
    assert not office.goes_on()
    office.services = there
    replay_all(there)
    office.now += OFTEN
    assert office.goes_on()
    office.services = away
    office.now += OFTEN
    assert office.goes_on(), "what runs goes on: it had looked before"
