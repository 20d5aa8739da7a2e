"""Letters about requests as a person reads them: in their language, true when they are sent, each to whom it concerns."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv import mail_templates
from cloudpriv.bootstrap import Services
from cloudpriv.controller import delivery, people
from cloudpriv.rights import closure, effects, handling, letters, requests, restriction
from cloudpriv.rights.articles import cited
from cloudpriv.rights.cases.grounds import GROUNDS, TYPES
from cloudpriv.rights.requests import Identity, KnownRequest
from cloudpriv.rights.restriction_notice import ENDS
from tests.exports import IDENTIFIED, run
from tests.factories import NOW, make_account, make_person, transaction
from tests.mailbox import Mailbox, mail_server, with_mail
from tests.requests import receive
from workers import jobs

KINDS = (*letters.TRUE_WHILE, letters.DIGEST, ENDS)
DAY = timedelta(days=1)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """What the mail server took."""
    with mail_server() as found:
        yield found


@pytest.fixture
def post(worker_services: Services, mailbox: Mailbox) -> Callable[..., list[str]]:
    """What workers do at a time: every mail that waits is tried; the bodies of all that were sent, each on one line."""

    def once(now: datetime = NOW) -> list[str]:
        jobs.SERVICES.set(replace(with_mail(worker_services, mailbox), clock=lambda: now))
        with transaction(worker_services, now=now) as tx:
            waiting = delivery.unfinished(tx)
        for mail_id in waiting:
            jobs.run_mail(str(mail_id))
        return [" ".join(body.split()) for body in mailbox.texts()]

    return once


Post = Callable[..., list[str]]


def account_of(services: Services, **identity: Any) -> tuple[UUID, UUID]:
    """An account of Intesis, with one owner."""
    account_id = make_account(services, service="intesis", account_name="acme-water").row.account_id
    return account_id, make_person(services, account_id, **identity).row.person_id


def lacking(body: str, *parts: str) -> list[str]:
    return [part for part in parts if part not in body]


def fates(owner: Engine) -> list[tuple[str, str | None]]:
    with owner.connect() as connection:
        rows = connection.execute(text("SELECT kind, failure FROM outbox WHERE status = 'dropped' ORDER BY mail_id"))
        return [(kind, failure) for kind, failure in rows]


def test_a_request_that_was_received_is_confirmed_with_its_due_day(services: Services, post: Post, mailbox: Mailbox) -> None:
    account_id, _ = account_of(services)
    known = receive(services, account_id)
    [body] = post()
    assert mailbox.received[0]["Subject"] == "We have received a request about Intesis"
    due = "by 1 July 2026 at the latest"
    assert not lacking(body, "Hello Kim Example", '"acme-water"', "Received 1 June 2026", due, str(known.row.request_id))
    assert not lacking(body, "access to the data, with a copy of it (GDPR Article 15)", "the account as a whole", "Spain")


def test_who_is_not_identified_is_asked_to_show_who_they_are(services: Services, post: Post) -> None:
    account_id, person_id = account_of(services)
    known = receive(services, account_id, person_id=person_id, identity=None)
    [body] = post()
    assert not lacking(body, "Before we act on it we have to be sure", "your own data", "by 1 July 2026 at the latest")
    with transaction(services) as tx:
        requests.verify(tx, services.policy, known.row.request_id, IDENTIFIED)
    assert "We answer the request by 1 July 2026" in post()[1]


@pytest.mark.parametrize(
    ("locale", "late"),
    [
        ("en", "We should have answered the request by 1 July 2026. Our answer is late"),
        ("sv", "Vi skulle ha svarat på begäran senast den 1 juli 2026. Vårt svar är försenat"),
        ("fr", "Nous aurions dû répondre à la demande au plus tard le 1er juillet 2026. Notre réponse est en retard"),
        (
            "es",
            "Debíamos haber respondido a la solicitud, a más tardar, el 1 de julio de 2026. Nuestra respuesta lleva retraso",
        ),
    ],
)
def test_no_letter_promises_an_answer_by_a_day_that_is_over(services: Services, post: Post, locale: str, late: str) -> None:
    account_id, _ = account_of(services, locale=locale)
    known = receive(services, account_id, "objection", identity=None)
    later = NOW + 31 * DAY
    [asked] = post(later)
    with transaction(services, now=later) as tx:
        requests.verify(tx, services.policy, known.row.request_id, IDENTIFIED)
    received = post(later)[1]
    assert not lacking(asked, late)
    assert not lacking(received, late)


def test_an_extension_gives_its_reason_and_the_new_day(services: Services, post: Post) -> None:
    account_id, _ = account_of(services)
    known = receive(services, account_id, "objection")
    post()
    with transaction(services) as tx:
        requests.extend(tx, services.policy, known.row.request_id, "Three systems have to be searched.")
    body = post()[1]
    assert not lacking(body, "Three systems have to be searched.", "is 1 September 2026.", "two further months")


@pytest.mark.parametrize("locale", ["en", "sv-SE", "fr-BE", "es"])
def test_a_refusal_tells_ground_reason_authority_and_court_in_the_persons_language(
    services: Services, post: Post, mailbox: Mailbox, locale: str
) -> None:
    account_id, person_id = account_of(services, locale=locale)
    known = receive(services, account_id, "objection", person_id=person_id)
    post()
    with transaction(services) as tx:
        requests.refuse(tx, services.policy, known.row.request_id, "compelling_grounds", "Invoices are kept by law.")
    body = post()[1]
    language, authority = locale[:2], services.policy.supervisory_authority
    said = [
        mail_templates.phrases(letters.WORDS, "grounds")["compelling_grounds"][language],
        mail_templates.phrases(letters.WORDS, "types")["objection"][language],
        *(cited("21(1)", language), "Invoices are kept by law.", authority.name[language], ", ".join(authority.address)),
        *(authority.country_name[language], authority.website, "77", "79"),
    ]
    assert not lacking(body, *said)
    assert "$" not in body
    assert mailbox.recipients == ["kim@example.com"] * 2


def test_a_copy_that_is_ready_and_a_withdrawal_are_told(services: Services, worker_services: Services, post: Post) -> None:
    account_id, _ = account_of(services)
    first, second = receive(services, account_id), receive(services, account_id, "portability")
    post()
    run(worker_services, first.answer.export_id)
    with transaction(services) as tx:
        requests.withdraw(tx, second.row.request_id)
    bodies = post()[2:]
    assert [body for body in bodies if "A copy of the data is ready." in body and str(first.row.request_id) in body]
    assert [body for body in bodies if "has been withdrawn" in body and str(second.row.request_id) in body]


def test_what_was_granted_at_once_is_told_in_one_letter(services: Services, post: Post, owner_engine: Engine) -> None:
    account_id, person_id = account_of(services)
    with transaction(services) as tx:
        changes = {"changes": {"name": "Robin Example"}}
        handling.receive(tx, services.policy, account_id, "rectification", person_id=person_id, details=changes,
                         identity=IDENTIFIED)  # fmt: skip
    [body] = post()
    assert not lacking(body, "Hello Robin Example", "The data has been rectified.")
    assert fates(owner_engine) == [("request_received", "not_so_any_more")]


def test_what_staff_did_is_told_in_their_words(services: Services, post: Post) -> None:
    account_id, _ = account_of(services)
    known = receive(services, account_id, "objection")
    with transaction(services) as tx:
        requests.begin(tx, services.policy, known.row.request_id)
        requests.complete(tx, services.policy, known.row.request_id, "We have stopped the newsletter.")
    [body] = post()
    assert "We have stopped the newsletter." in body


def test_a_request_about_the_account_goes_to_its_owners_and_one_about_a_person_to_the_person(
    services: Services, post: Post, mailbox: Mailbox
) -> None:
    account_id, _ = account_of(services, email="boss@example.com")
    make_person(services, account_id, email="second@example.com")
    with transaction(services) as tx:
        document = {"username": "member", "email": "member@example.com"}
        member_id = people.add_person(tx, account_id, "member", document).row.person_id
    receive(services, account_id)
    post()
    assert sorted(mailbox.recipients) == ["boss@example.com", "second@example.com"]
    receive(services, account_id, person_id=member_id)
    post()
    assert mailbox.recipients[2:] == ["member@example.com"]


def test_an_erased_person_gets_no_letter_but_the_last(
    services: Services, post: Post, mailbox: Mailbox, owner_engine: Engine
) -> None:
    account_id, person_id = account_of(services)
    with transaction(services) as tx:
        handling.receive(tx, services.policy, account_id, "erasure", person_id=person_id, identity=IDENTIFIED)
    post()
    assert [body for body in post() if "Kim" in body] == []
    assert mailbox.recipients == ["kim@example.com"]
    with owner_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM outbox WHERE person_id IS NOT NULL")) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_texts_of_a_letter_say_the_same_in_every_language(kind: str) -> None:
    texts = mail_templates.texts(kind).values()
    assert len({frozenset(each.body.get_identifiers()) for each in texts}) == 1
    assert len({frozenset(each.subject.get_identifiers()) for each in texts}) == 1
    assert all(each.subject.is_valid() and each.body.is_valid() for each in texts)
    assert [line for each in texts for line in each.body.template.splitlines() if len(line) > 80] == []


def test_every_type_ground_and_outcome_has_its_words_in_every_language() -> None:
    words = {group: mail_templates.phrases(letters.WORDS, group) for group in ("types", "scopes", "grounds", "outcomes")}
    assert words["types"].keys() == set(TYPES)
    assert words["scopes"].keys() == {"account", "person"}
    assert words["grounds"].keys() == GROUNDS.keys()
    done = {effects.RECTIFIED, effects.ERASED, effects.HELD, effects.RESTRICTED, effects.UPHELD, effects.WITHDRAWN}
    assert {requests.ARCHIVE_READY, *done} <= words["outcomes"].keys()
    texts = [text for group in words.values() for phrase in group.values() for text in phrase.values()]
    assert all(texts)


def test_a_note_on_the_identity_and_what_was_asked_are_in_no_letter(services: Services, post: Post) -> None:
    account_id, _ = account_of(services)
    identity = Identity("documents", "operator:cli", "canary of staff")
    known: KnownRequest = receive(services, account_id, identity=identity, details={"text": "canary of the person"})
    with transaction(services, now=NOW + DAY) as tx:
        requests.withdraw(tx, known.row.request_id)
    assert [body for body in post(NOW + DAY) if "canary" in body] == []


def test_a_closing_and_its_undoing_are_told_once_each_with_the_day(
    services: Services, post: Post, owner_engine: Engine
) -> None:
    account_id, _ = account_of(services)
    with transaction(services) as tx:
        known = handling.receive(tx, services.policy, account_id, "erasure", identity=IDENTIFIED)
    [begun] = post()
    assert "15 June 2026" in begun
    with transaction(services, now=NOW + DAY) as tx:
        handling.withdraw(tx, known.row.request_id)
    _, undone = post(NOW + DAY)
    assert "has undone its closing" in undone
    with owner_engine.connect() as connection:
        sent = connection.execute(text("SELECT kind FROM outbox WHERE status = 'sent' ORDER BY mail_id"))
        assert [kind for (kind,) in sent] == [closure.BEGUN, closure.UNDONE]


def test_an_erasure_that_waits_for_staff_is_acknowledged_and_its_withdrawal_told(services: Services, post: Post) -> None:
    account_id, _ = account_of(services)
    with transaction(services) as tx:
        restriction.restrict_account(tx, account_id)
        known = handling.receive(tx, services.policy, account_id, "erasure", identity=IDENTIFIED)
    [received] = post()
    assert "We answer the request by" in received
    with transaction(services, now=NOW + DAY) as tx:
        handling.withdraw(tx, known.row.request_id)
    assert "withdrawn" in post(NOW + DAY)[1]


def test_the_address_of_the_portal_is_that_of_the_installation(services: Services, post: Post) -> None:
    account_of_it, _ = account_of(services)
    receive(services, account_of_it, identity=IDENTIFIED)
    assert f" {services.settings.issuer.rstrip('/')}/portal/ " in post()[0]
    for url in ("https://cloud.example", "https://cloud.example/"):
        assert replace(services.post, url=url).portal == "https://cloud.example/portal/"
