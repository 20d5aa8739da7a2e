"""Recipients are told of rectification, erasure and restriction, each once, before the data is gone."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text

from cloudpriv import mail_templates
from cloudpriv.audit.events import AuditEvent
from cloudpriv.bootstrap import Services
from cloudpriv.controller import delivery
from cloudpriv.controller.delivery import DroppedError
from cloudpriv.controller.outbox import Mail
from cloudpriv.platform.errors import ConflictError
from cloudpriv.platform.mail import Mailer
from cloudpriv.retention import runs
from cloudpriv.rights import effects, telling
from cloudpriv.rights.mail import writers
from cloudpriv.rights.tables import RecipientNotice
from tests.disclosed import ALL, disclose
from tests.factories import NOW, make_account, make_person, transaction
from tests.mailbox import SENDER, mail_server
from tests.purges import close, make_full_account, order, purge_of, rows_of, run
from tests.stack import every_row


def notices(services: Services, account_id: UUID) -> list[RecipientNotice]:
    with transaction(services) as tx:
        query = select(RecipientNotice).where(RecipientNotice.account_id == account_id)
        return list(tx.session.scalars(query.order_by(RecipientNotice.notice_id)))


def notify(services: Services, account_id: UUID, kind: str = "rectification", **members: Any) -> list[UUID]:
    given = {"categories": ALL, **members}
    with transaction(services) as tx:
        return telling.notify(tx, account_id, kind, **given)


def mails(services: Services, kind: str) -> list[Mail]:
    with transaction(services) as tx:
        return list(tx.session.scalars(select(Mail).where(Mail.kind == kind)))


def end_mails(owner: Engine, status: str) -> None:
    with owner.begin() as connection:
        connection.execute(text("UPDATE outbox SET status = :status, sent_at = :now"), {"status": status, "now": NOW})


def conclude(services: Services) -> int:
    with transaction(services) as tx:
        return telling.conclude(tx)


def test_everybody_is_told_who_was_given_data_of_the_categories_concerned(services: Services) -> None:
    account_id = make_account(services).row.account_id
    one, other = (make_person(services, account_id).row.person_id for _ in range(2))
    whole = disclose(services, account_id).row.disclosure_id
    own = disclose(services, account_id, person_id=one, categories=["identification"]).row.disclosure_id
    disclose(services, account_id, person_id=one, categories=["traffic_metadata"])
    disclose(services, account_id, person_id=other)
    notify(services, account_id, categories=["identification"], person_id=one)
    found = notices(services, account_id)
    assert [(each.disclosure_id, each.concerns, each.categories) for each in found] == [
        (whole, one, ["identification"]),
        (own, one, ["identification"]),
    ]
    assert [mail.subject_id for mail in mails(services, "recipient_rectification")] == [each.notice_id for each in found]


def test_what_concerns_the_whole_account_is_told_to_all(services: Services) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    for each in (None, person_id):
        disclose(services, account_id, person_id=each)
    assert len(notify(services, account_id, "restriction")) == 2


@pytest.mark.parametrize(("possible", "told_at"), [(True, NOW), (False, None)])
def test_whoever_has_no_address_is_left_to_staff(services: Services, possible: bool, told_at: datetime | None) -> None:
    account_id = make_account(services).row.account_id
    disclose(services, account_id, email=None)
    [notice_id] = notify(services, account_id)
    with transaction(services) as tx:
        [left] = telling.list_for_staff(tx, limit=10)
        assert (left.notice_id, left.status) == (notice_id, "by_staff")
    assert mails(services, "recipient_rectification") == []
    with transaction(services) as tx:
        assert telling.settle(tx, account_id, notice_id, possible=possible).told_at == told_at
    with transaction(services) as tx:
        assert telling.list_for_staff(tx, limit=10) == []
    with pytest.raises(ConflictError), transaction(services) as tx:
        telling.settle(tx, account_id, notice_id, possible=True)


def test_an_erasure_is_told_once_and_each_rectification_anew(services: Services) -> None:
    account_id = make_account(services).row.account_id
    disclose(services, account_id)
    assert len(notify(services, account_id, "erasure")) == 1
    assert notify(services, account_id, "erasure") == []
    assert len(notify(services, account_id)) == len(notify(services, account_id)) == 1


@pytest.mark.parametrize(("ended", "status"), [("sent", "told"), ("failed", "by_staff"), ("dropped", "by_staff")])
def test_a_notice_ends_as_its_mail_ends(
    services: Services, worker_services: Services, owner_engine: Engine, ended: str, status: str
) -> None:
    account_id = make_account(services).row.account_id
    disclose(services, account_id)
    notify(services, account_id)
    assert conclude(worker_services) == 0
    end_mails(owner_engine, ended)
    assert conclude(worker_services) == 1
    [notice] = notices(services, account_id)
    assert (notice.status, notice.told_at) == (status, NOW if status == "told" else None)


@pytest.mark.parametrize("kind", telling.KINDS)
def test_the_mail_reaches_the_recipient_and_names_nobody(services: Services, worker_services: Services, kind: str) -> None:
    account_id = make_account(services, account_name="canary-account").row.account_id
    person_id = make_person(services, account_id, name="canary-name", username="canary-user").row.person_id
    disclosed = disclose(services, account_id, reference="ND-17").row.disclosure_id
    notify(services, account_id, kind, person_id=person_id)
    [mail] = mails(services, f"recipient_{kind}")
    with mail_server() as box:
        mailer = Mailer(f"smtp://127.0.0.1:{box.port}", SENDER)
        delivery.deliver(worker_services.controller, mailer, mail.mail_id, lambda: NOW, writers(services.post))
    [message] = box.received
    assert box.recipients == ["privacy@distributor.example"]
    said = " ".join(message.get_content().split())
    for told in ("ND-17", str(disclosed), str(account_id), str(person_id), ", ".join(ALL)):
        assert told in said, told
    assert "canary" not in str(message)
    assert "$" not in said


@pytest.mark.parametrize("kind", telling.KINDS)
def test_texts_of_all_languages_can_be_filled_in_alike(services: Services, kind: str) -> None:
    asked = {
        tuple(sorted({*text.subject.get_identifiers(), *text.body.get_identifiers()}))
        for text in mail_templates.texts(f"recipient_{kind}").values()
    }
    assert len(asked) == 1


def test_a_mail_about_what_staff_has_told_is_dropped(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    disclose(services, account_id)
    notify(services, account_id)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE recipient_notices SET status = 'told'"))
    [mail] = mails(services, "recipient_rectification")
    with pytest.raises(DroppedError), transaction(services) as tx:
        writers(services.post)["recipient_rectification"](tx, mail)


def test_the_purge_of_an_account_begins_when_its_recipients_are_told(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    disclose(services, account_id)
    purge_id = close(services, account_id)
    run(worker_services, purge_id)
    waiting = purge_of(services, purge_id)
    assert (waiting.status, waiting.step, waiting.attempts) == ("planned", "keys", 0)
    told_before = [each.status for each in notices(services, account_id)][:-1]
    assert notices(services, account_id)[-1].status == "pending"
    run(worker_services, purge_id, NOW + timedelta(minutes=2))
    assert len(notices(services, account_id)) == len(told_before) + 1, "told once, however often the purge looks"
    end_mails(owner_engine, "sent")
    run(worker_services, purge_id, NOW + timedelta(minutes=4))
    assert purge_of(services, purge_id).status == "done"
    assert rows_of(owner_engine, account_id) == {}


def test_the_purge_waits_three_days_for_staff_and_for_mail_and_no_longer(
    services: Services, worker_services: Services
) -> None:
    account_id = make_full_account(services)
    disclose(services, account_id, email=None)
    disclose(services, account_id)
    purge_id = close(services, account_id)
    for later in (timedelta(), timedelta(days=2, hours=23)):
        run(worker_services, purge_id, NOW + later)
        assert purge_of(services, purge_id).step == "keys"
    run(worker_services, purge_id, NOW + timedelta(days=3))
    assert purge_of(services, purge_id).status == "done"
    with transaction(services) as tx:
        untold = tx.session.scalars(select(AuditEvent).where(AuditEvent.action == "recipient.not_told")).all()
    assert [each.account_id for each in untold] == [account_id] * 2, "what nobody was told of stays in the trail"


def test_the_purge_goes_on_once_staff_has_told_who_has_no_address(services: Services, worker_services: Services) -> None:
    account_id = make_full_account(services)
    disclose(services, account_id, email=None)
    purge_id = close(services, account_id)
    run(worker_services, purge_id)
    *_, notice = notices(services, account_id)
    with transaction(services) as tx:
        telling.settle(tx, account_id, notice.notice_id, possible=False)
    run(worker_services, purge_id, NOW + timedelta(minutes=2))
    assert purge_of(services, purge_id).status == "done"


def test_recipients_are_told_of_an_erasure_by_the_policy_too(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=NOW - timedelta(days=3000)).row.account_id
    disclose(services, account_id)
    purge_id = order(services, owner_engine, account_id)
    run(worker_services, purge_id)
    assert [each.kind for each in notices(services, account_id)] == ["erasure"]
    end_mails(owner_engine, "sent")
    run(worker_services, purge_id, NOW + timedelta(minutes=2))
    assert purge_of(services, purge_id).status == "done"


def test_what_a_restore_brought_back_is_erased_without_telling_again(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    disclose(services, account_id)
    with transaction(services) as tx:
        again = runs.plan_request(tx, services.policy, account_id, "talk2m", trigger="replay", rule=runs.ON_REQUEST)
    run(worker_services, again.purge_id)
    assert purge_of(services, again.purge_id).status == "done"


def test_an_account_whose_key_does_not_open_is_erased_though_nobody_can_be_told(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    disclose(services, account_id)
    purge_id = close(services, account_id)
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE account_keys SET wrapped = reverse(wrapped)"))
    run(worker_services, purge_id)
    assert purge_of(services, purge_id).status == "done"
    with transaction(services) as tx:
        told = select(AuditEvent.action).where(AuditEvent.account_id == account_id)
        assert "recipient.not_told" in tx.session.scalars(told).all()


def test_no_notice_holds_personal_data_in_the_clear(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    person = make_person(services, account_id, name="canary-name").row
    disclose(services, account_id, recipient="canary-recipient", email="canary@distributor.example")
    with transaction(services) as tx:
        effects.rectify_person(tx, account_id, person.person_id, 1, {"name": "canary-other", "email": "canary@x.example"})
    assert len(notices(services, account_id)) == 1
    assert not [row for rows in every_row(owner_engine).values() for row in rows if "canary" in row]


def test_a_notice_whose_mail_came_back_is_left_to_staff_once(services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    disclose(services, account_id)
    [notice_id] = notify(services, account_id)
    end_mails(owner_engine, "sent")
    assert conclude(services) == 1
    with transaction(services) as tx:
        [mail] = tx.session.scalars(select(Mail.mail_id).where(Mail.subject_id == notice_id))
    with owner_engine.begin() as connection:  # as `delivery.record_bounce` marks it
        connection.execute(
            text("UPDATE outbox SET status = 'failed', failure = 'bounced_5.1.1' WHERE mail_id = :m"), {"m": mail}
        )
    assert conclude(services) == 1
    assert [(each.status, each.told_at) for each in notices(services, account_id)] == [("by_staff", None)]
    with transaction(services, now=NOW + timedelta(minutes=1)) as tx:
        telling.settle(tx, account_id, notice_id, possible=True)
    assert conclude(services) == 0
    assert [each.status for each in notices(services, account_id)] == ["told"]
