"""The outbox: every mail is sent, put off or given up, and nobody but its reader sees what it says."""

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text
from structlog.testing import capture_logs

from cloudpriv import mail_templates
from cloudpriv.audit.events import AuditEvent
from cloudpriv.bootstrap import Services
from cloudpriv.controller import credentials, delivery, outbox, people
from cloudpriv.controller.delivery import ATTEMPTS, FIRST_PAUSE
from cloudpriv.controller.outbox import Mail
from cloudpriv.platform.errors import BusyError
from cloudpriv.platform.ids import new_id
from cloudpriv.platform.jobs import queue
from cloudpriv.retention import erase
from tests.factories import NOW, make_account, make_person, transaction
from tests.mailbox import Mailbox, mail_server, with_mail
from tests.purges import close, rows_of
from tests.purges import run as run_purge
from tests.stack import every_row

HINT = "zebra crossing in Visby"
ADDRESS = "kim.example@example.com"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """What the mail server took."""
    with mail_server() as found:
        yield found


@pytest.fixture
def postman(worker_services: Services, mailbox: Mailbox) -> Services:
    """A worker's services with that mail server."""
    return with_mail(worker_services, mailbox)


def make_reader(services: Services, hint: str | None = HINT, **identity: Any) -> tuple[UUID, UUID]:
    """A person with a hint, in an account of their own."""
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id, **{"email": ADDRESS, **identity}).row.person_id
    with transaction(services) as tx:
        credentials.set_credentials(tx, account_id, person_id, "not a hash", hint)
    return account_id, person_id


def ask(services: Services, account_id: UUID | None, person_id: UUID | None, now: datetime = NOW) -> UUID:
    with transaction(services, now=now) as tx:
        return outbox.queue_mail(tx, "hint", account_id, person_id)


def deliver(services: Services, mail_id: UUID, now: datetime = NOW) -> Mail:
    """Do what a worker does; the row after it."""
    delivery.deliver(services.controller, services.mailer, mail_id, lambda: now)
    return row_of(services, mail_id)


def row_of(services: Services, mail_id: UUID) -> Mail:
    with transaction(services) as tx:
        return tx.session.get_one(Mail, mail_id)


def waiting(services: Services, now: datetime) -> list[UUID]:
    with transaction(services, now=now) as tx:
        return delivery.unfinished(tx)


def actions(owner: Engine) -> list[str]:
    with owner.connect() as connection:
        query = text("SELECT action FROM audit_events WHERE action LIKE 'mail.%' ORDER BY event_id")
        return list(connection.scalars(query))


def test_a_mail_reaches_the_registered_address_and_is_sent_once(
    services: Services, postman: Services, mailbox: Mailbox, owner_engine: Engine
) -> None:
    mail_id = ask(services, *make_reader(services))
    mail = deliver(postman, mail_id)
    assert (mail.status, mail.sent_at, mail.failure) == ("sent", NOW, None)
    assert mailbox.recipients == [ADDRESS]
    assert mailbox.received[0]["Subject"] == "Your Talk2M password hint"
    assert f"\n    {HINT}\n" in mailbox.texts()[0]
    assert mailbox.texts()[0].strip().startswith("Hello Kim Example,")
    deliver(postman, mail_id)
    assert len(mailbox.received) == 1
    assert actions(owner_engine) == ["mail.send"]


@pytest.mark.parametrize(
    ("locale", "greeting"),
    [("sv-SE", "Hej "), ("FR", "Bonjour "), ("es-419", "Hola, "), ("en-GB", "Hello "), ("de", "Hello "), (None, "Hello ")],
)
def test_a_mail_is_in_the_readers_language(
    services: Services, postman: Services, mailbox: Mailbox, locale: str | None, greeting: str
) -> None:
    deliver(postman, ask(services, *make_reader(services, locale=locale)))
    assert mailbox.texts()[0].strip().startswith(greeting)
    assert HINT in mailbox.texts()[0]


@pytest.mark.parametrize("kind", delivery.WRITERS)
def test_the_texts_of_a_kind_say_the_same_in_every_language(kind: str) -> None:
    told = {
        (tuple(sorted(set(each.subject.get_identifiers()))), tuple(sorted(set(each.body.get_identifiers()))))
        for each in mail_templates.texts(kind).values()
    }
    assert len(told) == 1
    assert all(each.subject.is_valid() and each.body.is_valid() for each in mail_templates.texts(kind).values())


@pytest.mark.parametrize(
    "name", ["Eve\r\nBcc: eve@example.com", "Eve\n\nYour account is blocked:\ncall 555", "$hint ${hint}"]
)
def test_no_name_or_hint_becomes_a_header_or_a_line_of_ours(
    services: Services, postman: Services, mailbox: Mailbox, name: str
) -> None:
    deliver(postman, ask(services, *make_reader(services, name=name, hint=name)))
    [got] = mailbox.received
    assert mailbox.recipients == [ADDRESS]
    assert sorted(got.keys()) == sorted(
        ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Content-Type", "MIME-Version",
         "Content-Transfer-Encoding"]
    )  # fmt: skip
    line = " ".join(name.split())
    assert f"Hello {line},\n" in mailbox.texts()[0]
    assert f"\n    {line}\n" in mailbox.texts()[0]


