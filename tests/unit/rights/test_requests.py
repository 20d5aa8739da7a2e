"""Requests of every type, from receipt to their end, and copies of the data."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import SERVICES, Actor, Service
from cloudpriv.platform.errors import (
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    NotReadyError,
)
from cloudpriv.rights import leases, requests
from cloudpriv.rights.leases import LeaseLostError
from cloudpriv.rights.requests import GROUNDS, TYPES, KnownRequest
from tests.exports import IDENTIFIED, ask, begin_purge, fail_exports, run, stored
from tests.factories import BACKEND, NOW, make_account, make_person, transaction
from tests.requests import DOCUMENTS, member, owner, read, receive, state

DAY = timedelta(days=1)


def set_status(owner: Engine, account_id: UUID, status: str) -> None:
    with owner.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = :status"), {"status": status})


@pytest.mark.parametrize(
    ("service", "due_on"),
    [("talk2m", date(2026, 7, 22)), ("intesis", date(2026, 7, 21))],  # 21 July is the Belgian national day
)
def test_an_answer_is_due_by_the_calendar_of_the_controllers_country(
    services: Services, service: Service, due_on: date
) -> None:
    account_id = make_account(services, service=service).row.account_id
    with transaction(services, now=datetime(2026, 6, 21, 23, 59, tzinfo=UTC)) as tx:
        assert requests.receive(tx, services.policy, account_id, "portability", identity=IDENTIFIED).row.due_on == due_on


def test_nobody_asks_about_an_account_that_is_gone(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    set_status(owner_engine, account_id, "purging")
    with pytest.raises(NotFoundError):
        ask(services, account_id)


def test_a_restricted_account_is_still_exported(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    set_status(owner_engine, account_id, "restricted")
    export_id = ask(services, account_id)
    run(services, export_id)
    with transaction(services) as tx:
        assert requests.read_export(tx, export_id).status == "ready"


def test_the_other_service_sees_neither_request_nor_export(services: Services) -> None:
    other = next(service for service in SERVICES if service != BACKEND.service)
    account_id = make_account(services, service=other).row.account_id
    with transaction(services) as tx:
        known = requests.receive(tx, services.policy, account_id, "access", identity=IDENTIFIED)
    with transaction(services, BACKEND) as tx:
        with pytest.raises(NotFoundError):
            requests.receive(tx, services.policy, account_id, "access", identity=IDENTIFIED)
        with pytest.raises(NotFoundError):
            requests.list_requests(tx, account_id, after=None, limit=10)
        with pytest.raises(NotFoundError):
            requests.read_request(tx, known.row.request_id)
        with pytest.raises(NotFoundError):
            requests.read_export(tx, known.answer.export_id)
        with pytest.raises(NotFoundError):
            requests.open_archive(tx, known.answer.export_id)


def test_an_archive_is_opened_only_between_ready_and_expired(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    export_id = ask(services, account_id)
    with transaction(services) as tx, pytest.raises(NotReadyError):
        requests.open_archive(tx, export_id)
    run(services, export_id)
    with transaction(services) as tx:
        expires_at = requests.read_export(tx, export_id).expires_at
        assert requests.open_archive(tx, export_id)
    assert expires_at == datetime(2026, 6, 9, tzinfo=UTC)  # seven days after NOW, with the last day whole
    with transaction(services, now=expires_at) as tx, pytest.raises(GoneError):
        requests.open_archive(tx, export_id)
    begin_purge(owner_engine, account_id)
    with transaction(services) as tx, pytest.raises(GoneError):
        requests.open_archive(tx, export_id)


def test_every_read_of_a_request_leaves_an_event(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    with transaction(services) as tx:
        known = requests.receive(tx, services.policy, account_id, "access", identity=IDENTIFIED)
    run(services, known.answer.export_id)
    with transaction(services) as tx:
        requests.read_request(tx, known.row.request_id)
        requests.list_requests(tx, account_id, after=None, limit=10)
        requests.read_export(tx, known.answer.export_id)
        requests.open_archive(tx, known.answer.export_id)
    query = text("SELECT action FROM audit_events WHERE account_id = :id AND at = :now AND action <> 'account.create'")
    with owner_engine.connect() as connection:
        found = connection.scalars(query, {"id": account_id, "now": NOW})
        assert sorted(found) == [
            "export.complete", "export.create", "export.download", "export.read",
            "request.begin", "request.complete", "request.create", "request.list", "request.read", "request.verify",
        ]  # fmt: skip


def test_a_request_whose_asker_is_not_identified_waits(services: Services) -> None:
    account_id = make_account(services).row.account_id
    known = receive(services, account_id, identity=None, channel="letter")
    assert (known.row.status, known.row.channel, known.export) == ("received", "letter", None)
    with transaction(services, now=NOW + DAY) as tx:
        verified = requests.verify(tx, services.policy, known.row.request_id, DOCUMENTS)
    row = verified.row
    assert (row.status, row.identity_method, row.identity_verified_by) == ("in_progress", "documents", "operator:cli")
    assert (row.identity_verified_at, row.received_at) == (NOW + DAY, NOW)
    assert verified.answer.status == "pending"
    assert verified.details["identity"] == {"note": DOCUMENTS.note}


def test_what_no_machine_answers_waits_verified(services: Services) -> None:
    account_id = make_account(services).row.account_id
    for type_ in sorted(set(requests.TYPES) - {"access", "portability"}):
        known = receive(services, account_id, type_)
        assert (known.row.status, known.export) == ("identity_verified", None), type_
        with transaction(services) as tx:
            assert requests.begin(tx, services.policy, known.row.request_id).row.status == "in_progress"


def test_a_letter_counts_from_the_day_it_came_in(services: Services) -> None:
    account_id = make_account(services).row.account_id
    known = receive(services, account_id, channel="letter", received_at=datetime(2026, 5, 20, 8, tzinfo=UTC))
    assert (known.row.received_at.date(), known.row.due_on) == (date(2026, 5, 20), date(2026, 6, 22))


def test_what_is_asked_is_sealed(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    known = receive(services, account_id, "objection", details={"text": "canary of mine"})
    with transaction(services) as tx:
        requests.begin(tx, services.policy, known.row.request_id)
        requests.refuse(tx, services.policy, known.row.request_id, "compelling_grounds", "canary of staff")
    with owner_engine.connect() as connection:
        assert b"canary" not in connection.scalar(text("SELECT details FROM requests"))
    details = read(services, known).details
    assert (details["text"], details["decision"]) == ("canary of mine", {"reason": "canary of staff"})


@pytest.mark.parametrize(
    ("pointer", "wrong"),
    [("/type", {"type_": "everything"}), ("/received_at", {"received_at": NOW + timedelta(seconds=1)})],
)
def test_a_request_with_a_wrong_value_is_not_taken(services: Services, pointer: str, wrong: dict[str, Any]) -> None:
    account_id = make_account(services).row.account_id
    with pytest.raises(InvalidError) as refusal:
        receive(services, account_id, **wrong)
    assert [error.pointer for error in refusal.value.errors] == [pointer]


def test_a_request_about_nobody_of_the_account_is_not_taken(services: Services) -> None:
    account_id = make_account(services).row.account_id
    stranger = make_person(services, make_account(services).row.account_id).row.person_id
    with pytest.raises(NotFoundError):
        receive(services, account_id, person_id=stranger)


def test_an_account_that_can_still_be_kept_is_exported_while_it_closes(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'closing', closes_at = :at"), {"at": NOW + DAY})
    assert receive(services, account_id).answer.status == "pending"


@pytest.mark.parametrize("closes_at", [NOW - DAY, None])
@pytest.mark.parametrize("type_", TYPES)
def test_a_request_is_recorded_until_its_account_is_gone(
    services: Services, owner_engine: Engine, type_: str, closes_at: datetime | None
) -> None:
    account_id = make_account(services).row.account_id
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = 'closing', closes_at = :at"), {"at": closes_at})
    known = receive(services, account_id, type_)
    assert (read(services, known).row.status, known.row.due_on) == (known.row.status, date(2026, 7, 1))


def test_the_time_to_answer_is_extended_once_with_a_reason_within_the_first_month(services: Services) -> None:
    known = receive(services, make_account(services).row.account_id, "objection")
    request_id, due_on = known.row.request_id, known.row.due_on
    assert due_on == date(2026, 7, 1)
    last_moment = datetime(2026, 7, 1, 23, 59, 59, tzinfo=UTC)
    with transaction(services, now=last_moment + timedelta(seconds=1)) as tx, pytest.raises(ConflictError):
        requests.extend(tx, services.policy, request_id, "very many of them")
    with transaction(services, now=last_moment) as tx, pytest.raises(InvalidError):
        requests.extend(tx, services.policy, request_id, "  ")
    with transaction(services, now=last_moment) as tx:
        extended = requests.extend(tx, services.policy, request_id, "very many of them")
    assert (extended.row.due_on, extended.row.extended_at) == (date(2026, 9, 1), last_moment)
    assert extended.details["extension"] == {"reason": "very many of them"}
    with transaction(services, now=last_moment) as tx, pytest.raises(ConflictError):
        requests.extend(tx, services.policy, request_id, "still more")


@pytest.mark.parametrize("type_", TYPES)
def test_a_request_is_refused_on_a_ground_of_its_type_alone(services: Services, type_: str) -> None:
    for ground in (*GROUNDS, "no_time"):
        known = receive(services, make_account(services).row.account_id, type_)
        with transaction(services) as tx:
            if type_ in GROUNDS.get(ground, {}) and ground != "identity_not_verified":
                row = requests.refuse(tx, services.policy, known.row.request_id, ground, "so it is").row
                assert (row.status, row.ground, row.decided_by) == ("refused", ground, "operator:cli")
                assert (row.decided_at, row.completed_at) == (NOW, NOW)
            else:
                with pytest.raises(InvalidError):
                    requests.refuse(tx, services.policy, known.row.request_id, ground, "so it is")


def test_who_is_not_identified_may_be_refused_for_that_and_not_without_a_reason(services: Services) -> None:
    known = receive(services, make_account(services).row.account_id, identity=None)
    with transaction(services) as tx:
        with pytest.raises(InvalidError):
            requests.refuse(tx, services.policy, known.row.request_id, "identity_not_verified", "")
        requests.refuse(tx, services.policy, known.row.request_id, "identity_not_verified", "no answer in a month")
    assert state(services, known) == ["refused"]


def test_an_export_that_nobody_waits_for_any_more_is_stopped(services: Services, worker_services: Services) -> None:
    known = receive(services, make_account(services).row.account_id)
    lease = leases.claim(worker_services.controller, known.answer.export_id, lambda: NOW)
    assert lease is not None
    with transaction(services) as tx:
        requests.withdraw(tx, known.row.request_id)
    with pytest.raises(LeaseLostError):
        lease.confirm()
    run(worker_services, known.answer.export_id)
    assert stored(services, known.row.account_id) == []
    assert state(services, known) == ["withdrawn"]


def test_an_export_that_failed_is_restarted_by_staff(services: Services, owner_engine: Engine) -> None:
    known = receive(services, make_account(services).row.account_id, language="sv")
    with transaction(services) as tx, pytest.raises(ConflictError):
        requests.restart_export(tx, known.row.request_id)
    fail_exports(owner_engine)
    assert read(services, known).row.status == "in_progress", "it waits for staff"
    with transaction(services) as tx:
        again = requests.restart_export(tx, known.row.request_id).answer
    assert again.export_id != known.answer.export_id
    assert (again.status, again.language, again.request_id) == ("pending", "sv", known.row.request_id)
    run(services, again.export_id)
    assert state(services, known) == ["completed"]
    with transaction(services) as tx, pytest.raises(ConflictError):
        requests.restart_export(tx, known.row.request_id)


def test_an_owner_sees_the_accounts_requests_and_a_member_their_own(services: Services) -> None:
    account_id = make_account(services).row.account_id
    boss, kim = (make_person(services, account_id).row.person_id for _ in range(2))
    whole, own, other = (receive(services, account_id, person_id=each) for each in (None, kim, boss))
    foreign = receive(services, make_account(services).row.account_id)

    def seen(actor: Actor) -> set[UUID]:
        with transaction(services, actor) as tx:
            return {each.row.request_id for each in requests.list_requests(tx, account_id, after=None, limit=10)}

    def readable(actor: Actor, known: KnownRequest) -> bool:
        with transaction(services, actor) as tx:
            try:
                requests.read_request(tx, known.row.request_id)
                requests.read_export(tx, known.answer.export_id)
            except NotFoundError:
                return False
            return True

    assert seen(owner(account_id, boss)) == {each.row.request_id for each in (whole, own, other)}
    assert seen(member(account_id, kim)) == {own.row.request_id}
    everything = (whole, own, other, foreign)
    assert [readable(owner(account_id, boss), each) for each in everything] == [True, False, True, False]
    assert [readable(member(account_id, kim), each) for each in everything] == [False, True, False, False]


def test_an_owner_sees_that_a_member_asked_and_neither_words_nor_copy(services: Services) -> None:
    account_id = make_account(services).row.account_id
    boss, kim = (make_person(services, account_id).row.person_id for _ in range(2))
    own = receive(services, account_id, "access", person_id=kim, details={"text": "canary"})
    refused = receive(services, account_id, "objection", person_id=kim, details={"text": "canary"})
    with transaction(services) as tx:
        requests.refuse(tx, services.policy, refused.row.request_id, "compelling_grounds", "canary")
    actor = owner(account_id, boss)
    with transaction(services, actor) as tx:
        listed = requests.list_requests(tx, account_id, after=None, limit=10)
        latest = requests.list_latest(tx, account_id, before=None, limit=10)
        assert requests.list_latest(tx, account_id, exported=True, before=None, limit=10) == []
    for known in (*listed, *latest, read(services, own, actor)):
        assert (known.export, known.details, known.is_told) == (None, {}, False)
        assert known.row.type in ("access", "objection")
    for look in (requests.read_export, requests.progress_of, requests.open_archive):
        with transaction(services, actor) as tx, pytest.raises(NotFoundError):
            look(tx, own.answer.export_id)
    assert read(services, own, member(account_id, kim)).details["text"] == "canary"
    assert read(services, own).details["text"] == "canary"


def test_an_owner_asks_for_nobody_else(services: Services) -> None:
    account_id = make_account(services).row.account_id
    boss, kim = (make_person(services, account_id).row.person_id for _ in range(2))
    with pytest.raises(NotFoundError):
        receive(services, account_id, actor=owner(account_id, boss), person_id=kim)


@pytest.mark.parametrize("end", ["complete", "refuse", "withdraw"])
def test_of_what_was_to_be_rectified_only_the_fields_are_kept(services: Services, end: str) -> None:
    account_id = make_account(services).row.account_id
    details = {"text": "see there", "changes": {"phones": ["canary"], "customer": {"company_name": "canary"}}}
    known, tied = (receive(services, account_id, "rectification", details=details) for _ in range(2))
    with transaction(services) as tx:
        request_id = known.row.request_id
        requests.begin(tx, services.policy, request_id)
        if end == "complete":
            requests.complete(tx, services.policy, request_id, "rectified")
        elif end == "refuse":
            requests.refuse(tx, services.policy, request_id, "data_accurate", "it was right")
        else:
            requests.withdraw(tx, tied.row.request_id)
            requests.withdraw(tx, request_id)
    for each in (known, tied):
        found = read(services, each).details
        assert (found["fields"], found["text"]) == (["customer", "phones"], "see there")
        assert "canary" not in str(found)


def test_a_member_asks_about_themselves_alone_and_nobody_decides_their_own_request(services: Services) -> None:
    account_id = make_account(services).row.account_id
    boss, kim = (make_person(services, account_id).row.person_id for _ in range(2))
    for person_id in (None, boss):
        with pytest.raises(NotFoundError):
            receive(services, account_id, actor=member(account_id, kim), person_id=person_id)
    known = receive(services, account_id, "objection", actor=member(account_id, kim), person_id=kim)
    for actor in (member(account_id, kim), owner(account_id, boss)):
        with transaction(services, actor) as tx:
            with pytest.raises(ForbiddenError):
                requests.refuse(tx, services.policy, known.row.request_id, "excessive", "why not")
            with pytest.raises(ForbiddenError):
                requests.extend(tx, services.policy, known.row.request_id, "why not")
    with transaction(services, member(account_id, kim)) as tx:
        assert requests.withdraw(tx, known.row.request_id).row.status == "withdrawn"


def test_staff_list_what_is_open_in_their_service(services: Services) -> None:
    other = next(service for service in SERVICES if service != BACKEND.service)
    ours, theirs = (make_account(services, service=each).row.account_id for each in (BACKEND.service or "talk2m", other))
    waiting = receive(services, ours, identity=None, details={"text": "canary"})
    running = receive(services, ours, now=NOW - timedelta(days=60))
    receive(services, theirs)
    ended = receive(services, ours, "objection")
    with transaction(services) as tx:
        requests.withdraw(tx, ended.row.request_id)

    def listed(limit: int = 10, after: UUID | None = None, **options: Any) -> list[UUID]:
        with transaction(services, BACKEND) as tx:
            return [each.row.request_id for each in requests.list_open(tx, limit=limit, after=after, **options)]

    ids = [waiting.row.request_id, running.row.request_id]
    assert listed() == ids
    assert (listed(limit=1, after=ids[0]), listed(limit=1)) == (ids[1:], ids), "one more tells that there is more"
    assert (listed(status="received"), listed(overdue=True), listed(nearly_due=True)) == (ids[:1], ids[1:], [])


def test_each_request_that_staff_is_shown_leaves_an_event(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    receive(services, account_id)
    with transaction(services, BACKEND, NOW + DAY) as tx:
        requests.list_open(tx, after=None, limit=10)
    query = text("SELECT action, account_id FROM audit_events WHERE at = :at")
    with owner_engine.connect() as connection:
        found = connection.execute(query, {"at": NOW + DAY})
        assert [tuple(row) for row in found] == [("request.read", account_id)]
