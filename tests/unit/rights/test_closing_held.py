"""An account is not erased while data of somebody in it is restricted: they may need it (GDPR Article 18(1)(b) and (c))."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts
from cloudpriv.platform.actor import OPERATOR, Kind
from cloudpriv.platform.clock import utc_now
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import AccountClosingError, ConflictError
from cloudpriv.retention import due, forecast, holds, notices, purge, verdicts
from cloudpriv.rights import closure, handling, own_restriction, restriction
from cloudpriv.rights.closure import COOLING_OFF
from cloudpriv.rights.requests import Identity, KnownRequest
from tests.disclosed import holder
from tests.factories import BACKEND, make_account, make_person, transaction
from tests.purges import LONG_AGO, order, purge_of, run
from tests.unit.rights.test_closure import STEP, advance, close, closed_long_ago, purges_of, status_of

LATER = timedelta(days=3, minutes=1)  # by then a purge waits for no mail any more


@pytest.fixture
def account_id(services: Services) -> UUID:
    """An account."""
    return make_account(services).row.account_id


@pytest.fixture
def alex(services: Services, account_id: UUID) -> UUID:
    """Somebody in it beside the owner who closes it."""
    return make_person(services, account_id).row.person_id


def ask_as(
    services: Services, account_id: UUID, person_id: UUID, type_: str, now: datetime, *, own: bool = False, **details: object
) -> KnownRequest:
    """A request of a person about the account, or about what is their `own`."""
    role: Kind = "member" if own else "owner"
    with transaction(services, holder(account_id, person_id, role), now) as tx:
        about = person_id if own else None
        identity = Identity("password", tx.actor.name)
        return handling.receive(tx, services.policy, account_id, type_, person_id=about, details=details, identity=identity)


def restrict_own(services: Services, account_id: UUID, person_id: UUID, now: datetime) -> None:
    """Have a person's own data restricted, at their word."""
    ask_as(services, account_id, person_id, "restriction", now, own=True)


def test_a_restriction_renewed_in_the_cooling_off_keeps_the_account(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID
) -> None:
    begun = utc_now() - COOLING_OFF - STEP
    restrict_own(services, account_id, alex, begun - timedelta(days=3))
    with transaction(services, BACKEND, begun - timedelta(days=2)) as tx:
        assert restriction.lift_person(tx, account_id, alex, "claims_settled").ends_at is not None
    assert close(services, account_id, now=begun) < utc_now()
    restrict_own(services, account_id, alex, begun + timedelta(days=1))
    assert advance(worker_services) == 0
    assert purges_of(services, account_id) == []


def test_what_was_restricted_before_and_decided_about_keeps_nothing(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID
) -> None:
    begun = utc_now() - COOLING_OFF - STEP
    restrict_own(services, account_id, alex, begun - timedelta(days=3))
    close(services, account_id, now=begun)
    assert advance(worker_services) == 1


def test_a_restriction_in_the_cooling_off_outlives_a_restore(
    services: Services, worker_services: Services, owner_engine: Engine, account_id: UUID, alex: UUID
) -> None:
    ends = closed_long_ago(services, account_id)
    restrict_own(services, account_id, alex, ends - STEP)
    with owner_engine.begin() as connection:  # as `purge replay` does
        again = text("INSERT INTO logs (log, origin, vkey, size, begun_at) VALUES (2, 'any/2', 'any', 0, :now)")
        connection.execute(again, {"now": utc_now()})
    assert advance(worker_services) == 0  # the cooling-off begins again
    with owner_engine.begin() as connection:  # and is over
        by = {"by": COOLING_OFF + STEP}
        for statement in (
            "UPDATE logs SET begun_at = begun_at - CAST(:by AS interval)",
            "UPDATE accounts SET (closes_at, closing_since) = (closes_at - CAST(:by AS interval), closing_since - :by)",
            "UPDATE people SET restriction_asked_at = ARRAY[restriction_asked_at[1] - CAST(:by AS interval)]",
        ):
            connection.execute(text(statement), by)
    assert advance(worker_services) == 0
    assert purges_of(services, account_id) == []


