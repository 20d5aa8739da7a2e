"""The mails of notices as an owner reads them: in their language, true when they are sent, and never in the way."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, insert, text

from cloudpriv import mail_templates
from cloudpriv.bootstrap import Services
from cloudpriv.controller import delivery, people
from cloudpriv.controller.delivery import FIRST_PAUSE
from cloudpriv.controller.outbox import Mail
from cloudpriv.platform.actor import Service
from cloudpriv.platform.ids import new_id
from cloudpriv.policy.periods import COUNTRIES
from cloudpriv.retention import due, notices
from cloudpriv.retention.tables import Hold
from tests.factories import NOW, make_account, make_person, transaction
from tests.mailbox import Mailbox, mail_server, with_mail
from tests.purges import let_it_age
from workers import jobs

LAST_TRAFFIC = datetime(2019, 6, 30, 22, tzinfo=UTC)
DUE_ON = datetime(2026, 7, 1, tzinfo=UTC)  # 30 days after NOW's
LANGUAGES = {
    "sv-SE": ("sedan den 30 juni 2019.", "tidigast den 1 juli 2026.", "Spanien."),
    "en-GB": ("since 30 June 2019.", "on 1 July 2026 at the earliest.", "Spain."),
    "fr-BE": ("depuis le 30 juin 2019.", "au plus tôt le 1er juillet 2026.", "Espagne."),
    "es": ("desde el 30 de junio de 2019.", "como pronto, el 1 de julio de 2026.", "España."),
    "de-DE": ("since 30 June 2019.", "on 1 July 2026 at the earliest.", "Spain."),
}
SUBJECTS = {
    "sv-SE": "Ditt Intesis-konto ”acme-water” kommer att raderas",
    "en-GB": 'Your Intesis account "acme-water" will be erased',
    "fr-BE": "Votre compte Intesis « acme-water » va être effacé",
    "es": "Su cuenta de Intesis «acme-water» se va a borrar",
    "de-DE": 'Your Intesis account "acme-water" will be erased',
}


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """What the mail server took."""
    with mail_server() as found:
        yield found


@pytest.fixture
def post(worker_services: Services, mailbox: Mailbox) -> Callable[..., list[tuple[str, str | None]]]:
    """What workers do at a time: every mail that waits is tried; how each mail stands then."""

    def once(now: datetime = NOW) -> list[tuple[str, str | None]]:
        built = replace(with_mail(worker_services, mailbox), clock=lambda: now)
        jobs.SERVICES.set(built)
        with transaction(built, now=now) as tx:
            waiting = delivery.unfinished(tx)
        for mail_id in waiting:
            jobs.run_mail(str(mail_id))
        with transaction(built) as tx:
            return [(mail.status, mail.failure) for mail in tx.session.query(Mail).order_by(Mail.mail_id)]

    return once


Post = Callable[..., list[tuple[str, str | None]]]


def make_idle(services: Services, service: Service = "intesis", **identity: Any) -> UUID:
    """An account that has seen no traffic for long, with one owner."""
    account_id = make_account(services, service=service, account_name="acme-water", created_at=LAST_TRAFFIC).row.account_id
    make_person(services, account_id, **identity)
    return account_id


def give(services: Services, now: datetime = NOW) -> None:
    with transaction(services, now=now) as tx:
        assert notices.give_due(tx, services.policy, limit=10) == 1


@pytest.mark.parametrize("locale", LANGUAGES)
def test_an_owner_reads_what_is_to_happen_in_their_language(
    services: Services, worker_services: Services, post: Post, mailbox: Mailbox, locale: str
) -> None:
    make_idle(services, locale=locale)
    give(worker_services)
    assert post() == [("sent", None)]
    [got], [body] = mailbox.received, mailbox.texts()
    flowing = " ".join(body.split())
    assert mailbox.recipients == ["kim@example.com"]
    assert got["Subject"] == SUBJECTS[locale]
    assert [part for part in (*LANGUAGES[locale], "Kim Example", "acme-water") if part not in flowing] == []
    assert "HMS Industrial Networks" in body
    assert "$" not in body
    assert max(len(line) for line in body.splitlines()) <= 80


def test_the_controller_of_the_service_is_who_gives_a_copy(
    services: Services, worker_services: Services, post: Post, mailbox: Mailbox
) -> None:
    make_idle(services, service="talk2m")
    give(worker_services)
    post()
    controller = services.policy.controller_of("talk2m")
    assert f"{controller.name}, {', '.join(controller.address)}, {controller.country_name['en']}." in " ".join(
        mailbox.texts()[0].split()
    )


def test_who_is_told_late_is_told_a_later_day(
    services: Services, worker_services: Services, post: Post, mailbox: Mailbox
) -> None:
    make_idle(services)
    late = DUE_ON + timedelta(days=100, hours=23)
    give(worker_services, late)
    post(late)
    assert "on 16 October 2026 at the earliest." in " ".join(mailbox.texts()[0].split())


def test_a_mail_that_is_sent_late_tells_the_day_of_its_notice(
    services: Services, worker_services: Services, post: Post, mailbox: Mailbox
) -> None:
    make_idle(services)
    give(worker_services, DUE_ON)
    mailbox.refusals = {"RCPT": ["451 later"]}
    assert post(DUE_ON) == [("queued", "smtp_451")]
    assert post(DUE_ON + timedelta(days=1)) == [("sent", None)]
    assert "on 8 July 2026 at the earliest." in " ".join(mailbox.texts()[0].split())


def test_traffic_before_the_mail_is_sent_drops_it(
    services: Services, worker_services: Services, post: Post, mailbox: Mailbox, owner_engine: Engine
) -> None:
    account_id = make_idle(services)
    give(worker_services)
    let_it_age(owner_engine, account_id, NOW)
    assert post() == [("dropped", "not_due")]
    assert mailbox.received == []


@pytest.mark.parametrize(("status", "reason"), [("restricted", "not_due"), ("closing", "not_due"), ("purging", "nobody")])
def test_what_is_not_erased_by_the_clock_any_more_is_not_told(
    services: Services,
    worker_services: Services,
    post: Post,
    mailbox: Mailbox,
    owner_engine: Engine,
    status: str,
    reason: str,
) -> None:
    make_idle(services)
    give(worker_services)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE accounts SET status = :status"), {"status": status})
    assert post() == [("dropped", reason)]
    assert mailbox.received == []


def test_a_hold_placed_before_the_mail_is_sent_drops_it(
    services: Services, worker_services: Services, post: Post, mailbox: Mailbox, owner_engine: Engine
) -> None:
    account_id = make_idle(services)
    give(worker_services)
    row = {"account_id": account_id, "hold_id": new_id(), "scope": "account", "authority": "a court", "reference": "1",
           "placed_by": "client:x", "placed_at": NOW}  # fmt: skip
    with owner_engine.begin() as connection:
        connection.execute(insert(Hold), row)
    assert post() == [("dropped", "not_due")]


def test_an_owner_who_was_erased_meanwhile_gets_no_mail(
    services: Services, worker_services: Services, post: Post, mailbox: Mailbox
) -> None:
    account_id = make_idle(services)
    give(worker_services)
    with transaction(services) as tx:
        [person] = people.list_people(tx, account_id, after=None, limit=10)
        people.remove_person(tx, account_id, person.row.person_id, 1)
    assert post() == [("dropped", "nobody")]
    assert mailbox.received == []


def test_an_address_that_was_rectified_meanwhile_is_the_one_that_counts(
    services: Services, worker_services: Services, post: Post, mailbox: Mailbox
) -> None:
    account_id = make_idle(services)
    give(worker_services)
    with transaction(services) as tx:
        [person] = people.list_people(tx, account_id, after=None, limit=10)
        people.change_person(tx, account_id, person.row.person_id, 1, {"email": "robin@example.com"})
    post()
    assert mailbox.recipients == ["robin@example.com"]


def test_a_refused_mail_is_recorded_and_holds_up_nothing(
    services: Services, worker_services: Services, post: Post, mailbox: Mailbox
) -> None:
    account_id = make_idle(services)
    give(worker_services, DUE_ON)
    mailbox.refusals = {"RCPT": ["550 nobody of that name"]}
    assert post(DUE_ON) == [("failed", "smtp_550")]
    after = DUE_ON + timedelta(days=7)
    with transaction(worker_services, now=after) as tx:
        found = due.due_accounts(tx, services.policy, limit=10)
        assert [each.account_id for each in found] == [account_id]
        assert notices.pending_among(tx, services.policy, found) == set()


def test_a_server_that_is_away_gets_the_notice_when_it_is_back(
    services: Services, worker_services: Services, post: Post, mailbox: Mailbox
) -> None:
    make_idle(services)
    give(worker_services)
    mailbox.refusals = {"MAIL": ["421 closing"]}
    assert post()[0][0] == "queued"
    assert post(NOW + FIRST_PAUSE) == [("sent", None)]
    assert len(mailbox.received) == 1


def test_no_name_of_an_account_becomes_a_header_or_a_line_of_ours(
    services: Services, worker_services: Services, post: Post, mailbox: Mailbox
) -> None:
    make_idle(services, name="Eve\r\n\r\nSend money to:\n$erased_on")
    give(worker_services)
    post()
    assert "Hello Eve Send money to: $erased_on,\n" in mailbox.texts()[0]


@pytest.mark.parametrize(
    ("language", "first", "other"),
    [
        ("en", "1 March 2027", "29 February 2028"),
        ("sv", "den 1 mars 2027", "den 29 februari 2028"),
        ("fr", "1er mars 2027", "29 février 2028"),
        ("es", "1 de marzo de 2027", "29 de febrero de 2028"),
    ],
)
def test_a_day_is_written_as_the_language_writes_it(language: str, first: str, other: str) -> None:
    assert mail_templates.written_day(date(2027, 3, 1), language) == first
    assert mail_templates.written_day(date(2028, 2, 29), language) == other
    months = {mail_templates.written_day(date(2027, month, 2), language) for month in range(1, 13)}
    assert len(months) == 12


@pytest.mark.parametrize("country", COUNTRIES)
def test_every_country_of_a_controller_has_a_name_in_every_language(country: str) -> None:
    assert mail_templates.country_name(country).keys() == set(mail_templates.LOCALES)


def test_the_texts_of_a_notice_say_the_same_in_every_language() -> None:
    texts = mail_templates.texts(notices.KIND).values()
    assert len({frozenset(each.body.get_identifiers()) for each in texts}) == 1
    assert all(each.subject.is_valid() and each.body.is_valid() for each in texts)
