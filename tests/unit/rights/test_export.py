"""Exports from request to archive: whatever fails, wherever a worker stops, whoever else works on it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform import objectstore
from cloudpriv.platform.errors import BusyError
from cloudpriv.platform.keys import KeyFault
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.rights import export, leases, requests
from cloudpriv.rights.leases import ATTEMPTS, LEASE, LeaseLostError
from cloudpriv.rights.tables import Export
from tests.exports import IDENTIFIED, ask, begin_purge, open_archive, run, stored
from tests.factories import NOW, make_account, make_device, make_person, transaction
from tests.purges import renews_a_lease

SECOND = timedelta(seconds=1)


def state(services: Services, export_id: UUID) -> Export:
    with transaction(services) as tx:
        return requests.read_export(tx, export_id)


def unfinished(services: Services, now: datetime = NOW) -> list[UUID]:
    with transaction(services, now=now) as tx:
        return export.unfinished(tx)


def moment(now: datetime) -> datetime:
    return now


class Moments:
    """A clock that does something when it is read for the n-th time: between two steps of a worker.

    What renews the lease beside the work reads it as often as the work is slow, which does not count.
    """

    def __init__(self, number: int, happens: Callable[[], object]) -> None:
        self.number, self.happens, self.read = number, happens, 0

    def __call__(self) -> datetime:
        if not renews_a_lease():
            self.read += 1
            if self.read == self.number:
                self.happens()
        return NOW + timedelta(milliseconds=self.read)


# A worker reads the clock when it claims, opens its snapshot, begins the upload, ends the upload, and marks the row.
MOMENTS = range(1, 6)


def run_with(services: Services, export_id: UUID, clock: Callable[[], datetime]) -> None:
    export.run(services.controller, services.exports, services.policy, export_id, clock, key=services.require_proof_key())


def closed_store(services: Services) -> ObjectStore:
    """The object store with keys that it refuses."""
    settings = services.settings
    return objectstore.connect(
        settings.s3_export_bucket,
        region=settings.s3_region,
        endpoint=settings.s3_endpoint,
        access_key_id="somebody-else-here",
        secret_access_key="some-other-secret-key",
    )


def test_an_export_becomes_ready_and_completes_its_request(worker_services: Services, services: Services) -> None:
    account_id = make_account(services).row.account_id
    with transaction(services) as tx:
        known = requests.receive(tx, services.policy, account_id, "access", identity=IDENTIFIED)
    run(worker_services, known.answer.export_id, NOW + SECOND)
    with transaction(services) as tx:
        request = requests.read_request(tx, known.row.request_id)
        key = requests.open_archive(tx, known.answer.export_id)
    content = b"".join(services.exports.get_stream(key)[1])
    ready = request.answer
    assert (ready.status, ready.size, ready.sha256) == ("ready", len(content), sha256(content).hexdigest())
    assert (ready.ready_at, ready.expires_at) == (NOW + SECOND, datetime(2026, 6, 9, tzinfo=UTC))
    assert (ready.lease_owner, ready.lease_until, ready.attempts) == (None, None, 1)
    assert (request.row.status, request.row.completed_at, request.row.version) == ("completed", NOW + SECOND, 2)
    assert stored(services, account_id) == [key]


def test_an_export_that_is_run_again_stays_as_it_is(services: Services) -> None:
    account_id = make_account(services).row.account_id
    export_id = ask(services, account_id)
    run(services, export_id)
    before = state(services, export_id).sha256, stored(services, account_id)
    run(services, export_id, NOW + timedelta(minutes=1))
    assert (state(services, export_id).sha256, stored(services, account_id)) == before


def test_an_export_that_does_not_exist_is_nothing_to_do(services: Services) -> None:
    run(services, UUID(int=1))


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_purge_that_begins_at_any_moment_leaves_no_archive(services: Services, owner_engine: Engine, moment: int) -> None:
    account_id = make_account(services).row.account_id
    export_id = ask(services, account_id)
    clock = Moments(moment, lambda: begin_purge(owner_engine, account_id))
    run_with(services, export_id, clock)
    assert clock.read >= moment
    assert stored(services, account_id) == []
    assert state(services, export_id).status != "ready"
    assert unfinished(services, NOW + LEASE * 2) == []


def test_a_worker_that_was_overtaken_at_any_moment_changes_nothing(services: Services) -> None:
    for number in MOMENTS[1:]:
        account_id = make_account(services).row.account_id
        export_id = ask(services, account_id)
        clock = Moments(number, partial(run, services, export_id, NOW + LEASE + SECOND))
        run_with(services, export_id, clock)
        assert clock.read >= number
        ready = state(services, export_id)
        assert (ready.status, ready.attempts, ready.ready_at) == ("ready", 2, NOW + LEASE + SECOND), number
        assert stored(services, account_id) == [ready.object_key], number
        assert open_archive(services, export_id).testzip() is None, number


def test_the_mark_of_a_purge_alone_ends_the_lease(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    export_id, waiting = ask(services, account_id), ask(services, account_id)
    lease = leases.claim(services.controller, export_id, lambda: NOW)
    assert lease is not None
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'purging'"))
    with pytest.raises(LeaseLostError):
        lease.confirm()
    assert leases.claim(services.controller, waiting, lambda: NOW) is None


class Stopped(BaseException):
    """As SIGTERM ends a worker: nothing of the attempt's own error handling runs."""


def stop() -> None:
    raise Stopped