def test_what_somebody_restricts_before_the_purge_begins_is_not_erased(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID
) -> None:
    make_person(services, account_id)
    closed_long_ago(services, account_id)
    assert advance(worker_services) == 1
    [planned] = purges_of(services, account_id)
    run(worker_services, planned.purge_id, utc_now())
    assert purge_of(services, planned.purge_id).step == "keys", "it waits for the mails"
    restrict_own(services, account_id, alex, utc_now())
    run(worker_services, planned.purge_id, utc_now() + LATER)
    assert (purge_of(services, planned.purge_id).status, status_of(services, account_id)[0]) == ("planned", "closing")
    with transaction(services, holder(account_id, alex, "member"), utc_now() + LATER) as tx:
        own_restriction.lift_person(tx, account_id, alex)
    run(worker_services, planned.purge_id, utc_now() + 2 * LATER)
    assert purge_of(services, planned.purge_id).status == "done"


def test_what_somebody_restricted_outlives_a_backends_word(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID
) -> None:
    restrict_own(services, account_id, alex, utc_now())
    with transaction(services, BACKEND, utc_now()) as tx:
        purge_id = purge.request_erasure(tx, services.policy, account_id, 1).purge_id
    for now in (utc_now(), utc_now() + LATER):
        run(worker_services, purge_id, now)
    assert purge_of(services, purge_id).status == "planned"


