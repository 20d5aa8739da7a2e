"""Requests together with what they do: granted and done at once, or by staff, and undone with what they had begun."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import people
from cloudpriv.platform.errors import AccountClosingError, ConflictError, ForbiddenError, InvalidError
from cloudpriv.rights import handling, requests, restriction
from cloudpriv.rights.closure import COOLING_OFF
from cloudpriv.rights.requests import KnownRequest
from cloudpriv.rights.restriction_notice import NOTICE
from tests.exports import IDENTIFIED, run
from tests.factories import NOW, make_account, make_person, transaction
from tests.requests import DOCUMENTS, member, owner, read, state

DAY = timedelta(days=1)


@pytest.fixture
def account_id(services: Services) -> UUID:
    """An account."""
    return make_account(services).row.account_id


@pytest.fixture
def handle(services: Services, account_id: UUID) -> Callable[..., KnownRequest]:
    """Takes a request about the account, identified, and has it carried out."""

    def taken(type_: str, **about: object) -> KnownRequest:
        with transaction(services) as tx:
            given = {"identity": IDENTIFIED, **about}
            return handling.receive(tx, services.policy, account_id, type_, **given)  # type: ignore[arg-type]  # whatever a test gives

    return taken


Handle = Callable[..., KnownRequest]


def scalar(owner_engine: Engine, query: str) -> object:
    with owner_engine.connect() as connection:
        return connection.scalar(text(query))


def status(owner_engine: Engine) -> object:
    return scalar(owner_engine, "SELECT status FROM accounts")


def test_a_rectification_is_done_at_once(services: Services, account_id: UUID, handle: Handle) -> None:
    person_id = make_person(services, account_id, name="Kim Exampel").row.person_id
    known = handle("rectification", person_id=person_id, details={"changes": {"name": "Kim Example"}})
    assert (known.row.status, known.row.version, known.details["outcome"]) == ("completed", 1, "rectified")
    with transaction(services) as tx:
        assert people.read_person(tx, account_id, person_id).identity["name"] == "Kim Example"


def test_what_cannot_be_carried_out_is_not_taken_and_can_be_kept_for_staff(
    services: Services, account_id: UUID, handle: Handle, owner_engine: Engine
) -> None:
    wrong = {"details": {"changes": {"role": "owner"}}, "person_id": make_person(services, account_id).row.person_id}
    with pytest.raises(InvalidError):
        handle("rectification", **wrong)
    assert scalar(owner_engine, "SELECT count(*) FROM requests") == 0
    assert handle("rectification", **wrong, identity=None).row.status == "received"


def test_a_request_by_letter_is_carried_out_once_its_asker_is_identified(
    services: Services, handle: Handle, owner_engine: Engine
) -> None:
    known = handle("restriction", identity=None, channel="letter")
    assert (known.row.status, status(owner_engine)) == ("received", "active")
    with transaction(services) as tx:
        done = handling.verify(tx, services.policy, known.row.request_id, DOCUMENTS)
    assert (done.row.status, done.details["outcome"]) == ("completed", "restricted")
    assert status(owner_engine) == "restricted"


def test_a_copy_is_begun_and_ends_with_its_export(services: Services, handle: Handle) -> None:
    known = handle("portability")
    with transaction(services) as tx, pytest.raises(ConflictError):
        handling.grant(tx, services.policy, known.row.request_id)
    run(services, known.answer.export_id)
    assert state(services, known) == ["completed"]


def test_the_erasure_of_a_person_leaves_a_request_without_what_they_said(
    services: Services, account_id: UUID, handle: Handle
) -> None:
    person_id = make_person(services, account_id).row.person_id
    known = handle("erasure", person_id=person_id, details={"text": "canary"})
    found = read(services, known)
    assert (found.row.status, found.row.person_id, found.row.scope) == ("completed", None, "person")
    assert found.details == {"outcome": "erased"}


def test_open_requests_of_an_erased_person_end_with_the_one_that_erases(
    services: Services, account_id: UUID, handle: Handle
) -> None:
    person_id, other_id = (make_person(services, account_id).row.person_id for _ in range(2))
    asked = [handle("access", person_id=person_id), handle("access", person_id=person_id)]
    asked += [handle("objection", person_id=person_id, identity=None)]
    kept = [handle("access", person_id=other_id), handle("access")]
    erased = handle("erasure", person_id=person_id)
    assert state(services, erased, *asked, *kept) == ["completed"] + ["withdrawn"] * 3 + ["in_progress"] * 2


def test_an_account_is_closed_after_its_cooling_off_and_kept_by_withdrawing(
    services: Services, handle: Handle, owner_engine: Engine
) -> None:
    known, again = handle("erasure"), handle("erasure")
    assert (known.row.status, known.row.effective_at) == ("in_progress", NOW + COOLING_OFF)
    assert again.row.duplicate_of == known.row.request_id
    assert status(owner_engine) == "closing"
    with transaction(services) as tx:
        with pytest.raises(ConflictError):
            handling.grant(tx, services.policy, known.row.request_id)
        with pytest.raises(ConflictError):
            handling.refuse(tx, services.policy, known.row.request_id, "legal_claims", "a claim")
    with transaction(services, now=NOW + COOLING_OFF) as tx, pytest.raises(AccountClosingError):
        handling.withdraw(tx, known.row.request_id)
    with transaction(services, now=NOW + DAY) as tx:
        assert handling.withdraw(tx, known.row.request_id).row.status == "withdrawn"
    assert (status(owner_engine), state(services, again)) == ("active", ["withdrawn"])


def test_an_objection_waits_for_staff_who_may_uphold_it(services: Services, handle: Handle, owner_engine: Engine) -> None:
    known = handle("objection", details={"text": "my situation"})
    assert (known.row.status, status(owner_engine)) == ("in_progress", "active")
    with transaction(services) as tx:
        done = handling.grant(tx, services.policy, known.row.request_id)
    assert (done.row.status, done.details["outcome"]) == ("completed", "objection_upheld")
    assert status(owner_engine) == "restricted"


@pytest.mark.parametrize("end", ["refuse", "withdraw"])
def test_what_an_objection_had_restricted_is_free_when_the_last_of_them_ends(
    services: Services, account_id: UUID, handle: Handle, owner_engine: Engine, end: str
) -> None:
    first, second = (handle("objection", details={"text": each, "restrict": True}) for each in ("this", "that"))
    found = []
    for known in (first, second):
        with transaction(services) as tx:
            if end == "refuse":
                handling.refuse(tx, services.policy, known.row.request_id, "compelling_grounds", "weighed")
            else:
                handling.withdraw(tx, known.row.request_id)
        with transaction(services) as tx:
            found.append((status(owner_engine), restriction.standing(tx, account_id, None).ends_at))
    refused = ("restricted", NOW + NOTICE)  # the asker is told before
    assert found == [("restricted", None), refused if end == "refuse" else ("active", None)]


def test_a_rectification_in_words_is_done_by_staff_who_say_what_they_did(services: Services, handle: Handle) -> None:
    known = handle("rectification", details={"text": "my name is spelt wrongly"})
    assert known.row.status == "in_progress"
    with transaction(services) as tx:
        done = handling.grant(tx, services.policy, known.row.request_id, "The name was corrected on the phone.")
    assert (done.row.status, done.details["outcome"]) == ("completed", "The name was corrected on the phone.")
    with transaction(services) as tx, pytest.raises(ConflictError):
        handling.grant(tx, services.policy, known.row.request_id)


def test_nobody_grants_their_own_request(services: Services, account_id: UUID, handle: Handle) -> None:
    boss, kim = (make_person(services, account_id).row.person_id for _ in range(2))
    known = handle("objection", person_id=kim)
    for actor in (owner(account_id, boss), member(account_id, kim)):
        with transaction(services, actor) as tx, pytest.raises(ForbiddenError):
            handling.grant(tx, services.policy, known.row.request_id)


def test_an_owner_does_not_withdraw_what_another_asked_about_themselves(
    services: Services, account_id: UUID, handle: Handle
) -> None:
    boss, kim = (make_person(services, account_id).row.person_id for _ in range(2))
    known, whole = handle("objection", person_id=kim), handle("objection")
    with transaction(services, owner(account_id, boss)) as tx:
        with pytest.raises(ForbiddenError):
            handling.withdraw(tx, known.row.request_id)
        handling.withdraw(tx, whole.row.request_id)
    with transaction(services, member(account_id, kim)) as tx:
        handling.withdraw(tx, known.row.request_id)
    assert state(services, known, whole) == ["withdrawn", "withdrawn"]


def test_what_staff_verified_without_carrying_it_out_is_granted_later(
    services: Services, account_id: UUID, owner_engine: Engine
) -> None:
    with transaction(services) as tx:
        known = requests.receive(tx, services.policy, account_id, "restriction", identity=IDENTIFIED)
    assert known.row.status == "identity_verified"
    with transaction(services) as tx:
        assert handling.grant(tx, services.policy, known.row.request_id).row.status == "completed"
    assert status(owner_engine) == "restricted"