@pytest.mark.parametrize(
    ("identity", "hint", "reason", "told"),
    [
        ({"email": None}, HINT, "no_address", "mail.no_address"),
        ({"email": "kim@example.com\r\nBcc: eve@example.com"}, HINT, "no_address", "mail.no_address"),
        ({"email": "kim@example.com, eve@example.com"}, HINT, "no_address", "mail.no_address"),
        ({}, None, "no_hint", "mail.drop"),
    ],
)
def test_a_mail_that_has_no_address_or_nothing_to_say_is_dropped(
    services: Services,
    postman: Services,
    mailbox: Mailbox,
    identity: dict[str, Any],
    hint: str | None,
    reason: str,
    told: str,
) -> None:
    account_id, person_id = make_reader(services, hint, **identity)
    mail = deliver(postman, ask(services, account_id, person_id))
    assert (mail.status, mail.failure) == ("dropped", reason)
    assert mailbox.received == []
    with transaction(services) as tx:
        done = tx.session.scalars(select(AuditEvent.action).where(AuditEvent.action.startswith("mail.")))
        assert list(done) == [told]


def test_a_mail_for_nobody_or_for_a_person_who_was_erased_is_dropped(
    services: Services, postman: Services, mailbox: Mailbox
) -> None:
    account_id, person_id = make_reader(services)
    mails = [ask(services, None, None), ask(services, account_id, person_id)]
    with transaction(services) as tx:
        people.remove_person(tx, account_id, person_id, 1)
    for mail_id in mails:
        mail = deliver(postman, mail_id)
        assert (mail.status, mail.failure, mail.person_id) == ("dropped", "nobody", None)
    assert mailbox.received == []


def test_a_mail_of_an_account_whose_key_is_shredded_is_dropped(
    services: Services, postman: Services, mailbox: Mailbox
) -> None:
    account_id, person_id = make_reader(services)
    mail_id = ask(services, account_id, person_id)
    with transaction(postman) as tx:
        erase.shred_key(tx, account_id)
    assert deliver(postman, mail_id).status == "dropped"
    assert mailbox.received == []


def test_a_purge_takes_the_mails_of_its_account_along_and_no_others(
    services: Services, postman: Services, owner_engine: Engine
) -> None:
    account_id, person_id = make_reader(services)
    mail_id = ask(services, account_id, person_id)
    others = ask(services, *make_reader(services)), ask(services, None, None)
    assert rows_of(owner_engine, account_id)["outbox"] == 1
    run_purge(postman, close(services, account_id))
    delivery.deliver(postman.controller, postman.mailer, mail_id, lambda: NOW)
    assert sorted(waiting(services, NOW)) == sorted(others)


def test_asking_on_and_on_sends_one_mail(services: Services, postman: Services, mailbox: Mailbox) -> None:
    reader = make_reader(services)
    assert deliver(postman, ask(services, *reader)).status == "sent"
    again = deliver(postman, ask(services, *reader), NOW + timedelta(minutes=4))
    assert (again.status, again.failure) == ("dropped", "sent_before")
    assert deliver(postman, ask(services, *make_reader(services))).status == "sent", "somebody else's is another matter"
    assert deliver(postman, ask(services, *reader), NOW + timedelta(minutes=5)).status == "sent"
    assert len(mailbox.received) == 3


def test_a_mail_that_is_refused_for_now_is_tried_again_after_a_pause(
    services: Services, postman: Services, mailbox: Mailbox
) -> None:
    mailbox.refusals = {"RCPT": ["451 later"], "DATA": ["452 full"]}
    mail_id = ask(services, *make_reader(services))
    assert waiting(services, NOW) == [mail_id]
    mail = deliver(postman, mail_id)
    assert (mail.status, mail.failure, mail.next_try_at) == ("queued", "smtp_451", NOW + FIRST_PAUSE)
    assert waiting(services, NOW + FIRST_PAUSE - timedelta(seconds=1)) == []
    assert deliver(postman, mail_id, NOW + FIRST_PAUSE - timedelta(seconds=1)).attempts == 1, "not before its time"
    mail = deliver(postman, mail_id, NOW + FIRST_PAUSE)
    assert (mail.failure, mail.next_try_at) == ("smtp_452", NOW + 3 * FIRST_PAUSE)
    assert waiting(services, NOW + 3 * FIRST_PAUSE) == [mail_id]
    mail = deliver(postman, mail_id, NOW + 3 * FIRST_PAUSE)
    assert (mail.status, mail.failure, mail.attempts) == ("sent", None, 3)
    assert len(mailbox.received) == 1


@pytest.mark.parametrize("stage", ["RCPT", "DATA"])
def test_a_bounce_is_recorded_and_ends_it(
    services: Services, postman: Services, mailbox: Mailbox, owner_engine: Engine, stage: str
) -> None:
    mailbox.refusals[stage] = [f"550 5.1.1 {ADDRESS} is not here"]
    mail_id = ask(services, *make_reader(services))
    mail = deliver(postman, mail_id)
    assert (mail.status, mail.failure) == ("failed", "smtp_550")
    assert deliver(postman, mail_id, NOW + timedelta(days=1)).status == "failed"
    assert (mailbox.received, actions(owner_engine)) == ([], ["mail.fail"])


