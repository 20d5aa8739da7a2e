"""Mail that comes back later: recorded once, for mail that had been handed over, and nothing else changes."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from cloudpriv.bootstrap import Services
from cloudpriv.controller import credentials, delivery, outbox
from cloudpriv.controller.delivery import FIRST_PAUSE
from cloudpriv.controller.outbox import Mail
from cloudpriv.platform.errors import BusyError
from cloudpriv.platform.ids import new_id
from tests.factories import NOW, make_account, make_person, transaction
from tests.mailbox import Mailbox, mail_server, with_mail
from tests.stack import every_row

LATER = NOW + timedelta(hours=3)


def queue(services: Services, email: str | None = "kim@example.com") -> UUID:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id, email=email).row.person_id
    with transaction(services) as tx:
        credentials.set_credentials(tx, account_id, person_id, "not a hash", "the dog")
        return outbox.queue_mail(tx, "hint", account_id, person_id)


def deliver(worker_services: Services, mail_id: UUID, mailbox: Mailbox) -> None:
    postman = with_mail(worker_services, mailbox)
    delivery.deliver(postman.controller, postman.mailer, mail_id, lambda: NOW)


def come_back(worker_services: Services, mail_id: UUID, status: str = "5.1.1") -> bool:
    with transaction(worker_services, now=LATER) as tx:
        return delivery.record_bounce(tx, mail_id, status)


def row_of(services: Services, mail_id: UUID) -> Mail:
    with transaction(services) as tx:
        return tx.session.get_one(Mail, mail_id)


def events(owner: Engine) -> list[str]:
    with owner.connect() as connection:
        return list(connection.scalars(text("SELECT action FROM audit_events WHERE action LIKE 'mail.%' ORDER BY event_id")))


def test_a_mail_that_comes_back_has_failed_and_that_is_audited(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    mail_id = queue(services)
    with mail_server() as mailbox:
        deliver(worker_services, mail_id, mailbox)
    with capture_logs() as told:
        assert come_back(worker_services, mail_id)
    mail = row_of(services, mail_id)
    assert (mail.status, mail.failure, mail.sent_at) == ("failed", "bounced_5.1.1", NOW)
    assert events(owner_engine) == ["mail.send", "mail.bounce"]
    assert [word for word in ("kim@example.com", "Kim Example") if word in str([told, every_row(owner_engine)])] == []


def test_a_second_report_changes_nothing(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    mail_id = queue(services)
    with mail_server() as mailbox:
        deliver(worker_services, mail_id, mailbox)
    assert come_back(worker_services, mail_id)
    assert not come_back(worker_services, mail_id, "5.2.2")
    assert row_of(services, mail_id).failure == "bounced_5.1.1"
    assert events(owner_engine) == ["mail.send", "mail.bounce"]


def test_a_report_overtakes_the_worker_who_died_before_its_commit(services: Services, worker_services: Services) -> None:
    mail_id = queue(services)
    readings = iter(range(1, 10))

    def dying() -> datetime:
        if next(readings) == 3:  # the server has the mail; what it answered is lost
            raise BusyError
        return NOW

    with mail_server() as mailbox:
        postman = with_mail(worker_services, mailbox)
        with pytest.raises(BusyError):
            delivery.deliver(postman.controller, postman.mailer, mail_id, dying)
        assert come_back(worker_services, mail_id)
        delivery.deliver(postman.controller, postman.mailer, mail_id, lambda: NOW + FIRST_PAUSE)
    assert len(mailbox.received) == 1, "what bounced is not sent again"
    assert row_of(services, mail_id).status == "failed"


@pytest.mark.parametrize("email", [None, "kim@example.com"])
def test_what_was_never_handed_over_cannot_come_back(
    services: Services, worker_services: Services, email: str | None
) -> None:
    mail_id = queue(services, email)
    if email is None:
        with mail_server() as mailbox:
            deliver(worker_services, mail_id, mailbox)
    before = row_of(services, mail_id).status
    assert not come_back(worker_services, mail_id)
    assert row_of(services, mail_id).status == before


def test_a_mail_that_is_not_known_changes_nothing(worker_services: Services, owner_engine: Engine) -> None:
    assert not come_back(worker_services, new_id())
    assert events(owner_engine) == []
