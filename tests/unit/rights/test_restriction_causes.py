"""Causes of a restriction beside each other: none ends with another, nor behind the back of whoever obtained it."""

from datetime import timedelta

import pytest

from cloudpriv.bootstrap import Services
from cloudpriv.controller import people
from cloudpriv.platform.clock import utc_now
from cloudpriv.rights import handling, own_restriction, restriction
from cloudpriv.rights.restriction_notice import NOTICE
from tests.disclosed import holder
from tests.factories import BACKEND, make_account, make_person, transaction
from tests.requests import member
from tests.unit.rights.test_closing_held import ask_as
from tests.unit.rights.test_restriction_ends import WHOLE, advance, ask, lift, mails, place, standing

STEP = timedelta(hours=1)


@pytest.mark.parametrize("whole", WHOLE)
def test_what_was_obtained_is_not_ended_untold_while_an_objection_is_looked_into(
    services: Services, worker_services: Services, whole: bool
) -> None:
    account_id, kim = place(services)
    about = None if whole else kim
    ask(services, account_id, about)
    objection = ask(services, account_id, about, "objection", restrict=True)
    ends = lift(services, account_id, about, utc_now() - NOTICE + STEP).ends_at
    assert [mail.person_id for mail in mails(services)] == [kim]
    with transaction(services) as tx:
        handling.withdraw(tx, objection.request_id)
    assert advance(worker_services) == 0
    assert standing(services, account_id, about) == (("request",), ends, "accuracy_verified")


def test_a_cause_that_staff_adds_meanwhile_outlives_the_persons_own(services: Services) -> None:
    account_id, kim = place(services)
    ask(services, account_id, kim)
    with transaction(services, member(account_id, kim)) as tx:
        seen = people.find_person(tx, account_id, kim)  # as pages do, before anything is locked
        assert seen.restricted_for == ["request"]
        with transaction(services) as other:
            restriction.restrict_person(other, account_id, kim)
        own_restriction.lift_person(tx, account_id, kim)
    assert standing(services, account_id, kim).causes == ("staff",)


def test_what_was_to_end_on_a_day_does_not_end_before(services: Services) -> None:
    account_id = make_account(services).row.account_id
    kim, robin = (make_person(services, account_id).row.person_id for _ in range(2))
    now = utc_now()
    ask_as(services, account_id, kim, "restriction", now)
    with transaction(services, BACKEND, now + STEP) as tx:  # both owners are told of that day
        assert restriction.lift_account(tx, account_id, "claims_settled").ends_at is not None
    asked = ask_as(services, account_id, robin, "objection", now + 2 * STEP, text="no", restrict=True)
    with transaction(services, holder(account_id, robin), now + 3 * STEP) as tx:
        handling.withdraw(tx, asked.row.request_id)
    with transaction(services) as tx:
        assert restriction.standing(tx, account_id, None).causes == ("request",)