def test_a_worker_stopped_at_any_moment_is_followed_by_another(services: Services) -> None:
    later = NOW + LEASE + SECOND
    for number in MOMENTS:
        account_id = make_account(services).row.account_id
        export_id = ask(services, account_id)
        with pytest.raises(Stopped):
            run_with(services, export_id, Moments(number, stop))
        assert unfinished(services, later) == [export_id], number
        run(services, export_id, later)
        ready = state(services, export_id)
        assert ready.status == "ready", number
        assert stored(services, account_id) == [ready.object_key], number


def test_no_two_workers_hold_one_export(services: Services) -> None:
    export_id = ask(services, make_account(services).row.account_id)
    first = leases.claim(services.controller, export_id, lambda: NOW)
    assert first is not None
    assert leases.claim(services.controller, export_id, lambda: NOW + LEASE - SECOND) is None
    second = leases.claim(services.controller, export_id, lambda: NOW + LEASE)
    assert second is not None
    second.confirm()
    with pytest.raises(LeaseLostError):
        first.confirm()


def test_a_renewed_lease_holds_longer_and_tells_how_far_the_work_is(services: Services) -> None:
    export_id = ask(services, make_account(services).row.account_id)
    times = iter([NOW, NOW + LEASE / 2])
    lease = leases.claim(services.controller, export_id, lambda: next(times))
    assert lease is not None
    lease.written, lease.expected = 4711, 300
    lease.wrote(100)
    lease.confirm()
    assert (state(services, export_id).size, state(services, export_id).progress) == (4711, 33)
    assert leases.claim(services.controller, export_id, lambda: NOW + LEASE) is None


def test_an_attempt_that_fails_is_repeated_and_after_five_the_export_has_failed(
    services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services).row.account_id
    make_person(services, account_id)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE people SET identity = sha512(identity)"))
    export_id, now = ask(services, account_id), NOW
    for attempt in range(1, ATTEMPTS + 1):
        assert (state(services, export_id).status, unfinished(services, now)) == ("pending", [export_id])
        with pytest.raises(KeyFault):
            run(services, export_id, now)
        run(services, export_id, now)  # at once: put off
        assert state(services, export_id).attempts == attempt
        assert unfinished(services, now) == []
        now += timedelta(minutes=15)
    failed = state(services, export_id)
    assert (failed.status, failed.failure) == ("failed", "internal")
    assert (unfinished(services, now), stored(services, account_id)) == ([], [])


def test_an_export_whose_workers_keep_dying_has_failed(services: Services) -> None:
    export_id, now = ask(services, make_account(services).row.account_id), NOW
    for _ in range(ATTEMPTS):
        assert leases.claim(services.controller, export_id, partial(moment, now)) is not None
        now += LEASE
    run(services, export_id, now)
    failed = state(services, export_id)
    assert (failed.status, failed.failure) == ("failed", "interrupted")


def test_an_object_store_that_is_away_does_not_use_up_the_attempts(services: Services) -> None:
    account_id = make_account(services).row.account_id
    export_id, now = ask(services, account_id), NOW
    for _ in range(ATTEMPTS + 1):
        key = services.require_proof_key()
        export.run(services.controller, closed_store(services), services.policy, export_id, partial(moment, now), key=key)
        now += LEASE
    assert state(services, export_id).status == "pending"
    run(services, export_id, now)
    assert state(services, export_id).status == "ready"


def test_unfinished_exports_are_those_that_nobody_works_on(services: Services, owner_engine: Engine) -> None:
    fresh, held, ready, purged = (make_account(services).row.account_id for _ in range(4))
    waiting = ask(services, fresh)
    running = ask(services, held)
    leases.claim(services.controller, running, lambda: NOW)
    run(services, ask(services, ready))
    ask(services, purged)
    begin_purge(owner_engine, purged)
    assert unfinished(services) == [waiting]
    assert unfinished(services, NOW + LEASE) == [waiting, running]


def test_an_archive_is_erased_when_its_time_is_over_and_not_before(services: Services) -> None:
    account_id = make_account(services).row.account_id
    make_device(services, account_id)
    export_id = ask(services, account_id)
    run(services, export_id)
    over = state(services, export_id).expires_at
    assert over is not None
    plane, objects = services.controller, services.exports
    assert export.expire(plane, objects, lambda: over - timedelta.resolution) == 0
    assert len(stored(services, account_id)) == 1
    with pytest.raises(BusyError):
        export.expire(plane, closed_store(services), lambda: over)
    assert state(services, export_id).status == "ready"  # the mark never runs ahead of the object
    assert export.expire(plane, objects, lambda: over) == 1
    assert export.expire(plane, objects, lambda: over) == 0
    assert (state(services, export_id).status, stored(services, account_id)) == ("expired", [])


class GivenUp(Exception):  # noqa: N818  it is no fault
    """The caller's own change of mind."""


def test_a_wake_up_is_enqueued_only_after_the_request_is_committed(services: Services) -> None:
    account_id = make_account(services).row.account_id

    def give_up() -> None:
        with transaction(services) as tx:
            requests.receive(tx, services.policy, account_id, "access", identity=IDENTIFIED)
            raise GivenUp

    with pytest.raises(GivenUp):
        give_up()
    assert services.redis.keys("rq:job:*") == []
    export_id = ask(services, account_id)
    (job,) = services.redis.keys("rq:job:*")
    assert str(export_id).encode() in services.redis.hgetall(job)[b"description"]
