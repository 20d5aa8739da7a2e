"""Requests while an account is closing or restricted: every one is recorded, and carried out unless it contradicts that."""

from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import people
from cloudpriv.platform.errors import AccountClosingError, NotFoundError
from cloudpriv.rights import erasure, handling, restriction
from cloudpriv.rights.closure import COOLING_OFF
from cloudpriv.rights.requests import Identity, KnownRequest
from tests.exports import IDENTIFIED
from tests.factories import BACKEND, NOW, make_account, make_person, transaction
from tests.requests import DOCUMENTS, owner, read, state

Ask = Callable[..., KnownRequest]


@pytest.fixture
def account_id(services: Services) -> UUID:
    """An account."""
    return make_account(services).row.account_id


@pytest.fixture
def kim(services: Services, account_id: UUID) -> UUID:
    """A person of it."""
    return make_person(services, account_id, name="Kim Exampel").row.person_id


@pytest.fixture
def ask(services: Services, account_id: UUID) -> Ask:
    """Takes a request about the account, identified, and has it carried out."""

    def taken(type_: str, person_id: UUID | None = None, **details: Any) -> KnownRequest:
        with transaction(services, BACKEND) as tx:
            return handling.receive(
                tx, services.policy, account_id, type_, person_id=person_id, identity=IDENTIFIED, details=details
            )

    return taken


def status(owner_engine: Engine) -> object:
    with owner_engine.connect() as connection:
        return connection.scalar(text("SELECT status FROM accounts"))


def test_what_concerns_one_person_is_carried_out_in_a_closing_account(
    services: Services, account_id: UUID, kim: UUID, ask: Ask, owner_engine: Engine
) -> None:
    ask("erasure")
    done = [
        ask("rectification", kim, changes={"name": "Kim Example"}),
        ask("restriction", kim),
        ask("consent_withdrawal", kim),
        ask("rectification", changes={"customer": {"company_name": "Acme"}}),
    ]
    assert state(services, *done) == ["completed"] * 4
    with transaction(services) as tx:
        assert people.find_person(tx, account_id, kim).restricted_at == NOW
    objected = ask("objection", kim, text="no", restrict=True)
    with transaction(services) as tx:
        assert handling.grant(tx, services.policy, objected.row.request_id).row.status == "completed"
    assert ask("erasure", kim).row.status == "completed"
    with transaction(services) as tx, pytest.raises(NotFoundError):
        people.find_person(tx, account_id, kim)
    assert status(owner_engine) == "closing"


@pytest.mark.parametrize("type_", ["restriction", "objection"])
def test_what_contradicts_the_closing_is_recorded_and_waits_for_staff(
    services: Services, ask: Ask, owner_engine: Engine, type_: str
) -> None:
    closing = ask("erasure")
    asked = ask(type_, restrict=True)
    assert (asked.row.status, asked.row.due_on, status(owner_engine)) == ("in_progress", date(2026, 7, 1), "closing")
    with transaction(services) as tx, pytest.raises(AccountClosingError):
        handling.grant(tx, services.policy, asked.row.request_id)
    with transaction(services) as tx:
        handling.withdraw(tx, closing.row.request_id)
    with transaction(services) as tx:
        assert handling.grant(tx, services.policy, asked.row.request_id).row.status == "completed"
    assert status(owner_engine) == "restricted"


def test_a_second_erasure_is_tied_to_the_running_one_however_late_that_is_answered(
    services: Services, ask: Ask, owner_engine: Engine
) -> None:
    first = ask("erasure")
    with owner_engine.begin() as connection:  # put off beyond the day of the next one
        connection.execute(text("UPDATE requests SET extended_at = :now, due_on = due_on + 60"), {"now": NOW})
    assert ask("erasure").row.duplicate_of == first.row.request_id


def test_an_erasure_of_an_account_that_a_backend_erases_is_recorded(
    services: Services, account_id: UUID, ask: Ask, owner_engine: Engine
) -> None:
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'closing'"))
    asked = ask("erasure")
    assert (read(services, asked).row.status, asked.row.effective_at) == ("in_progress", None)


@pytest.mark.parametrize("of_account", [True, False])
@pytest.mark.parametrize("restricted", ["account", "person"])
def test_what_was_restricted_on_its_holders_word_is_erased_on_it(
    services: Services, kim: UUID, ask: Ask, owner_engine: Engine, restricted: str, of_account: bool
) -> None:
    ask("restriction", kim if restricted == "person" else None)
    asked = ask("erasure", None if of_account else kim)
    assert asked.row.status == ("in_progress" if of_account else "completed")
    assert asked.row.effective_at == (NOW + COOLING_OFF if of_account else None)


