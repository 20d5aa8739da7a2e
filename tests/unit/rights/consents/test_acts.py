"""Consents: two acts to give, one to withdraw, and a history that nobody can change."""

import json
import threading
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from cloudpriv.bootstrap import Services
from cloudpriv.controller import people
from cloudpriv.platform.actor import HOLDER, Actor, Kind
from cloudpriv.platform.errors import (
    AccountClosingError,
    AccountRestrictedError,
    GoneError,
    NotFoundError,
)
from cloudpriv.rights.consents import acts as consents
from tests.consents import DAY, MOMENT, NEWS, SURVEYS, URL, WEEK, Kim
from tests.exports import ask as ask_for_export
from tests.exports import open_archive
from tests.exports import run as run_export
from tests.factories import BACKEND, NOW, make_account, make_person, transaction
from tests.mailbox import Mailbox
from tests.stack import TestDatabase, every_row
from tests.unit.rights.test_closure import close


def test_nothing_is_given_before_the_link_of_the_mail_is_confirmed(kim: Kim, mailbox: Mailbox) -> None:
    assert kim.stands() == ("none", None, False)
    assert kim.ask() == "requested"
    assert kim.stands() == ("requested", NOW, False)
    assert kim.post() == [("consent_confirm", "sent", None)]
    assert mailbox.recipients == ["kim@example.com"]
    assert kim.confirm().asks == "given"
    assert kim.stands() == ("given", NOW, True)
    assert kim.states() == ["requested", "given"]
    assert kim.stands(SURVEYS) == ("none", None, False)


def test_what_was_not_confirmed_within_a_week_has_expired_before_anybody_writes_it_down(kim: Kim) -> None:
    kim.ask()
    kim.post()
    with pytest.raises(GoneError):
        kim.confirm(now=NOW + WEEK)
    assert kim.stands(now=NOW + WEEK - MOMENT)[0] == "requested"
    assert kim.stands(now=NOW + WEEK) == ("expired", NOW + WEEK, False)
    assert kim.confirm(now=NOW + WEEK - MOMENT).state == "answered"


def test_the_duty_writes_down_what_expired_once_and_in_batches(kim: Kim, owner_engine: Engine) -> None:
    kim.ask(NEWS)
    kim.ask(SURVEYS)
    assert kim.expire(NOW + WEEK - MOMENT) == 0
    assert [kim.expire(NOW + WEEK, limit=1) for _ in range(3)] == [1, 1, 0]
    assert kim.states(NEWS) == kim.states(SURVEYS) == ["requested", "expired"]
    assert kim.ask(now=NOW + WEEK) == "requested"
    with owner_engine.connect() as connection:
        by = connection.execute(text("SELECT actor_kind FROM audit_events WHERE action = 'consent.expire'"))
        assert by.scalars().all() == ["worker", "worker"]


