"""Before the erasure of an account begins: what is open is answered, once, and the letters are out before addresses go."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller.outbox import Mail
from cloudpriv.controller.tables import Account
from cloudpriv.mail_templates import filled_in
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.clock import APART, utc_now
from cloudpriv.retention.tables import Purge
from cloudpriv.rights import closure, farewell, handling
from cloudpriv.rights.closure import COOLING_OFF
from cloudpriv.rights.mail import writers
from cloudpriv.rights.requests import KnownRequest
from cloudpriv.rights.tables import Export, SubjectRequest
from tests.consents import Kim
from tests.exports import IDENTIFIED
from tests.factories import make_account, make_person, transaction
from tests.purges import LONG_AGO, close, plan, purge_of, run

STEP = timedelta(minutes=1)


def ask(services: Services, account_id: UUID, type_: str, person_id: UUID | None = None, *, known: bool = True,
        **details: object) -> KnownRequest:  # fmt: skip
    with transaction(services, now=utc_now() - COOLING_OFF - STEP) as tx:
        return handling.receive(
            tx, services.policy, account_id, type_, person_id=person_id, details=details,
            channel="letter", identity=IDENTIFIED if known else None,
        )  # fmt: skip


def ended(services: Services, known: KnownRequest) -> tuple[str, str | None]:
    with transaction(services) as tx:
        row = tx.session.get_one(SubjectRequest, (known.row.account_id, known.row.request_id))
        return row.status, row.ground


def letters(services: Services) -> list[tuple[str, UUID | None, UUID | None]]:
    with transaction(services) as tx:
        query = select(Mail).where(Mail.kind.in_(("request_completed", "request_refused"))).order_by(Mail.mail_id)
        return [(mail.kind, mail.person_id, mail.subject_id) for mail in tx.session.scalars(query)]


def test_what_is_open_is_answered_before_the_purge_begins_and_the_letters_go_out_before_it(
    services: Services, worker_services: Services, kim: Kim
) -> None:
    account_id = kim.account_id
    unknown = ask(services, account_id, "access", kim.person_id, known=False)
    waiting = ask(services, account_id, "objection", text="no")
    running = ask(services, account_id, "access")
    purge_id = close(services, account_id)
    run(worker_services, purge_id, utc_now())
    assert purge_of(services, purge_id).step == "keys", "it waits for the letters"
    assert [ended(services, each) for each in (unknown, waiting, running)] == [
        ("refused", "identity_not_verified"),
        ("completed", None),
        ("completed", None),
    ]
    assert letters(services) == [
        ("request_refused", kim.person_id, unknown.row.request_id),
        ("request_completed", kim.person_id, waiting.row.request_id),
        ("request_completed", kim.person_id, running.row.request_id),
    ]
    with transaction(services) as tx:
        assert tx.session.scalars(select(Export.status)).all() == ["failed"]
    run(worker_services, purge_id, utc_now() + STEP * 2)  # whoever died after that finds everything answered
    assert len(letters(services)) == 3
    kim.post(utc_now() + STEP * 3)
    assert [mail["To"] for mail in kim.mailbox.received if "request" in str(mail["Subject"])] == ["kim@example.com"] * 3
    run(worker_services, purge_id, utc_now() + STEP * 5)
    assert purge_of(services, purge_id).status == "done"


def test_nothing_is_answered_by_a_worker_that_dies_before_its_commit(services: Services, worker_services: Services) -> None:
    account_id = make_account(services).row.account_id
    make_person(services, account_id)
    known = ask(services, account_id, "access", known=False)
    close(services, account_id)

    class KilledError(Exception):
        pass

    def stopped() -> None:
        with worker_services.controller.transaction(WORKER, utc_now()) as tx:
            assert not farewell.before_erasure(tx, account_id)
            raise KilledError

    with pytest.raises(KilledError):
        stopped()
    assert (ended(services, known), letters(services)) == (("received", None), [])


def test_the_closing_itself_needs_no_second_letter(services: Services, worker_services: Services) -> None:
    account_id = make_account(services).row.account_id
    make_person(services, account_id)
    asked = [ask(services, account_id, "erasure") for _ in range(2)]
    contradicting = ask(services, account_id, "restriction")
    closure.advance(worker_services.controller, services.policy, utc_now)
    with transaction(services) as tx:
        [planned] = tx.session.scalars(select(Purge.purge_id))
    run(worker_services, planned, utc_now())
    assert [ended(services, each)[0] for each in (*asked, contradicting)] == ["completed"] * 3
    assert [subject for _, _, subject in letters(services)] == [contradicting.row.request_id]


@pytest.mark.parametrize("locale", ["en", "sv", "fr", "es"])
@pytest.mark.parametrize("known", [True, False])
def test_the_letter_says_that_everything_is_erased(services: Services, locale: str, known: bool) -> None:
    account_id = make_account(services).row.account_id
    make_person(services, account_id, locale=locale)
    ask(services, account_id, "objection", known=known)
    with transaction(services) as tx:
        farewell.before_erasure(tx, account_id)
    with transaction(services) as tx:
        mail = tx.session.scalars(select(Mail).where(Mail.kind.in_(("request_completed", "request_refused")))).one()
        letter = writers(services.post)[mail.kind](tx, mail)
    _, body = filled_in(mail.kind, letter.locale, letter.values)
    assert "account_erased" not in body
    words = {"en": "being erased", "sv": "raderas", "fr": "effac", "es": "se están borrando" if known else "se borran"}
    assert words[locale] in " ".join(body.split())


def test_the_policy_erases_nothing_that_somebody_asks_for_while_there_is_time_to_answer(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    kim = make_person(services, account_id).row.person_id
    known = ask(services, account_id, "access", kim)
    [purge_id] = plan(services, owner_engine, utc_now())
    for minutes in (1, 3):
        run(worker_services, purge_id, utc_now() + STEP * minutes)
    assert (ended(services, known), letters(services)) == (("in_progress", None), [])
    with transaction(services) as tx:  # and then the account is used again
        tx.session.get_one(Account, account_id).last_traffic_at = utc_now()
    run(worker_services, purge_id, utc_now() + STEP * 5)
    assert (purge_of(services, purge_id).status, ended(services, known)) == ("cancelled", ("in_progress", None))


def test_the_policy_waits_no_longer_than_the_answers_may_take(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=LONG_AGO).row.account_id
    kim = make_person(services, account_id).row.person_id
    known = ask(services, account_id, "access", kim, known=False)
    [purge_id] = plan(services, owner_engine, utc_now())
    with transaction(services) as tx:
        row = tx.session.get_one(SubjectRequest, (account_id, known.row.request_id))
        row.due_on = utc_now().date() - timedelta(days=1)
    run(worker_services, purge_id, utc_now() + STEP)
    assert ended(services, known) == ("refused", "identity_not_verified")


@pytest.mark.parametrize("behind", [timedelta(0), APART])
def test_a_worker_whose_clock_is_behind_waits_for_its_letters_too(
    services: Services, worker_services: Services, owner_engine: Engine, behind: timedelta
) -> None:
    account_id = make_account(services).row.account_id
    make_person(services, account_id)
    ask(services, account_id, "access")
    purge_id, now = close(services, account_id), utc_now()
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE purges SET planned_at = :now"), {"now": now})
    for at in (now - behind, now - behind + 2 * STEP):
        run(worker_services, purge_id, at)
        assert purge_of(services, purge_id).step == "keys"