@pytest.mark.parametrize(
    ("restricted", "of_account"), [("account", True), ("account", False), ("person", False), ("person", True)]
)
def test_the_erasure_of_what_staff_restricted_waits_for_staff(
    services: Services, account_id: UUID, kim: UUID, ask: Ask, owner_engine: Engine, restricted: str, of_account: bool
) -> None:
    with transaction(services) as tx:
        if restricted == "account":
            restriction.restrict_account(tx, account_id)
        else:
            restriction.restrict_person(tx, account_id, kim)
    asked = ask("erasure", None if of_account else kim)
    assert (asked.row.status, asked.row.effective_at, asked.row.due_on) == ("in_progress", None, date(2026, 7, 1))
    with transaction(services) as tx:
        assert people.find_person(tx, account_id, kim).person_id == kim
    with transaction(services) as tx:
        granted = handling.grant(tx, services.policy, asked.row.request_id)
    assert granted.row.status == ("in_progress" if of_account else "completed")
    assert granted.row.effective_at == (NOW + COOLING_OFF if of_account else None)


@pytest.mark.parametrize("cause", ["restriction", "objection"])
def test_the_closing_of_an_account_waits_where_somebody_else_restricted_theirs(
    services: Services, account_id: UUID, kim: UUID, ask: Ask, owner_engine: Engine, cause: str
) -> None:
    robin = make_person(services, account_id).row.person_id
    ask(cause, robin, restrict=True)
    with transaction(services, owner(account_id, kim)) as tx:
        asked = handling.receive(tx, services.policy, account_id, "erasure", identity=Identity("password", tx.actor.name))
    assert (asked.row.status, asked.row.effective_at, status(owner_engine)) == ("in_progress", None, "active")
    with transaction(services) as tx:
        handling.grant(tx, services.policy, asked.row.request_id)
    assert status(owner_engine) == "closing"


def test_the_askers_own_restriction_keeps_no_closing_waiting(
    services: Services, account_id: UUID, kim: UUID, ask: Ask, owner_engine: Engine
) -> None:
    make_person(services, account_id)
    ask("restriction", kim)
    with transaction(services, owner(account_id, kim)) as tx:
        handling.receive(tx, services.policy, account_id, "erasure", identity=Identity("password", tx.actor.name))
    assert status(owner_engine) == "closing"


def test_staff_may_refuse_the_erasure_of_what_it_restricted(
    services: Services, account_id: UUID, ask: Ask, owner_engine: Engine
) -> None:
    with transaction(services) as tx:
        restriction.restrict_account(tx, account_id)
    asked = ask("erasure")
    with transaction(services) as tx:
        handling.refuse(tx, services.policy, asked.row.request_id, "legal_claims", "A claim is pending.")
    assert (state(services, asked), status(owner_engine)) == (["refused"], "restricted")


def test_a_letter_about_a_restricted_account_is_verified_and_waits(services: Services, account_id: UUID) -> None:
    with transaction(services) as tx:
        restriction.restrict_account(tx, account_id)
    with transaction(services) as tx:
        known = handling.receive(tx, services.policy, account_id, "erasure", channel="letter")
    with transaction(services) as tx:
        assert handling.verify(tx, services.policy, known.row.request_id, DOCUMENTS).row.status == "in_progress"


def test_staff_erases_a_person_however_their_requests_for_it_are_tied(
    services: Services, account_id: UUID, kim: UUID, ask: Ask
) -> None:
    """The elder may be tied to the later, when it was verified after."""
    with transaction(services) as tx:
        restriction.restrict_person(tx, account_id, kim)
    with transaction(services) as tx:
        elder = handling.receive(tx, services.policy, account_id, "erasure", person_id=kim)
    later = ask("erasure", kim)
    with transaction(services) as tx:
        tied = handling.verify(tx, services.policy, elder.row.request_id, IDENTIFIED)
    assert tied.row.duplicate_of == later.row.request_id
    with transaction(services) as tx:
        erasure.erase_person(tx, account_id, kim, people.find_person(tx, account_id, kim).version, restricted=True)
    assert state(services, elder, later) == ["withdrawn"] * 2
