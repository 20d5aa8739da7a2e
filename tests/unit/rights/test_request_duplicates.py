"""Requests that ask for what a running one asks for: answered with it, and nobody left behind."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, func, select

from cloudpriv.bootstrap import Services
from cloudpriv.platform.errors import ConflictError
from cloudpriv.rights import requests
from cloudpriv.rights.cases.exports import SLOW
from cloudpriv.rights.requests import KnownRequest
from cloudpriv.rights.tables import Export
from tests.exports import IDENTIFIED, fail_exports, run
from tests.factories import NOW, make_account, make_person, transaction
from tests.requests import read, receive, state

MOMENT = timedelta(seconds=1)


@pytest.fixture
def account_id(services: Services) -> UUID:
    """An account."""
    return make_account(services).row.account_id


def tied(known: KnownRequest, to: KnownRequest) -> bool:
    return known.row.duplicate_of == to.row.request_id


def exports(services: Services) -> int:
    with transaction(services) as tx:
        return tx.session.scalars(select(func.count()).select_from(Export)).one()


def test_a_second_request_is_answered_with_the_running_one(services: Services, account_id: UUID) -> None:
    first, second = receive(services, account_id), receive(services, account_id)
    assert tied(second, first)
    assert second.answer.export_id == first.answer.export_id
    assert exports(services) == 1
    run(services, first.answer.export_id)
    assert state(services, first, second) == ["completed", "completed"]
    assert read(services, second).answer.status == "ready"
    assert read(services, second).details["outcome"] == "archive_ready"
    third = receive(services, account_id)
    assert third.row.duplicate_of is None, "what has ended answers nobody any more"


def test_one_that_ends_by_refusal_or_later_takes_the_others_along(services: Services, account_id: UUID) -> None:
    first, second = (receive(services, account_id, "objection", details={"text": "no"}) for _ in range(2))
    assert tied(second, first)
    with transaction(services) as tx:
        requests.extend(tx, services.policy, first.row.request_id, "many of them")
    assert read(services, second).row.due_on == read(services, first).row.due_on
    assert read(services, second).details["extension"] == {"reason": "many of them"}
    with transaction(services) as tx:
        requests.refuse(tx, services.policy, first.row.request_id, "compelling_grounds", "weighed")
    assert state(services, first, second) == ["refused", "refused"]
    ended = read(services, second)
    assert (ended.row.ground, ended.details["decision"]) == ("compelling_grounds", {"reason": "weighed"})
    assert (ended.row.completed_at, ended.row.decided_by) == (NOW, "operator:cli")


def test_a_duplicate_is_not_decided_by_itself(services: Services, account_id: UUID) -> None:
    _, second = receive(services, account_id), receive(services, account_id)
    request_id, policy = second.row.request_id, services.policy
    with transaction(services) as tx:
        with pytest.raises(ConflictError):
            requests.complete(tx, policy, request_id, "done")
        with pytest.raises(ConflictError):
            requests.refuse(tx, policy, request_id, "excessive", "twice")
        with pytest.raises(ConflictError):
            requests.extend(tx, policy, request_id, "twice")
        with pytest.raises(ConflictError):
            requests.restart_export(tx, request_id)


def test_an_unverified_request_neither_blocks_nor_swallows_a_verified_one(services: Services, account_id: UUID) -> None:
    unknown = receive(services, account_id, identity=None)
    verified = receive(services, account_id)
    assert (unknown.row.duplicate_of, verified.row.duplicate_of) == (None, None)
    run(services, verified.answer.export_id)
    assert state(services, unknown, verified) == ["received", "completed"]


def test_one_that_is_verified_later_is_tied_then(services: Services, account_id: UUID) -> None:
    early = receive(services, account_id, identity=None)
    running = receive(services, account_id)
    with transaction(services) as tx:
        assert tied(requests.verify(tx, services.policy, early.row.request_id, IDENTIFIED), running)


@pytest.mark.parametrize("type_", ["rectification", "objection", "consent_withdrawal"])
def test_what_differs_in_what_it_asks_for_is_no_duplicate(services: Services, account_id: UUID, type_: str) -> None:
    first = receive(services, account_id, type_, details={"text": "this"})
    assert receive(services, account_id, type_, details={"text": "that"}).row.duplicate_of is None
    assert tied(receive(services, account_id, type_, details={"text": "this"}), first)


def test_another_type_scope_person_or_account_is_no_duplicate(services: Services, account_id: UUID) -> None:
    kim, robin = (make_person(services, account_id).row.person_id for _ in range(2))
    asked: list[dict[str, Any]] = [{}, {"type_": "portability"}, {"person_id": kim}, {"person_id": robin}]
    first = [receive(services, account_id, **each) for each in asked]
    first.append(receive(services, make_account(services).row.account_id))
    assert [each.row.duplicate_of for each in first] == [None] * 5
    assert tied(receive(services, account_id, person_id=robin), first[3])


def test_whoever_asks_again_has_a_failed_export_begun_anew(
    services: Services, account_id: UUID, owner_engine: Engine
) -> None:
    first = receive(services, account_id)
    fail_exports(owner_engine)
    second = receive(services, account_id)
    assert tied(second, first)
    assert second.answer.status == "pending"
    assert second.answer.export_id != first.answer.export_id
    run(services, second.answer.export_id)
    assert state(services, first, second) == ["completed", "completed"]


def test_an_export_that_is_slow_holds_up_nobody(services: Services, account_id: UUID) -> None:
    slow = receive(services, account_id)
    assert tied(receive(services, account_id, now=NOW + SLOW - MOMENT), slow)
    anew = receive(services, account_id, now=NOW + SLOW)
    assert (anew.row.duplicate_of, anew.answer.status) == (None, "pending")
    run(services, anew.answer.export_id, NOW + SLOW)
    assert state(services, slow, anew) == ["in_progress", "completed"]
    run(services, slow.answer.export_id, NOW + SLOW)
    assert state(services, slow) == ["completed"]


def test_the_eldest_duplicate_takes_the_place_of_one_that_is_withdrawn(services: Services, account_id: UUID) -> None:
    first, second, third = (receive(services, account_id) for _ in range(3))
    with transaction(services) as tx:
        requests.withdraw(tx, first.row.request_id)
    assert state(services, first, second, third) == ["withdrawn", "in_progress", "in_progress"]
    assert read(services, second).row.duplicate_of is None
    assert tied(read(services, third), second)
    assert exports(services) == 1, "its export is theirs"
    run(services, first.answer.export_id)
    assert state(services, first, second, third) == ["withdrawn", "completed", "completed"]


def test_a_duplicate_is_withdrawn_by_itself(services: Services, account_id: UUID) -> None:
    first, second = receive(services, account_id), receive(services, account_id)
    with transaction(services) as tx:
        requests.withdraw(tx, second.row.request_id)
    run(services, first.answer.export_id)
    assert state(services, first, second) == ["completed", "withdrawn"]


def test_who_keeps_the_account_withdraws_every_request_for_its_erasure(services: Services, account_id: UUID) -> None:
    first, second = (receive(services, account_id, "erasure") for _ in range(2))
    with transaction(services) as tx:
        requests.withdraw(tx, first.row.request_id)
    assert state(services, first, second) == ["withdrawn", "withdrawn"]


def test_of_requests_at_the_same_moment_one_runs_and_the_others_are_tied_to_it(services: Services, account_id: UUID) -> None:
    with ThreadPoolExecutor(4) as askers:
        found = [each.result() for each in [askers.submit(receive, services, account_id) for _ in range(4)]]
    running = [known for known in found if known.row.duplicate_of is None]
    assert (len(running), exports(services)) == (1, 1)
    assert all(tied(known, running[0]) for known in found if known not in running)


def test_of_two_decisions_at_the_same_moment_one_is_refused(services: Services, account_id: UUID) -> None:
    request_id = receive(services, account_id, "objection").row.request_id

    def decide(ground: str) -> bool:
        try:
            with transaction(services) as tx:
                requests.refuse(tx, services.policy, request_id, ground, "weighed")
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(2) as deciders:
        won = list(deciders.map(decide, ["excessive", "compelling_grounds"]))
    assert sorted(won) == [False, True]
    with transaction(services) as tx:
        ground = requests.read_request(tx, request_id).row.ground
    assert ground == ("excessive" if won[0] else "compelling_grounds")


def test_nobody_waits_for_one_that_was_put_off_beyond_their_own_day(services: Services) -> None:
    account_id = make_account(services).row.account_id
    first = receive(services, account_id, "objection", details={"text": "no"})
    with transaction(services, now=NOW + timedelta(days=20)) as tx:
        requests.extend(tx, services.policy, first.row.request_id, "Seventy people are concerned.")
    second = receive(services, account_id, "objection", details={"text": "no"}, now=NOW + timedelta(days=21))
    assert second.row.duplicate_of is None


def test_one_that_is_due_earlier_is_not_tied_to_one_that_is_due_later(services: Services, account_id: UUID) -> None:
    first = receive(services, account_id, "objection", details={"text": "no"})
    letter = receive(services, account_id, "objection", details={"text": "no"}, received_at=NOW - timedelta(days=28))
    assert letter.row.due_on < first.row.due_on
    assert letter.row.duplicate_of is None
    third = receive(services, account_id, "objection", details={"text": "no"})
    assert tied(third, first)


def test_a_copy_in_another_language_is_another_copy(services: Services, account_id: UUID) -> None:
    first, second, third = (receive(services, account_id, language=language) for language in ("sv", "fr", "sv"))
    assert (second.row.duplicate_of, tied(third, first)) == (None, True)
    assert (first.answer.language, second.answer.language) == ("sv", "fr")


def test_the_version_changes_with_what_it_stands_for(services: Services, account_id: UUID, owner_engine: Engine) -> None:
    first, second, third = (receive(services, account_id) for _ in range(3))
    versions = [read(services, each).row.version for each in (second, third)]
    with transaction(services) as tx:
        requests.withdraw(tx, first.row.request_id)
    assert read(services, second).row.duplicate_of is None
    assert tied(read(services, third), second)
    assert [read(services, each).row.version for each in (second, third)] == [each + 1 for each in versions]
    fail_exports(owner_engine)
    with transaction(services) as tx:
        requests.restart_export(tx, second.row.request_id)
    assert read(services, second).row.version == versions[0] + 2


def test_a_failed_copy_is_begun_anew_in_its_own_language_alone(
    services: Services, account_id: UUID, owner_engine: Engine
) -> None:
    receive(services, account_id, language="sv")
    fail_exports(owner_engine)
    second = receive(services, account_id, language="fr")
    assert (second.row.duplicate_of, second.answer.language) == (None, "fr")


def test_an_erasure_that_is_due_earlier_is_tied_and_brings_the_day_forward(services: Services, account_id: UUID) -> None:
    first = receive(services, account_id, "erasure")
    letter = receive(services, account_id, "erasure", received_at=NOW - timedelta(days=28))
    assert tied(letter, first)
    assert read(services, first).row.due_on == letter.row.due_on
