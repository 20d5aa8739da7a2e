"""Duties: each slot is done once, by one; a missed one is made up for once; neither a death nor a clock stops them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from cloudpriv.bootstrap import Services
from cloudpriv.platform.ids import new_id
from cloudpriv.retention import duties
from cloudpriv.retention.duties import DAILY, LEASE, OFTEN, Standing
from tests.factories import transaction

TWO = datetime(2026, 6, 1, 2, 0, tzinfo=UTC)
DAY = timedelta(days=1)
INSTANT = timedelta.resolution
A, B = new_id(), new_id()


@pytest.fixture
def worker(worker_services: Services) -> Services:
    """Services of a schedule."""
    return worker_services


def claim(worker: Services, now: datetime, owner: UUID = A) -> Standing:
    with transaction(worker, now=now) as tx:
        return duties.claim(tx, "plan", DAILY, owner)


def done(worker: Services, now: datetime, owner: UUID = A) -> Standing:
    """What came of a claim, after it was carried out if it could be."""
    standing = claim(worker, now, owner)
    if standing is Standing.OURS:
        with transaction(worker, now=now) as tx:
            assert duties.finish(tx, "plan", DAILY.latest(now), owner)
    return standing


def test_the_daily_slot_is_two_in_the_morning_and_others_follow_the_clock() -> None:
    assert DAILY.latest(TWO) == TWO
    assert DAILY.latest(TWO - INSTANT) == TWO - DAY
    assert DAILY.latest(TWO + DAY - INSTANT) == TWO
    assert OFTEN.latest(TWO + timedelta(minutes=19, seconds=59)) == TWO + timedelta(minutes=10)


def test_a_slot_is_done_once_by_whoever_comes_first(worker: Services) -> None:
    assert claim(worker, TWO, A) is Standing.OURS
    assert claim(worker, TWO, B) is Standing.HELD
    assert done(worker, TWO, A) is Standing.OURS
    assert claim(worker, TWO + DAY - INSTANT, B) is Standing.DONE
    assert claim(worker, TWO + DAY, B) is Standing.OURS


def test_a_slot_that_somebody_claims_at_this_moment_is_not_waited_for(worker: Services) -> None:
    done(worker, TWO - DAY)
    with transaction(worker, now=TWO) as tx:
        assert duties.claim(tx, "plan", DAILY, A) is Standing.OURS
        assert claim(worker, TWO, B) is Standing.HELD


def test_whoever_is_gone_is_followed_by_another_when_the_lease_is_over(worker: Services) -> None:
    assert claim(worker, TWO, A) is Standing.OURS
    assert claim(worker, TWO + LEASE - INSTANT, B) is Standing.HELD
    assert done(worker, TWO + LEASE, B) is Standing.OURS
    with transaction(worker, now=TWO + LEASE) as tx:
        assert not duties.renew(tx, "plan", A)
        assert not duties.finish(tx, "plan", TWO, A)


def test_a_lease_that_is_renewed_is_not_taken_over(worker: Services) -> None:
    claim(worker, TWO, A)
    with transaction(worker, now=TWO + LEASE - INSTANT) as tx:
        assert duties.renew(tx, "plan", A)
    assert claim(worker, TWO + LEASE, B) is Standing.HELD


def test_what_was_given_back_is_done_by_anybody_at_once(worker: Services) -> None:
    claim(worker, TWO, A)
    with transaction(worker, now=TWO) as tx:
        duties.release(tx, "plan", A)
    assert claim(worker, TWO, B) is Standing.OURS


def test_many_missed_slots_are_made_up_for_once(worker: Services) -> None:
    done(worker, TWO)
    later = TWO + 3 * DAY + timedelta(hours=5)
    assert done(worker, later) is Standing.OURS
    assert done(worker, later) is Standing.DONE
    assert done(worker, TWO + 4 * DAY) is Standing.OURS


@pytest.mark.parametrize("ahead", [timedelta(hours=1), DAY, 2 * DAY, 400 * DAY])
def test_a_clock_that_is_put_back_repeats_no_slot_and_stops_none_for_longer_than_two(
    worker: Services, ahead: timedelta
) -> None:
    assert done(worker, TWO + ahead) is Standing.OURS
    assert done(worker, TWO) is Standing.DONE, "it was done already, as far as anybody can tell"
    following = [done(worker, TWO + number * DAY) for number in (1, 2)]
    assert Standing.OURS in following


def test_hosts_a_moment_apart_do_a_slot_once(worker: Services) -> None:
    done(worker, TWO - DAY)
    behind = TWO - timedelta(seconds=2)
    assert done(worker, TWO, A) is Standing.OURS
    assert [done(worker, behind, B), done(worker, TWO, B)] == [Standing.DONE, Standing.DONE]


def test_a_lease_from_a_clock_that_was_put_back_holds_nobody_up(worker: Services) -> None:
    claim(worker, TWO + 400 * DAY, A)
    assert claim(worker, TWO, B) is Standing.OURS


def test_a_duty_that_lasts_into_the_next_slot_leaves_that_one_to_do(worker: Services) -> None:
    claim(worker, TWO, A)
    with transaction(worker, now=TWO + DAY) as tx:
        assert duties.finish(tx, "plan", TWO, A)
    assert claim(worker, TWO + DAY, B) is Standing.OURS