def test_what_somebody_restricted_outlives_the_policys_clock(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    alex = make_person(services, account_id).row.person_id
    restrict_own(services, account_id, alex, utc_now())
    purge_id = order(services, owner_engine, account_id, utc_now())
    run(worker_services, purge_id, utc_now())
    assert purge_of(services, purge_id).status == "planned"
    with transaction(services, BACKEND, utc_now()) as tx:
        found = verdicts.judge(tx, services.policy, account_id)
    assert (found.verdict, found.reason) == ("restricted", "data of somebody in it is restricted (GDPR Article 18)")


@pytest.mark.parametrize(
    "way",
    [
        lambda tx, account_id, _: closure.undo(tx, account_id),
        lambda tx, _, request_id: handling.withdraw(tx, request_id),
    ],
    ids=["undone", "withdrawn"],
)
def test_a_closing_that_a_restriction_holds_up_can_be_undone(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID, way: Callable[[Tx, UUID, UUID], object]
) -> None:
    kim = make_person(services, account_id).row.person_id
    begun = utc_now() - COOLING_OFF - STEP
    asked = ask_as(services, account_id, kim, "erasure", begun)
    restrict_own(services, account_id, alex, begun + STEP)
    assert advance(worker_services) == 0
    with transaction(services, BACKEND, utc_now()) as tx:
        way(tx, account_id, asked.row.request_id)
    assert status_of(services, account_id) == ("active", None)
    with pytest.raises(ConflictError), transaction(services, BACKEND, utc_now()) as tx:
        closure.undo(tx, account_id)


def test_what_was_objected_to_while_it_closed_is_restricted_once_it_stays(services: Services, account_id: UUID) -> None:
    kim, now = make_person(services, account_id).row.person_id, utc_now()
    close(services, account_id, kim, now)
    asked = ask_as(services, account_id, kim, "objection", now + STEP, text="no", restrict=True)
    assert asked.row.status == "in_progress"
    with transaction(services, holder(account_id, kim), now + 2 * STEP) as tx:
        closure.undo(tx, account_id)
    assert status_of(services, account_id)[0] == "restricted"
    with transaction(services) as tx:
        assert restriction.standing(tx, account_id, None).causes == ("objection",)


def test_who_asks_again_once_nothing_is_in_the_way_has_the_account_closed(
    services: Services, account_id: UUID, alex: UUID
) -> None:
    kim, now = make_person(services, account_id).row.person_id, utc_now()
    restrict_own(services, account_id, alex, now)
    ask_as(services, account_id, kim, "erasure", now)
    again = ask_as(services, account_id, kim, "erasure", now + STEP)
    assert (again.row.duplicate_of is not None, status_of(services, account_id)[0]) == (True, "active")
    with transaction(services, holder(account_id, alex, "member"), now) as tx:
        own_restriction.lift_person(tx, account_id, alex)
    ask_as(services, account_id, kim, "erasure", now + 2 * STEP)
    assert status_of(services, account_id)[0] == "closing"


def test_who_asks_again_for_their_own_erasure_once_nothing_is_in_the_way_is_erased(
    services: Services, account_id: UUID, alex: UUID, owner_engine: Engine
) -> None:
    now = utc_now()
    with transaction(services, BACKEND, now) as tx:
        restriction.restrict_person(tx, account_id, alex)
    ask_as(services, account_id, alex, "erasure", now, own=True)
    with owner_engine.begin() as connection:  # as its end does, once it has come
        connection.execute(
            text("UPDATE people SET restricted_at = NULL, restricted_for = NULL, restriction_asked_at = NULL")
        )
    again = ask_as(services, account_id, alex, "erasure", now + STEP, own=True)
    assert (again.row.status, again.row.person_id) == ("completed", None)
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM people WHERE person_id = :id"), {"id": alex}) == 0


def test_a_purge_that_a_restriction_puts_off_is_looked_at_every_day_whatever_holds_there_are(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID, owner_engine: Engine
) -> None:
    kim, now = make_person(services, account_id).row.person_id, utc_now()
    with transaction(services, OPERATOR, now) as tx:
        order_of_court = {"authority": "Halmstad District Court", "reference": "T 1-26"}
        holds.place(tx, account_id, "person", person_id=kim, until=now + timedelta(days=1000), **order_of_court)
    restrict_own(services, account_id, alex, now)
    with transaction(services, BACKEND, now) as tx:
        purge_id = purge.request_erasure(tx, services.policy, account_id, 1).purge_id
    run(worker_services, purge_id, utc_now())
    put_off = purge_of(services, purge_id).lease_until
    assert put_off is not None
    assert put_off < now + timedelta(days=2)


def test_what_came_meanwhile_and_ended_keeps_nothing_that_was_decided_about(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID
) -> None:
    begun = utc_now() - COOLING_OFF - STEP
    restrict_own(services, account_id, alex, begun - timedelta(days=3))
    close(services, account_id, now=begun)
    asked = ask_as(services, account_id, alex, "objection", begun + STEP, own=True, text="no", restrict=True)
    with transaction(services, holder(account_id, alex, "member"), begun + 2 * STEP) as tx:
        handling.withdraw(tx, asked.row.request_id)
    with transaction(services) as tx:
        assert restriction.standing(tx, account_id, alex).causes == ("request",)
    assert advance(worker_services) == 1


def test_who_asks_again_for_what_they_have_in_the_cooling_off_keeps_the_account(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID
) -> None:
    begun = utc_now() - COOLING_OFF - STEP
    restrict_own(services, account_id, alex, begun - timedelta(days=3))
    close(services, account_id, now=begun)
    restrict_own(services, account_id, alex, begun + STEP)
    assert advance(worker_services) == 0


def test_owners_are_told_of_no_erasure_that_somebodys_restriction_keeps_off(
    services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    alex, now = make_person(services, account_id).row.person_id, utc_now()
    with transaction(services, now=now) as tx:
        assert [number for number, _ in [due.backlog(tx, services.policy)]] == [1]
    restrict_own(services, account_id, alex, now)
    with transaction(services, now=now) as tx:
        assert due.backlog(tx, services.policy) == (0, None)
        assert tx.session.execute(notices.to_be_told(services.policy, now)).all() == []
        forecast.count(tx, services.policy)
        months = forecast.read(tx, services.policy).months
    assert (sum(month.accounts for month in months), sum(month.held_accounts for month in months)) == (1, 1)


def test_a_closing_says_how_far_it_is(services: Services, worker_services: Services, account_id: UUID, alex: UUID) -> None:
    def stage() -> str:
        with transaction(services, BACKEND, utc_now()) as tx:
            return closure.stage(tx, accounts.find_account(tx, account_id, lock=True).row)

    closed_long_ago(services, account_id)
    assert stage() == "over"
    restrict_own(services, account_id, alex, utc_now())
    assert stage() == "held"
    with transaction(services, holder(account_id, alex, "member"), utc_now()) as tx:
        own_restriction.lift_person(tx, account_id, alex)
    assert advance(worker_services) == 1
    assert stage() == "over"
    restrict_own(services, account_id, alex, utc_now())
    assert stage() == "waits"
    with pytest.raises(AccountClosingError), transaction(services, BACKEND, utc_now()) as tx:
        closure.undo(tx, account_id)
