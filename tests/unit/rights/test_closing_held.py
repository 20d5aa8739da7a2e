"""An account is not erased while data of somebody in it is restricted: they may need it (GDPR Article 18(1)(b) and (c))."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import Kind
from cloudpriv.platform.clock import utc_now
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ConflictError
from cloudpriv.retention import purge, verdicts
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
            "UPDATE people SET restriction_asked_at = restriction_asked_at - CAST(:by AS interval)",
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
