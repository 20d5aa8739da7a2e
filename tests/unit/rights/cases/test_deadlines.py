"""Deadlines of requests: what is overdue, nearly due or stuck is counted, listed and mailed, and nothing else is."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, func, select, text
from structlog.testing import capture_logs

from cloudpriv.bootstrap import Services
from cloudpriv.controller import delivery
from cloudpriv.controller.outbox import Mail
from cloudpriv.rights import export, leases, letters, requests, restriction
from cloudpriv.rights.cases import deadlines
from cloudpriv.rights.cases.deadlines import Figures, Pressing
from cloudpriv.rights.leases import ATTEMPTS, LEASE
from cloudpriv.rights.requests import KnownRequest
from tests.exports import begin_purge, fail_exports, run
from tests.factories import NOW, make_account, make_person, transaction
from tests.mailbox import Mailbox, mail_server, with_mail
from tests.purges import await_blocked
from tests.requests import read, receive
from workers import duties, jobs

DAY = timedelta(days=1)
DUE = datetime(2026, 7, 1, tzinfo=UTC)  # of what is received at NOW
MOMENT = timedelta.resolution
PRIVACY = "privacy@vendor.example"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """What the mail server took."""
    with mail_server() as found:
        yield found


def ask(services: Services, type_: str = "objection", now: datetime = NOW) -> KnownRequest:
    return receive(services, make_account(services).row.account_id, type_, now=now)


def figures(services: Services, now: datetime) -> Figures:
    with transaction(services, now=now) as tx:
        return deadlines.read(tx)


def pressing(services: Services, now: datetime) -> Pressing:
    with transaction(services, now=now) as tx:
        return deadlines.pressing(tx)


def digest(worker: Services, mailbox: Mailbox, now: datetime, address: str | None = PRIVACY) -> None:
    """What schedule and worker do on a day."""
    settings = replace(worker.settings, privacy_address=address)
    built = replace(with_mail(worker, mailbox), settings=settings, clock=lambda: now)
    duties.tell_of_requests(built)
    jobs.SERVICES.set(built)
    with transaction(built, now=now) as tx:
        waiting = delivery.unfinished(tx)
    for mail_id in waiting:
        jobs.run_mail(str(mail_id))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (DUE - 7 * DAY - MOMENT, (0, 0)),
        (DUE - 7 * DAY, (0, 1)),
        (DUE + DAY - MOMENT, (0, 1)),
        (DUE + DAY, (1, 0)),
    ],
)
def test_a_request_is_nearly_due_for_a_week_and_then_overdue(
    services: Services, now: datetime, expected: tuple[int, int]
) -> None:
    known = ask(services)
    found = figures(services, now)
    assert (found.overdue, found.nearly_due) == expected
    listed = pressing(services, now)
    assert (len(listed.overdue), len(listed.nearly_due)) == expected
    assert {*listed.overdue, *listed.nearly_due} <= {known.row.request_id}


def test_an_extension_moves_the_day(services: Services) -> None:
    known = ask(services)
    with transaction(services) as tx:
        requests.extend(tx, services.policy, known.row.request_id, "many of them")
    assert figures(services, DUE + DAY).overdue == 0
    assert figures(services, datetime(2026, 9, 2, tzinfo=UTC)).overdue == 1


def test_what_has_ended_or_is_being_purged_presses_nobody(services: Services, owner_engine: Engine) -> None:
    policy = services.policy
    ended = [ask(services) for _ in range(3)]
    with transaction(services) as tx:
        requests.refuse(tx, policy, ended[0].row.request_id, "excessive", "too often")
        requests.withdraw(tx, ended[1].row.request_id)
        requests.begin(tx, policy, ended[2].row.request_id)
        requests.complete(tx, policy, ended[2].row.request_id, "done")
    begin_purge(owner_engine, ask(services).row.account_id)
    late = figures(services, DUE + 30 * DAY)
    assert (late.overdue, late.nearly_due, set(late.open.values())) == (0, 0, {0})
    assert not pressing(services, DUE + 30 * DAY).any()


def test_open_requests_are_counted_by_type_and_status_each_of_them_with_zero(services: Services) -> None:
    ask(services)
    ask(services, "access")
    receive(services, make_account(services).row.account_id, "access", identity=None)
    found = figures(services, NOW).open
    assert len(found) == len(requests.TYPES) * 3
    assert {pair: number for pair, number in found.items() if number} == {
        ("objection", "identity_verified"): 1,
        ("access", "in_progress"): 1,
        ("access", "received"): 1,
    }


def test_a_request_whose_worker_died_again_and_again_waits_for_staff(services: Services, worker_services: Services) -> None:
    known, fine = ask(services, "access"), ask(services, "access")

    def found_by_sweep(now: datetime) -> bool:
        with transaction(worker_services, now=now) as tx:
            return known.answer.export_id in export.unfinished(tx)

    now = NOW
    for _ in range(ATTEMPTS):
        assert found_by_sweep(now), "whoever died in it is followed by the next"
        assert leases.claim(worker_services.controller, known.answer.export_id, lambda at=now: at)  # type: ignore[misc]  # bound as it is now
        assert not found_by_sweep(now)
        now += LEASE
    run(worker_services, known.answer.export_id, now)
    run(worker_services, fine.answer.export_id, now)
    assert read(services, known).answer.failure == "interrupted"
    assert pressing(services, now).failed == [known.row.request_id]
    assert figures(services, now).stuck == 1
    with transaction(services, now=now) as tx:
        listed = requests.list_open(tx, stuck=True, after=None, limit=10)
    assert [each.row.request_id for each in listed] == [known.row.request_id]
    with transaction(services, now=now) as tx:
        anew = requests.restart_export(tx, known.row.request_id).answer.export_id
    assert pressing(services, now).failed == []
    assert figures(services, now).stuck == 0
    run(worker_services, anew, now)
    assert read(services, known).row.status == "completed"


def test_a_worker_that_comes_back_ends_the_request(services: Services, worker_services: Services) -> None:
    known = ask(services, "access")
    assert leases.claim(worker_services.controller, known.answer.export_id, lambda: NOW)
    run(worker_services, known.answer.export_id, NOW + LEASE)
    assert read(services, known).row.status == "completed"


def test_the_privacy_address_is_mailed_what_presses_and_no_name(
    services: Services, worker_services: Services, mailbox: Mailbox, owner_engine: Engine
) -> None:
    person = make_person(services, make_account(services).row.account_id, name="Canary Person").row
    late = receive(services, person.account_id, "objection", person_id=person.person_id, details={"text": "canary"})
    stuck = ask(services, "access", NOW + 5 * DAY)
    fail_exports(owner_engine)
    with owner_engine.begin() as connection:
        connection.execute(text("DELETE FROM outbox"))  # the letters to the person
    digest(worker_services, mailbox, DUE + DAY)
    [mail], [body] = mailbox.received, mailbox.texts()
    assert mailbox.recipients == [PRIVACY]
    assert mail["Subject"] == "Requests of data subjects: 1 overdue, 1 nearly due, 1 stuck, 0 untold"
    lines = [line.strip() for line in body.splitlines()]
    for heading, known in (("Overdue: 1", late), ("Due within seven days: 1", stuck)):
        assert lines[lines.index(heading) + 1] == str(known.row.request_id)
    assert lines[lines.index("Waiting for an export that has failed: 1") + 1] == str(stuck.row.request_id)
    assert "canary" not in body.lower()


@pytest.mark.parametrize("whole", [True, False])
def test_a_restriction_whose_end_nobody_was_told_of_is_listed_and_logged(
    services: Services, worker_services: Services, mailbox: Mailbox, owner_engine: Engine, whole: bool
) -> None:
    person = make_person(services, make_account(services).row.account_id, name="Canary Person").row
    with transaction(services) as tx:
        if whole:
            restriction.restrict_account(tx, person.account_id)
            restriction.lift_account(tx, person.account_id, "reason_ended")
        else:
            restriction.restrict_person(tx, person.account_id, person.person_id)
            restriction.lift_person(tx, person.account_id, person.person_id, "reason_ended")
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE outbox SET status = 'failed'"))
    assert (figures(services, NOW).untold, figures(services, NOW + 3 * DAY).untold) == (0, 1)
    with capture_logs() as told:
        digest(worker_services, mailbox, NOW + 3 * DAY)
    assert [line["number"] for line in told if line["event"] == "restrictions_not_told"] == [1]
    [body] = mailbox.texts()
    lines = [line.strip() for line in body.splitlines()]
    ids = str(person.account_id) if whole else f"{person.account_id} --person {person.person_id}"
    assert lines[lines.index("Restrictions that go on, since no mail told of their end: 1") + 1] in ids
    assert ids in " ".join(lines)
    assert "canary" not in body.lower()


def test_a_day_without_anything_to_tell_has_no_mail(services: Services, worker_services: Services, mailbox: Mailbox) -> None:
    ask(services)
    digest(worker_services, mailbox, NOW)
    digest(worker_services, mailbox, DUE + DAY, address=None)
    assert mailbox.received == []


def test_a_list_that_has_become_empty_is_not_sent(
    services: Services, worker_services: Services, mailbox: Mailbox, owner_engine: Engine
) -> None:
    known = ask(services)
    with transaction(worker_services, now=DUE + DAY) as tx:
        assert letters.queue_digest(tx, PRIVACY)
    with transaction(services, now=DUE + DAY) as tx:
        requests.withdraw(tx, known.row.request_id)
    digest(worker_services, mailbox, DUE + DAY)
    assert mailbox.received == []
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT failure FROM outbox WHERE kind = 'request_digest'")) == "nothing_to_tell"


def test_a_long_list_is_cut_and_says_so(services: Services, worker_services: Services, mailbox: Mailbox) -> None:
    ids: list[UUID] = [ask(services).row.request_id for _ in range(letters.IDS_TOLD + 1)]
    digest(worker_services, mailbox, DUE + DAY)
    body = mailbox.texts()[0]
    assert [str(each) in body for each in ids] == [True] * letters.IDS_TOLD + [False]
    assert ", …" in body


def queued(services: Services) -> int:
    with transaction(services) as tx:
        return tx.session.scalars(select(func.count()).where(Mail.kind == letters.DIGEST)).one()


def test_a_day_has_one_list_also_when_its_duty_is_done_again(services: Services, worker_services: Services) -> None:
    ask(services)
    duties.tell_of_requests(at(worker_services, DUE + DAY))
    duties.tell_of_requests(at(worker_services, DUE + DAY))  # by a schedule that finds the first killed before its mark
    assert queued(services) == 1
    duties.tell_of_requests(at(worker_services, DUE + 2 * DAY))
    duties.tell_of_requests(at(worker_services, DUE + DAY))  # by one whose clock was ahead
    assert queued(services) == 2


def test_two_schedules_at_once_queue_one_list(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    ask(services)
    with ThreadPoolExecutor(1) as threads:
        with transaction(worker_services, now=DUE + DAY) as tx:
            assert letters.queue_digest(tx, PRIVACY)
            other = threads.submit(duties.tell_of_requests, at(worker_services, DUE + DAY))
            await_blocked(owner_engine, other.done)
        other.result()
    assert queued(services) == 1


def at(worker: Services, now: datetime) -> Services:
    settings = replace(worker.settings, privacy_address=PRIVACY)
    return replace(worker, settings=settings, clock=lambda: now)