def test_a_server_that_was_away_gets_the_mail_when_it_is_back(services: Services, worker_services: Services) -> None:
    mail_id = ask(services, *make_reader(services))
    with mail_server() as mailbox:
        pass
    postman = with_mail(worker_services, mailbox)
    assert deliver(postman, mail_id).failure == "unreachable"
    with mail_server(mailbox):
        assert deliver(postman, mail_id, NOW + FIRST_PAUSE).status == "sent"
    assert len(mailbox.received) == 1


def test_a_mail_is_given_up_after_a_day_of_attempts(services: Services, worker_services: Services) -> None:
    postman, now = with_mail(worker_services, None), NOW
    mail_id = ask(services, *make_reader(services))
    for _ in range(ATTEMPTS - 1):
        mail = deliver(postman, mail_id, now)
        assert (mail.status, mail.failure) == ("queued", "no_server")
        now = mail.next_try_at
    assert timedelta(days=1) < now - NOW < timedelta(days=1, hours=3)
    assert deliver(postman, mail_id, now).status == "failed"


class Killed(BaseException):
    """The worker ends here, as SIGKILL would end it."""


def dying_at(number: int, fault: type[BaseException], now: datetime) -> Callable[[], datetime]:
    """A clock at whose n-th reading, which is before the n-th transaction, the worker meets a fault."""
    readings = iter(range(1, 100))

    def clock() -> datetime:
        if next(readings) == number:
            raise fault
        return now

    return clock


@pytest.mark.parametrize("fault", [Killed, BusyError])
@pytest.mark.parametrize(("moment", "times"), [(2, 1), (3, 2)])
def test_a_worker_that_dies_is_followed_by_another_and_nothing_is_lost(
    services: Services, postman: Services, mailbox: Mailbox, moment: int, times: int, fault: type[BaseException]
) -> None:
    mail_id = ask(services, *make_reader(services))
    with pytest.raises(fault):
        delivery.deliver(postman.controller, postman.mailer, mail_id, dying_at(moment, fault, NOW))
    assert waiting(services, NOW) == []
    assert waiting(services, NOW + FIRST_PAUSE) == [mail_id]
    assert deliver(postman, mail_id, NOW + FIRST_PAUSE).status == "sent"
    assert len(mailbox.received) == times, "twice only when it died after the server had taken it"
    assert len({message["Message-ID"] for message in mailbox.received}) == 1


def test_a_mail_whose_every_attempt_dies_fails(services: Services, postman: Services, mailbox: Mailbox) -> None:
    mail_id, now = ask(services, *make_reader(services)), NOW
    for _ in range(ATTEMPTS):
        with pytest.raises(Killed):
            delivery.deliver(postman.controller, postman.mailer, mail_id, dying_at(2, Killed, now))
        now = row_of(services, mail_id).next_try_at
    mail = deliver(postman, mail_id, now)
    assert (mail.status, mail.failure, mailbox.received) == ("failed", "interrupted", [])


def test_an_attempt_that_ends_too_late_changes_nothing_of_the_next(
    services: Services, postman: Services, mailbox: Mailbox
) -> None:
    mailbox.refusals["RCPT"] = ["550 gone", "451 later"]
    mail_id = ask(services, *make_reader(services))
    readings = iter(range(1, 100))

    def clock() -> datetime:
        if next(readings) == 3:  # the server has answered, but the worker was held up until another had its turn
            deliver(postman, mail_id, NOW + FIRST_PAUSE)
        return NOW

    delivery.deliver(postman.controller, postman.mailer, mail_id, clock)
    mail = row_of(services, mail_id)
    assert (mail.status, mail.failure, mail.attempts) == ("queued", "smtp_451", 2)


def test_no_row_job_or_log_holds_what_a_mail_says_or_to_whom(
    services: Services, postman: Services, mailbox: Mailbox, owner_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    mailbox.refusals["RCPT"] = [f"451 {ADDRESS} later", f"550 {ADDRESS} gone"]
    mail_id = ask(services, *make_reader(services))
    [job] = queue(services.redis).jobs
    assert (list(job.args), job.description, job.meta) == ([str(mail_id)], f"mail {mail_id}", {})
    with capture_logs() as told:
        deliver(postman, mail_id)
        deliver(postman, mail_id, NOW + FIRST_PAUSE)
        deliver(postman, ask(services, *make_reader(services)))
    assert [event["status"] for event in told] == ["queued", "failed", "sent"]
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("mail.")]  # the test's server's
    said = str([*logged, told, every_row(owner_engine)])
    assert [word for word in (HINT, "zebra", ADDRESS, "Kim Example") if word in said] == []


def test_nothing_is_done_for_a_mail_that_is_not_there(postman: Services, mailbox: Mailbox) -> None:
    delivery.deliver(postman.controller, postman.mailer, new_id(), lambda: NOW)
    assert mailbox.received == []
