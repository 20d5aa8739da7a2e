"""What granted requests do: rectification, erasure, restriction, objection and withdrawn consents are carried out."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text

from cloudpriv.audit.events import AuditEvent
from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, people
from cloudpriv.controller.tables import Account, Person
from cloudpriv.platform.errors import ConflictError, InvalidError, NotFoundError
from cloudpriv.retention import holds
from cloudpriv.rights import effects, handling, letters, requests, restriction
from cloudpriv.rights.closure import COOLING_OFF
from cloudpriv.rights.consents import acts as consents
from cloudpriv.rights.requests import Identity, KnownRequest
from cloudpriv.rights.restriction_notice import NOTICE
from cloudpriv.rights.tables import RecipientNotice
from tests.disclosed import ALL, disclose, holder
from tests.factories import BACKEND, NOW, make_account, make_person, transaction


def ask(services: Services, account_id: UUID, type_: str, person_id: UUID | None = None,
        details: Mapping[str, Any] | None = None) -> KnownRequest:  # fmt: skip
    """Have a backend take a request of somebody whom it knows, and have it carried out."""
    with transaction(services, BACKEND) as tx:
        identity = Identity("backend", BACKEND.name)
        return handling.receive(
            tx, services.policy, account_id, type_, person_id=person_id, details=details, identity=identity
        )


def notices(services: Services) -> list[tuple[str, list[str], UUID | None]]:
    with transaction(services) as tx:
        found = tx.session.scalars(select(RecipientNotice).order_by(RecipientNotice.notice_id))
        return [(each.kind, each.categories, each.concerns) for each in found]


def status_of(services: Services, account_id: UUID) -> str:
    with transaction(services) as tx:
        return tx.session.get_one(Account, account_id).status


def is_restricted(services: Services, account_id: UUID, person_id: UUID) -> bool:
    with transaction(services) as tx:
        return tx.session.get_one(Person, (account_id, person_id)).restricted_at is not None


def test_a_person_is_rectified_and_the_trail_has_the_fields_without_their_values(
    services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id, name="Kim Exmaple").row.person_id
    disclose(services, account_id, categories=["identification"])
    disclose(services, account_id, categories=["traffic_metadata"])
    asked = ask(services, account_id, "rectification", person_id, {"changes": {"name": "Kim Canary", "phones": []}})
    assert (asked.row.status, asked.details["outcome"]) == ("completed", effects.RECTIFIED)
    with transaction(services) as tx:
        assert people.read_person(tx, account_id, person_id).identity["name"] == "Kim Canary"
        [event] = tx.session.scalars(select(AuditEvent).where(AuditEvent.action == "person.change"))
        assert (event.actor_id, event.at, event.fields) == (BACKEND.id, NOW, ["name", "phones"])
    assert notices(services) == [("rectification", ["identification"], person_id)]


def test_an_account_is_rectified(services: Services) -> None:
    account_id = make_account(services).row.account_id
    disclose(services, account_id)
    changes = {"account_name": "acme-renamed", "customer": {"company_name": "Acme Wasser"}}
    assert ask(services, account_id, "rectification", None, {"changes": changes}).row.status == "completed"
    with transaction(services) as tx:
        profile = accounts.read_account(tx, account_id).profile
    assert (profile["account_name"], profile["company_name"]) == ("acme-renamed", "Acme Wasser")
    assert notices(services) == [("rectification", ["account", "identification"], None)]


@pytest.mark.parametrize("changes", [{"role": "owner"}, {"name": "Kim", "restricted_at": None}, {"status": "active"}])
@pytest.mark.parametrize("of_person", [True, False])
def test_nobody_changes_by_rectification_what_is_not_theirs_to_change(
    services: Services, changes: dict[str, Any], of_person: bool
) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    with pytest.raises(InvalidError):
        ask(services, account_id, "rectification", person_id if of_person else None, {"changes": changes})


def test_a_rectification_in_words_waits_for_staff(services: Services) -> None:
    account_id = make_account(services).row.account_id
    asked = ask(services, account_id, "rectification", None, {"text": "the company moved"})
    assert asked.row.status == "in_progress"
    assert notices(services) == []


def test_what_is_contested_is_rectified_while_it_is_restricted(services: Services) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    ask(services, account_id, "restriction", person_id)
    ask(services, account_id, "restriction")
    assert ask(services, account_id, "rectification", person_id, {"changes": {"name": "Sam"}}).row.status == "completed"
    assert status_of(services, account_id) == "restricted"
    assert is_restricted(services, account_id, person_id)


def test_a_restriction_is_carried_out_and_told(services: Services) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    disclose(services, account_id)
    assert ask(services, account_id, "restriction", person_id).details["outcome"] == effects.RESTRICTED
    assert (status_of(services, account_id), is_restricted(services, account_id, person_id)) == ("active", True)
    ask(services, account_id, "restriction")
    assert status_of(services, account_id) == "restricted"
    assert notices(services) == [("restriction", list(ALL), person_id), ("restriction", list(ALL), None)]


def test_one_person_is_erased_and_the_account_goes_on(services: Services) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    asked = ask(services, account_id, "erasure", person_id, {"text": "canary"})
    assert asked.row.status == "completed"
    assert asked.row.person_id is None
    assert asked.details == {"outcome": effects.ERASED}
    with pytest.raises(NotFoundError), transaction(services) as tx:
        people.read_person(tx, account_id, person_id)
    assert status_of(services, account_id) == "active"


def test_two_requests_for_the_same_erasure_both_end(services: Services) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    with transaction(services, BACKEND) as tx:
        unverified = handling.receive(tx, services.policy, account_id, "erasure", person_id=person_id)
    ask(services, account_id, "erasure", person_id)
    with transaction(services) as tx:
        from_before = requests.read_request(tx, unverified.row.request_id)
        assert (from_before.row.status, from_before.details) == ("withdrawn", {})


def test_an_erasure_that_a_hold_stops_says_so(services: Services) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    with transaction(services) as tx:
        holds.place(tx, account_id, "account", authority="Example District Court", reference="T 1")
    assert ask(services, account_id, "erasure", person_id).details["outcome"] == effects.HELD


def test_a_restricted_person_of_a_restricted_account_may_still_be_erased_by_their_own_wish(services: Services) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    ask(services, account_id, "restriction", person_id)
    ask(services, account_id, "restriction")
    assert ask(services, account_id, "erasure", person_id).details["outcome"] == effects.ERASED
    assert status_of(services, account_id) == "restricted"


def test_the_erasure_of_an_account_is_its_closing_and_withdrawing_it_the_undoing(services: Services) -> None:
    account_id = make_account(services).row.account_id
    owner = make_person(services, account_id).row.person_id
    asked = ask(services, account_id, "erasure")
    assert (asked.row.status, asked.row.effective_at) == ("in_progress", NOW + COOLING_OFF)
    assert status_of(services, account_id) == "closing"
    with transaction(services, holder(account_id, owner)) as tx:
        assert handling.withdraw(tx, asked.row.request_id).row.status == "withdrawn"
    assert status_of(services, account_id) == "active"


@pytest.mark.parametrize("restrict", [True, False])
@pytest.mark.parametrize("of_person", [True, False])
def test_an_objection_waits_for_a_decision_restricted_if_that_was_asked_for(
    services: Services, restrict: bool, of_person: bool
) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    details = {"text": "no statistics", "restrict": restrict}
    asked = ask(services, account_id, "objection", person_id if of_person else None, details)
    assert asked.row.status == "in_progress"
    assert is_restricted(services, account_id, person_id) == (restrict and of_person)
    assert (status_of(services, account_id) == "restricted") == (restrict and not of_person)
    with transaction(services) as tx:
        handling.refuse(tx, services.policy, asked.row.request_id, "compelling_grounds", "Safety of the network.")
        standing = restriction.standing(tx, account_id, person_id if of_person else None)
    told = (("objection",), NOW + NOTICE, "objection_decided") if restrict else ((), None, None)
    assert standing == told, "not before its asker was told"


def test_an_upheld_objection_stops_the_processing(services: Services) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    asked = ask(services, account_id, "objection", person_id, {"text": "no statistics"})
    with transaction(services) as tx:
        granted = handling.grant(tx, services.policy, asked.row.request_id)
    assert granted.details["outcome"] == effects.UPHELD
    assert is_restricted(services, account_id, person_id)


def test_a_refused_objection_lifts_no_restriction_that_was_granted_by_itself(services: Services) -> None:
    account_id = make_account(services).row.account_id
    ask(services, account_id, "restriction")
    asked = ask(services, account_id, "objection", None, {"text": "no statistics", "restrict": True})
    with transaction(services) as tx:
        handling.refuse(tx, services.policy, asked.row.request_id, "compelling_grounds", "Safety of the network.")
    assert status_of(services, account_id) == "restricted"


@pytest.mark.parametrize("identified", [True, False])
@pytest.mark.parametrize("of_person", [True, False])
def test_an_objection_lifts_nothing_that_staff_restricted(services: Services, of_person: bool, identified: bool) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    with transaction(services, BACKEND) as tx:
        if of_person:
            restriction.restrict_person(tx, account_id, person_id)
        else:
            restriction.restrict_account(tx, account_id)
        asked = handling.receive(
            tx, services.policy, account_id, "objection", person_id=person_id if of_person else None,
            details={"restrict": True}, identity=Identity("backend", BACKEND.name) if identified else None,
        )  # fmt: skip
    with transaction(services) as tx:
        ground = "compelling_grounds" if identified else "identity_not_verified"
        handling.refuse(tx, services.policy, asked.row.request_id, ground, "Nobody can be found.")
    assert is_restricted(services, account_id, person_id) == of_person
    assert (status_of(services, account_id) == "restricted") != of_person


def test_what_was_restricted_for_one_objection_goes_on_for_the_next_that_asks_for_it(services: Services) -> None:
    account_id = make_account(services).row.account_id
    texts = {"first": True, "second": False, "third": True}
    asked = [ask(services, account_id, "objection", None, {"text": each, "restrict": texts[each]}) for each in texts]
    found = []
    for known in (asked[0], asked[2], asked[1]):
        with transaction(services) as tx:
            handling.refuse(tx, services.policy, known.row.request_id, "compelling_grounds", "Safety of the network.")
            found.append(restriction.standing(tx, account_id, None).ends_at)
    assert found == [None, NOW + NOTICE, NOW + NOTICE]


def test_a_restriction_that_ended_before_keeps_no_later_one(services: Services) -> None:
    account_id = make_account(services).row.account_id
    ask(services, account_id, "restriction")
    with transaction(services) as tx:
        restriction.end(tx, account_id, None, "request")
    with transaction(services, BACKEND, NOW + timedelta(days=1)) as tx:
        asked = handling.receive(
            tx, services.policy, account_id, "objection", details={"restrict": True}, identity=Identity("backend", "x")
        )
    with transaction(services, now=NOW + timedelta(days=2)) as tx:
        handling.withdraw(tx, asked.row.request_id)
    assert status_of(services, account_id) == "active"


def test_a_restriction_that_is_granted_meanwhile_stays(services: Services) -> None:
    account_id = make_account(services).row.account_id
    asked = ask(services, account_id, "objection", None, {"restrict": True})
    ask(services, account_id, "restriction")
    with transaction(services) as tx:
        handling.refuse(tx, services.policy, asked.row.request_id, "compelling_grounds", "Safety of the network.")
    assert status_of(services, account_id) == "restricted"


def test_consents_are_withdrawn(services: Services) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    with transaction(services) as tx:
        consents.ask(tx, services.policy, account_id, person_id, "surveys", language="en")
    asked = ask(services, account_id, "consent_withdrawal", person_id)
    assert (asked.row.status, asked.details["outcome"]) == ("completed", effects.WITHDRAWN)


def test_what_cannot_be_carried_out_leaves_nothing_behind(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    taken = make_person(services, account_id, username="taken").row.person_id
    person_id = make_person(services, account_id).row.person_id
    disclose(services, account_id)
    with pytest.raises(ConflictError):
        ask(services, account_id, "rectification", person_id, {"changes": {"username": "taken"}})
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM requests")) == 0
    assert notices(services) == []
    assert taken != person_id


def test_an_outcome_has_its_words_in_the_letters() -> None:
    outcomes = {effects.RECTIFIED, effects.ERASED, effects.HELD, effects.RESTRICTED, effects.UPHELD, effects.WITHDRAWN}
    assert outcomes <= set(letters.OUTCOMES)


def test_a_restriction_lifted_and_asked_for_again_is_told_again(services: Services) -> None:
    account_id = make_account(services).row.account_id
    disclose(services, account_id)
    for _ in range(2):
        ask(services, account_id, "restriction")
        with transaction(services) as tx:
            restriction.end(tx, account_id, None, "request")
    assert len(notices(services)) == 2