def test_two_duties_at_once_write_it_down_once(kim: Kim, database: TestDatabase) -> None:
    kim.ask(NEWS)
    kim.ask(SURVEYS)
    others = [database.services("worker") for _ in range(2)]
    gate = threading.Barrier(2)

    def work(services: Services) -> None:
        gate.wait()
        with transaction(services, now=NOW + WEEK) as tx:
            consents.expire(tx, services.policy, limit=10)

    threads = [threading.Thread(target=work, args=(each,)) for each in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in others:
        each.controller.engine.dispose()
    kim.expire(NOW + WEEK)
    assert kim.states(NEWS) == kim.states(SURVEYS) == ["requested", "expired"]


def test_who_asks_after_the_duty_was_missed_gets_a_new_link(kim: Kim) -> None:
    kim.ask()
    assert kim.ask(now=NOW + WEEK) == "requested"
    assert kim.states() == ["requested", "expired", "requested"]


def test_who_asks_twice_is_mailed_the_same_link_and_not_at_once(kim: Kim, mailbox: Mailbox) -> None:
    kim.ask()
    kim.post()
    kim.ask()
    assert kim.post()[-1] == ("consent_confirm", "dropped", "sent_before")
    kim.ask(now=NOW + DAY)
    kim.post(NOW + DAY)
    assert kim.link(0) == kim.link(1)
    assert kim.states() == ["requested"]


def test_who_consented_is_not_asked_again(kim: Kim) -> None:
    kim.give()
    assert kim.ask() == "given"
    assert kim.states() == ["requested", "given"]


def test_a_withdrawal_takes_effect_at_once_and_not_on_the_past(kim: Kim) -> None:
    kim.give(now=NOW)
    kim.withdraw(now=NOW + DAY)
    assert kim.stands(now=NOW + DAY) == ("withdrawn", NOW + DAY, False)
    moments = (NOW - MOMENT, NOW, NOW + DAY - MOMENT, NOW + DAY, NOW + WEEK)
    with transaction(kim.services, BACKEND) as tx:
        held = [consents.holds_at(tx, kim.account_id, kim.person_id, NEWS, moment) for moment in moments]
    assert held == [False, True, True, False, False]
    assert kim.states() == ["requested", "given", "withdrawn"]


def test_a_withdrawal_kills_a_link_that_waits(kim: Kim) -> None:
    kim.ask()
    kim.post()
    kim.withdraw()
    with pytest.raises(GoneError):
        kim.confirm()
    assert kim.stands()[2] is False


def test_withdrawing_twice_is_withdrawing_once(kim: Kim) -> None:
    kim.give()
    kim.withdraw()
    kim.withdraw()
    assert kim.states() == ["requested", "given", "withdrawn"]


def test_everything_is_withdrawn_at_once_for_a_request(kim: Kim) -> None:
    kim.give(NEWS)
    kim.ask(SURVEYS)
    with transaction(kim.services, BACKEND) as tx:
        withdrawn = consents.withdraw_all(tx, kim.services.policy, kim.account_id, kim.person_id)
        assert withdrawn == [NEWS, SURVEYS]
    assert kim.states(NEWS) == ["requested", "given", "withdrawn"]
    assert kim.states(SURVEYS) == ["requested", "withdrawn"]


def test_an_owners_request_withdraws_for_everybody_and_a_members_for_nobody_else(kim: Kim, services: Services) -> None:
    kim.give()
    other = make_person(services, kim.account_id).row.person_id
    owner = Actor("owner", str(other), "talk2m", frozenset({HOLDER}), kim.account_id)
    with transaction(services, replace(owner, kind="member")) as tx, pytest.raises(NotFoundError):
        consents.withdraw_all(tx, services.policy, kim.account_id, kim.person_id)
    with transaction(services, owner) as tx:
        assert consents.withdraw_all(tx, services.policy, kim.account_id, kim.person_id) == [NEWS]
    assert kim.states()[-1] == "withdrawn"


def test_nothing_is_withdrawn_where_nothing_was_said(kim: Kim) -> None:
    with transaction(kim.services, BACKEND) as tx:
        assert consents.withdraw_all(tx, kim.services.policy, kim.account_id, kim.person_id) == []
    assert kim.states() == []


def test_nobody_speaks_for_another(kim: Kim, services: Services) -> None:
    other = make_person(services, kim.account_id).row.person_id
    kinds: tuple[Kind, ...] = ("owner", "member")
    for kind in kinds:
        actor = Actor(kind, str(other), "talk2m", frozenset({HOLDER}), kim.account_id)
        with transaction(services, actor) as tx:
            with pytest.raises(NotFoundError):
                consents.ask(tx, services.policy, kim.account_id, kim.person_id, NEWS, language="en")
            with pytest.raises(NotFoundError):
                consents.withdraw(tx, services.policy, kim.account_id, kim.person_id, NEWS)


def test_a_member_sees_no_consent_of_others_and_an_owner_does(kim: Kim, services: Services) -> None:
    other = make_person(services, kim.account_id).row.person_id
    member = Actor("member", str(other), "talk2m", frozenset({HOLDER}), kim.account_id)
    with transaction(services, member) as tx:
        for look in (consents.read_history, lambda *a: consents.state_of(tx, URL, *a[1:])):
            with pytest.raises(NotFoundError):
                look(tx, kim.account_id, kim.person_id)
        with pytest.raises(NotFoundError):
            consents.holds_at(tx, kim.account_id, kim.person_id, NEWS, NOW)
    with transaction(services, replace(member, kind="owner")) as tx:
        assert consents.read_history(tx, kim.account_id, kim.person_id) == []


def test_other_accounts_and_services_are_not_there(kim: Kim, services: Services) -> None:
    elsewhere = Actor("client", "x", "intesis")
    with transaction(services, elsewhere) as tx, pytest.raises(NotFoundError):
        consents.state_of(tx, URL, kim.account_id, kim.person_id)
    neighbour = replace(kim.actor, account_id=make_account(services).row.account_id)
    with transaction(services, neighbour) as tx, pytest.raises(NotFoundError):
        consents.state_of(tx, URL, kim.account_id, kim.person_id)


@pytest.mark.parametrize(("status", "refusal"), [("restricted", AccountRestrictedError), ("closing", AccountClosingError)])
def test_nothing_new_is_begun_where_data_may_not_be_used_and_withdrawing_stays_possible(
    kim: Kim, owner_engine: Engine, status: str, refusal: type[Exception]
) -> None:
    kim.give(SURVEYS)
    kim.ask(NEWS)
    kim.post()
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = :status"), {"status": status})
    news = next(
        kim.link(number) for number in range(len(kim.mailbox.received)) if "News" in kim.mailbox.received[number]["Subject"]
    )
    with pytest.raises(refusal):
        kim.confirm(news)
    with pytest.raises(refusal):
        kim.ask(NEWS)
    kim.withdraw(SURVEYS)
    assert kim.states(SURVEYS)[-1] == "withdrawn"


def test_a_restricted_person_is_asked_nothing_and_sent_nothing(kim: Kim, owner_engine: Engine) -> None:
    kim.give()
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE people SET restricted_at = now()"))
    with pytest.raises(AccountRestrictedError):
        kim.ask(SURVEYS)
    with transaction(kim.services, BACKEND) as tx, pytest.raises(AccountRestrictedError):
        consents.state_of(tx, URL, kim.account_id, kim.person_id)
    assert kim.stands()[2], "who it is about may look"


def test_an_unknown_purpose_is_not_there(kim: Kim) -> None:
    for act in (kim.ask, kim.withdraw, kim.ask_to_withdraw):
        with pytest.raises(NotFoundError):
            act("everything")


def test_what_was_said_stands_sealed(kim: Kim, owner_engine: Engine) -> None:
    kim.give()
    rows = "".join(each for each in every_row(owner_engine)["consent_records"])
    assert "send me news" not in rows


@pytest.mark.parametrize("role", ["api", "worker"])
def test_no_role_can_change_a_history(kim: Kim, database: TestDatabase, role: str) -> None:
    engine = database.engine("api" if role == "api" else "worker")
    with pytest.raises(ProgrammingError, match="permission denied"), engine.begin() as connection:
        connection.execute(text("UPDATE consent_records SET state = 'given'"))
    engine.dispose()


def test_the_api_deletes_no_history_but_of_a_person_who_is_being_erased(kim: Kim, database: TestDatabase) -> None:
    kim.give()
    of_api, of_worker = database.engine("api"), database.engine("worker")
    delete = text("DELETE FROM consent_records")
    with pytest.raises(ProgrammingError, match="goes with its person"), of_api.begin() as connection:
        connection.execute(delete)
    with of_api.begin() as connection:
        connection.execute(text("UPDATE people SET erasure_requested_at = now()"))  # as where a hold keeps the person
        assert connection.execute(delete).rowcount > 0
        connection.rollback()
    with of_worker.begin() as connection:  # as in the erasure of an account
        assert connection.execute(delete).rowcount > 0
    for engine in (of_api, of_worker):
        engine.dispose()


def test_a_history_goes_with_its_person(kim: Kim, owner_engine: Engine) -> None:
    kim.give()
    with transaction(kim.services) as tx:
        people.remove_person(tx, kim.account_id, kim.person_id, 1)
    assert every_row(owner_engine)["consent_records"] == []


def test_no_two_events_can_follow_the_same_one(kim: Kim, owner_engine: Engine) -> None:
    kim.ask()
    copy = (
        "INSERT INTO consent_records SELECT account_id, gen_random_uuid(), person_id, purpose, number, state, at, "
        "policy_version, record FROM consent_records"
    )
    with pytest.raises(IntegrityError, match="uq_consent_records_number"), owner_engine.begin() as connection:
        connection.execute(text(copy))


def test_every_look_and_change_is_audited_on_behalf_of_the_person(kim: Kim, owner_engine: Engine) -> None:
    kim.give()
    kim.withdraw()
    kim.stands()
    query = (
        "SELECT action, actor_kind, actor_id, subject_id, fields FROM audit_events WHERE action LIKE 'consent%' "
        "ORDER BY event_id"
    )
    with owner_engine.connect() as connection:
        found = connection.execute(text(query)).all()
    me = ("owner", str(kim.person_id), kim.person_id)
    assert [(row.action, row.fields) for row in found] == [
        ("consent.ask", [NEWS]),
        ("consent.give", [NEWS]),
        ("consent.withdraw", [NEWS]),
        ("consent.read", []),
    ]
    assert {(row.actor_kind, row.actor_id, row.subject_id) for row in found} == {me}


def test_an_account_whose_key_does_not_open_holds_up_no_other(
    kim: Kim, owner_engine: Engine, services: Services, worker_services: Services, mailbox: Mailbox
) -> None:
    kim.ask()
    other = Kim(services, worker_services, mailbox)
    other.ask()
    spoil = text("UPDATE account_keys SET wrapped = '\\x00' WHERE account_id = :account_id")
    with owner_engine.begin() as connection:
        connection.execute(spoil, {"account_id": kim.account_id})
    unreadable: set[UUID] = set()
    with transaction(worker_services, now=NOW + WEEK) as tx:
        assert consents.expire(tx, services.policy, limit=10, unreadable=unreadable) == 2
    with transaction(worker_services, now=NOW + WEEK) as tx:
        assert consents.expire(tx, services.policy, limit=10, unreadable=unreadable) == 0
    assert unreadable == {kim.account_id}
    assert other.states() == ["requested", "expired"]


def test_the_history_is_in_the_export_of_the_account(kim: Kim) -> None:
    kim.give()
    run_export(kim.services, export_id := ask_for_export(kim.services, kim.account_id))
    exported = json.loads(open_archive(kim.services, export_id).read("consents.json"))
    found = sorted((each["number"], each["event_state"], each["record"]["event"]["method"]) for each in exported)
    assert found == [(1, "requested", "portal"), (2, "given", "mail_link")]
    assert {each["purpose"] for each in exported} == {NEWS}


def test_nobody_is_told_that_mail_may_be_sent_to_an_account_that_closes(services: Services, kim: Kim) -> None:
    kim.give()
    close(services, kim.account_id, now=NOW)
    with pytest.raises(AccountClosingError), transaction(services, BACKEND) as tx:
        consents.state_of(tx, URL, kim.account_id, kim.person_id)
    assert kim.stands()[2], "the person themselves sees it"
