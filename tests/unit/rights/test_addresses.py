"""Addresses that change or go: whose they were is told there, and then they are nowhere any more."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text

from cloudpriv import mail_templates
from cloudpriv.bootstrap import Services
from cloudpriv.controller import delivery, outbox
from cloudpriv.retention import holds
from cloudpriv.rights import addresses, effects, handling, telling
from cloudpriv.rights.erasure import erase_person
from tests.codes import code_of, send, use
from tests.exports import IDENTIFIED
from tests.factories import NOW, make_account, make_person, transaction
from tests.mailbox import Mailbox, mail_server, with_mail
from tests.stack import every_row
from workers import jobs

Post = Callable[..., list[str]]

OLD, NEW = "kim-old@example.com", "kim-new@example.com"
KINDS = (addresses.FORMER, addresses.REGISTERED, addresses.ERASED, addresses.HELD)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """What the mail server took."""
    with mail_server() as found:
        yield found


@pytest.fixture
def post(worker_services: Services, mailbox: Mailbox) -> Post:
    """What workers do at a time: every mail that waits is tried; the bodies of all that were sent, each on one line."""

    def once(now: datetime = NOW) -> list[str]:
        jobs.SERVICES.set(replace(with_mail(worker_services, mailbox), clock=lambda: now))
        with transaction(worker_services, now=now) as tx:
            waiting = delivery.unfinished(tx)
        for mail_id in waiting:
            jobs.run_mail(str(mail_id))
        return [" ".join(body.split()) for body in mailbox.texts()]

    return once


def kim(services: Services, **identity: Any) -> tuple[UUID, UUID]:
    """An account of Intesis with one owner."""
    account_id = make_account(services, service="intesis", account_name="acme-water").row.account_id
    return account_id, make_person(services, account_id, **{"email": OLD, **identity}).row.person_id


def change(services: Services, of: tuple[UUID, UUID], version: int = 1, **changes: Any) -> None:
    with transaction(services) as tx:
        effects.rectify_person(tx, *of, version, changes)


def ask_for_erasure(services: Services, of: tuple[UUID, UUID]) -> str:
    with transaction(services) as tx:
        asked = handling.receive(tx, services.policy, of[0], "erasure", person_id=of[1], identity=IDENTIFIED)
        return str(asked.row.request_id)


def addressees(owner: Engine) -> list[bytes | None]:
    with owner.connect() as connection:
        return list(connection.execute(text("SELECT addressee FROM outbox ORDER BY mail_id")).scalars())


def is_anywhere(owner: Engine, address: str) -> bool:
    return any(address in row for rows in every_row(owner).values() for row in rows)


def test_a_code_that_was_mailed_to_the_former_address_is_good_no_more(services: Services) -> None:
    whose = kim(services)
    code_id = send(services, whose, "password")
    code = code_of(services, whose, code_id)
    change(services, whose, name="Kim Other")
    change(services, whose, version=2, email=NEW)
    assert use(services, whose, code_id, code, purpose="password") is None
    again = send(services, whose, "password")
    assert use(services, whose, again, code_of(services, whose, again), purpose="password") is not None


def test_a_change_that_leaves_the_address_leaves_codes_good(services: Services) -> None:
    whose = kim(services)
    code_id = send(services, whose, "password")
    change(services, whose, name="Kim Other")
    assert use(services, whose, code_id, code_of(services, whose, code_id), purpose="password") is not None


def test_both_addresses_are_told_of_a_change(services: Services, post: Post, mailbox: Mailbox, owner_engine: Engine) -> None:
    change(services, kim(services, locale="sv-SE"), email=NEW)
    [kept] = [each for each in addressees(owner_engine) if each is not None]
    assert OLD.encode() not in kept
    former, registered = sorted(post(), key=lambda body: "Kim" in body)
    assert dict(zip(mailbox.recipients, post(), strict=True)) == {OLD: former, NEW: registered}
    assert "Den har just tagits bort eller bytts ut" in former
    assert "har just registrerats för dig" in registered
    assert not any(address in body for address in (OLD, NEW) for body in (former, registered))
    assert addressees(owner_engine) == [None, None], "the former address is forgotten"
    assert not is_anywhere(owner_engine, OLD)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [(None, NEW, [NEW]), (OLD, None, [OLD]), (OLD, OLD, []), (None, None, [])],
)
def test_an_address_that_comes_or_goes_is_told_alone(
    services: Services, post: Post, mailbox: Mailbox, before: str | None, after: str | None, told: list[str]
) -> None:
    change(services, kim(services, email=before), email=after, name="Kim Berg")
    post()
    assert mailbox.recipients == told


def test_every_address_of_several_changes_in_a_row_is_told(services: Services, post: Post, mailbox: Mailbox) -> None:
    person = kim(services)
    change(services, person, 1, email="between@example.com")
    post()
    change(services, person, 2, email=NEW)
    post()
    assert sorted(mailbox.recipients) == sorted([OLD, "between@example.com", "between@example.com", NEW])


def test_a_former_address_is_told_also_when_the_person_is_erased_before(
    services: Services, post: Post, mailbox: Mailbox, owner_engine: Engine
) -> None:
    account_id, person_id = kim(services)
    change(services, (account_id, person_id), email=NEW)
    with transaction(services) as tx:
        erase_person(tx, account_id, person_id, 2)
    post()
    assert mailbox.recipients == [OLD]
    assert addressees(owner_engine) == [None, None]


def test_an_address_stays_until_its_mail_was_taken(
    services: Services, post: Post, mailbox: Mailbox, owner_engine: Engine
) -> None:
    change(services, kim(services), email=None)
    mailbox.refusals["RCPT"] = ["451 later"]
    assert post() == []
    assert None not in addressees(owner_engine)
    assert len(post(NOW + delivery.FIRST_PAUSE)) == 1
    assert addressees(owner_engine) == [None]


def test_an_address_stays_while_a_worker_that_had_its_mail_is_gone(
    services: Services, worker_services: Services, post: Post, mailbox: Mailbox, owner_engine: Engine
) -> None:
    change(services, kim(services), email=None)
    with transaction(services) as tx:
        [mail_id] = delivery.unfinished(tx)
    assert delivery._claim(worker_services.controller, mail_id, NOW)  # and killed
    assert post() == []
    assert len(post(NOW + delivery.FIRST_PAUSE)) == 1
    assert (mailbox.recipients, addressees(owner_engine)) == ([OLD], [None])


def test_an_address_that_takes_no_mail_is_forgotten(
    services: Services, post: Post, mailbox: Mailbox, owner_engine: Engine
) -> None:
    change(services, kim(services), email=None)
    mailbox.refusals["RCPT"] = ["550 nobody of that name"]
    assert post() == []
    assert addressees(owner_engine) == [None]


@pytest.mark.parametrize(
    ("locale", "said"),
    [
        ("en", "The data has been erased."),
        ("sv-SE", "Uppgifterna har raderats."),
        ("fr", "Les données ont été effacées."),
        ("es-ES", "Los datos se han borrado."),
    ],
)
def test_who_is_erased_at_their_request_is_told_last(
    services: Services, post: Post, mailbox: Mailbox, owner_engine: Engine, locale: str, said: str
) -> None:
    request_id = ask_for_erasure(services, kim(services, locale=locale))
    [body] = post()
    assert said in body
    assert request_id in body
    assert services.policy.supervisory_authority.name[locale[:2]] in body
    assert "Kim" not in body
    assert mailbox.recipients == [OLD]
    assert set(addressees(owner_engine)) == {None}
    assert not is_anywhere(owner_engine, OLD)


def test_who_is_erased_at_nobodys_request_or_has_no_address_is_not_told(
    services: Services, post: Post, mailbox: Mailbox
) -> None:
    account_id, person_id = kim(services)
    with transaction(services) as tx:
        erase_person(tx, account_id, person_id, 1)
    ask_for_erasure(services, (account_id, make_person(services, account_id, email=None).row.person_id))
    post()
    assert mailbox.recipients == []


def test_who_is_erased_but_for_what_a_hold_keeps_is_told_so(services: Services, post: Post, mailbox: Mailbox) -> None:
    account_id, person_id = kim(services)
    with transaction(services) as tx:
        holds.place(tx, account_id, "account", authority="Example District Court", reference="T 1")
    ask_for_erasure(services, (account_id, person_id))
    [body] = post()
    assert "It is erased as soon as a legal duty to keep it ends." in body
    assert "it is erased as soon as the message is sent" not in body
    assert mailbox.recipients == [OLD]


def test_the_erasure_of_the_account_waits_for_a_last_mail_for_three_days_at_most(
    services: Services, worker_services: Services, post: Post
) -> None:
    account_id, person_id = kim(services)
    change(services, (account_id, person_id), email=None)
    for after, may in ((timedelta(0), False), (telling.WAIT, True)):
        with transaction(worker_services, now=NOW + after) as tx:
            assert telling.before_erasure(tx, account_id) is may
    post()
    with transaction(worker_services) as tx:
        assert telling.before_erasure(tx, account_id)


@pytest.mark.parametrize("kind", KINDS)
def test_the_texts_say_the_same_in_every_language(kind: str) -> None:
    texts = mail_templates.texts(kind).values()
    assert len({frozenset(each.body.get_identifiers()) for each in texts}) == 1
    assert len({frozenset(each.subject.get_identifiers()) for each in texts}) == 1
    assert all(each.subject.is_valid() and each.body.is_valid() for each in texts)
    assert [line for each in texts for line in each.body.template.splitlines() if len(line) > 81] == []


def test_an_address_is_forgotten_too_when_its_mail_comes_back_before_the_worker_knows_that_it_went(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    change(services, kim(services), email=None)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE outbox SET attempts = 1"))
    with transaction(worker_services) as tx:
        [mail_id] = tx.session.scalars(select(outbox.Mail.mail_id))
        assert delivery.record_bounce(tx, mail_id, "5.1.1")
    assert addressees(owner_engine) == [None]
