"""The end of a restriction: at once on the word of whoever obtained it, else a week after they were told when and why."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text, update

from cloudpriv.audit.events import AuditEvent
from cloudpriv.bootstrap import Services
from cloudpriv.controller.delivery import DroppedError
from cloudpriv.controller.outbox import Mail
from cloudpriv.mail_templates import filled_in
from cloudpriv.platform.clock import utc_now
from cloudpriv.platform.errors import ConflictError, ForbiddenError
from cloudpriv.rights import handling, own_restriction, restriction, restriction_ends
from cloudpriv.rights.mail import writers
from cloudpriv.rights.restriction import Standing
from cloudpriv.rights.restriction_notice import LATE, NOTICE, not_told
from cloudpriv.rights.tables import SubjectRequest
from tests.exports import IDENTIFIED
from tests.factories import BACKEND, make_account, make_person, transaction
from tests.requests import member, owner

STEP = timedelta(minutes=1)
WHOLE = [True, False]


def place(services: Services) -> tuple[UUID, UUID]:
    """An account and its owner."""
    account_id = make_account(services).row.account_id
    return account_id, make_person(services, account_id, locale="en").row.person_id


def ask(services: Services, account_id: UUID, person_id: UUID | None, type_: str = "restriction",
        now: datetime | None = None, **details: object) -> SubjectRequest:  # fmt: skip
    with transaction(services, BACKEND, now or utc_now()) as tx:
        return handling.receive(
            tx, services.policy, account_id, type_, person_id=person_id, identity=IDENTIFIED, details=details
        ).row


def restrict(services: Services, account_id: UUID, person_id: UUID | None) -> None:
    """By staff."""
    with transaction(services) as tx:
        if person_id is None:
            restriction.restrict_account(tx, account_id)
        else:
            restriction.restrict_person(tx, account_id, person_id)


def lift(services: Services, account_id: UUID, person_id: UUID | None, now: datetime | None = None) -> Standing:
    """By staff."""
    with transaction(services, now=now or utc_now()) as tx:
        if person_id is None:
            return restriction.lift_account(tx, account_id, "accuracy_verified")
        return restriction.lift_person(tx, account_id, person_id, "accuracy_verified")


def standing(services: Services, account_id: UUID, person_id: UUID | None) -> Standing:
    with transaction(services) as tx:
        return restriction.standing(tx, account_id, person_id)


def mails_end(services: Services, status: str = "sent") -> None:
    """What the worker enters of those that wait."""
    with transaction(services) as tx:
        tx.session.execute(
            update(Mail).where(Mail.kind == "restriction_ends", Mail.status == "queued").values(status=status)
        )


def advance(services: Services, now: datetime | None = None, mail: str = "sent") -> int:
    """Do what the worker and the schedule do."""
    mails_end(services, mail)
    return restriction_ends.advance(services.controller, lambda: now or utc_now())


def mails(services: Services) -> list[Mail]:
    with transaction(services) as tx:
        return list(tx.session.scalars(select(Mail).where(Mail.kind == "restriction_ends").order_by(Mail.mail_id)))


def actions(services: Services) -> list[str]:
    with transaction(services) as tx:
        query = select(AuditEvent.action).where(AuditEvent.action.regexp_match("[.](restrict|lift)"))
        return list(tx.session.scalars(query.order_by(AuditEvent.event_id)))


@pytest.mark.parametrize("whole", WHOLE)
def test_staff_ends_a_restriction_a_week_after_its_holder_was_told(
    services: Services, worker_services: Services, whole: bool
) -> None:
    account_id, kim = place(services)
    about = None if whole else kim
    ask(services, account_id, about)
    now = utc_now() - NOTICE + timedelta(hours=1)
    assert lift(services, account_id, about, now) == (("request",), now + NOTICE, "accuracy_verified")
    assert [mail.person_id for mail in mails(services)] == [kim]
    assert advance(worker_services) == 0
    assert standing(services, account_id, about).causes == ("request",)
    with transaction(services) as tx:  # time goes by
        tx.session.execute(text("UPDATE accounts SET restriction_ends_at = restriction_ends_at - interval '2 hours'"))
        tx.session.execute(text("UPDATE people SET restriction_ends_at = restriction_ends_at - interval '2 hours'"))
    assert [advance(worker_services), advance(worker_services)] == [1, 0]
    assert standing(services, account_id, about) == ((), None, None)
    kind = "account" if whole else "person"
    assert actions(services) == [f"{kind}.restrict", f"{kind}.lift_announce", f"{kind}.lift"]


def noted(services: Services, account_id: UUID, person_id: UUID | None, ground: restriction.Ground) -> Standing:
    """By staff: they were told."""
    with transaction(services, now=utc_now()) as tx:
        if person_id is None:
            return restriction.lift_account(tx, account_id, ground, told=True)
        return restriction.lift_person(tx, account_id, person_id, ground, told=True)


@pytest.mark.parametrize("whole", WHOLE)
@pytest.mark.parametrize("mail", ["queued", "dropped", "failed"])
def test_nothing_ends_whose_holder_was_not_told_until_staff_has_told_them(
    services: Services, worker_services: Services, whole: bool, mail: str
) -> None:
    account_id, kim = place(services)
    about = None if whole else kim
    ask(services, account_id, about)
    lift(services, account_id, about, utc_now() - NOTICE - STEP)
    assert [advance(worker_services, mail=mail), advance(worker_services, mail=mail)] == [0, 0]
    assert standing(services, account_id, about).causes == ("request",)
    with transaction(services, now=utc_now()) as tx:
        assert not_told(tx) == [(account_id, about)]
    with pytest.raises(ConflictError):
        noted(services, account_id, about, "claims_settled")  # another ground than was announced
    assert noted(services, account_id, about, "accuracy_verified") == ((), None, None)
    with transaction(services, now=utc_now()) as tx:
        assert not_told(tx) == []


def test_an_account_goes_on_where_one_of_its_owners_was_not_told(services: Services, worker_services: Services) -> None:
    account_id, _ = place(services)
    make_person(services, account_id)
    restrict(services, account_id, None)
    lift(services, account_id, None, utc_now() - NOTICE - STEP)
    first, second = (mail.mail_id for mail in mails(services))
    with transaction(worker_services) as tx:
        tx.session.execute(update(Mail).where(Mail.mail_id == first).values(status="sent"))
        tx.session.execute(update(Mail).where(Mail.mail_id == second).values(status="failed"))
    assert advance(worker_services) == 0
    assert standing(services, account_id, None).causes == ("staff",)


@pytest.mark.parametrize("whole", WHOLE)
def test_a_letter_about_an_earlier_end_tells_nobody_of_a_later_one(
    services: Services, worker_services: Services, whole: bool
) -> None:
    account_id, kim = place(services)
    about = None if whole else kim
    ask(services, account_id, about)
    lift(services, account_id, about, utc_now() - NOTICE - 3 * STEP)
    mails_end(worker_services)
    ask(services, account_id, about)  # cancels it
    lift(services, account_id, about, utc_now() - NOTICE - STEP)
    assert advance(worker_services, mail="dropped") == 0


def test_an_end_is_listed_as_untold_two_days_after_it_was_announced(services: Services, worker_services: Services) -> None:
    account_id, kim = place(services)
    ask(services, account_id, kim)
    now = utc_now()
    lift(services, account_id, kim, now)
    for later, expected in ((LATE - STEP, []), (LATE, [(account_id, kim)])):
        with transaction(services, now=now + later) as tx:
            assert not_told(tx) == expected
    mails_end(worker_services)
    with transaction(services, now=now + LATE) as tx:
        assert not_told(tx) == []


@pytest.mark.parametrize("whole", WHOLE)
def test_nobody_notes_that_somebody_was_told_before_the_end_has_come(services: Services, whole: bool) -> None:
    account_id, kim = place(services)
    about = None if whole else kim
    ask(services, account_id, about)
    with pytest.raises(ConflictError):
        noted(services, account_id, about, "accuracy_verified")
    lift(services, account_id, about)
    with pytest.raises(ConflictError):
        noted(services, account_id, about, "accuracy_verified")


def test_two_schedules_at_once_end_it_once(services: Services, worker_services: Services) -> None:
    account_id, kim = place(services)
    for about in (None, kim):
        ask(services, account_id, about)
        lift(services, account_id, about, utc_now() - NOTICE - STEP)
    now = utc_now()
    mails_end(worker_services)
    with worker_services.controller.transaction(BACKEND, now) as first:
        assert restriction_ends._end_due(first, now, None) == 1
        assert advance(worker_services) == 0  # what the first has locked is skipped
    assert advance(worker_services) == 0
    assert actions(services).count("account.lift") == actions(services).count("person.lift") == 1


def test_a_schedule_whose_clock_is_ahead_ends_nothing(services: Services, worker_services: Services) -> None:
    account_id, _ = place(services)
    restrict(services, account_id, None)
    lift(services, account_id, None)
    assert advance(worker_services, utc_now() + NOTICE + STEP) == 0
    assert standing(services, account_id, None).causes == ("staff",)


def test_what_was_announced_before_a_restore_is_announced_again(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id, _ = place(services)
    restrict(services, account_id, None)
    lift(services, account_id, None, utc_now() - NOTICE - STEP)
    restored = utc_now()
    with owner_engine.begin() as connection:  # as `purge replay` does
        connection.execute(
            text("INSERT INTO logs (log, origin, vkey, size, begun_at) VALUES (2, 'any/2', 'any', 0, :now)"),
            {"now": restored},
        )
    advance(worker_services)
    assert standing(services, account_id, None) == (("staff",), restored + NOTICE, "accuracy_verified")
    assert len(mails(services)) == 2


@pytest.mark.parametrize("whole", WHOLE)
def test_a_new_request_cancels_the_end(services: Services, worker_services: Services, whole: bool) -> None:
    account_id, kim = place(services)
    about = None if whole else kim
    ask(services, account_id, about)
    lift(services, account_id, about, utc_now() - NOTICE - STEP)
    ask(services, account_id, about)
    assert advance(worker_services) == 0
    assert standing(services, account_id, about) == (("request",), None, None)
    with transaction(services) as tx, pytest.raises(DroppedError):
        writers(services.post)["restriction_ends"](tx, mails(services)[0])


@pytest.mark.parametrize("whole", WHOLE)
def test_whoever_obtained_it_ends_it_at_once(services: Services, whole: bool) -> None:
    account_id, kim = place(services)
    about = None if whole else kim
    ask(services, account_id, about)
    lift(services, account_id, about)
    with transaction(services, owner(account_id, kim)) as tx:
        ended = own_restriction.lift_account(tx, account_id) if whole else own_restriction.lift_person(tx, account_id, kim)
    assert ended == ((), None, None)


def test_nobody_else_ends_it(services: Services) -> None:
    account_id, kim = place(services)
    other = make_person(services, account_id).row.person_id
    for about in (None, kim):
        ask(services, account_id, about)
    with transaction(services, member(account_id, kim)) as tx, pytest.raises(ForbiddenError):
        own_restriction.lift_account(tx, account_id)
    with transaction(services, owner(account_id, other)) as tx, pytest.raises(ForbiddenError):
        own_restriction.lift_person(tx, account_id, kim)


@pytest.mark.parametrize("whole", WHOLE)
@pytest.mark.parametrize("staff_first", [True, False])
def test_the_end_of_one_cause_is_not_that_of_another_and_all_is_in_the_trail(
    services: Services, whole: bool, staff_first: bool
) -> None:
    account_id, kim = place(services)
    about = None if whole else kim
    if staff_first:
        restrict(services, account_id, about)
        ask(services, account_id, about)
    else:
        ask(services, account_id, about)
        restrict(services, account_id, about)
    assert standing(services, account_id, about).causes == ("request", "staff")
    assert lift(services, account_id, about) == (("request",), None, None), "staff's own goes, the holder's stays"
    kind = "account" if whole else "person"
    assert actions(services) == [f"{kind}.restrict"] * 2 + [f"{kind}.lift_cause"]
    assert mails(services) == []


def test_what_a_holder_ends_does_not_end_what_staff_restricted(services: Services) -> None:
    account_id, kim = place(services)
    ask(services, account_id, None)
    restrict(services, account_id, None)
    with transaction(services, owner(account_id, kim)) as tx:
        assert own_restriction.lift_account(tx, account_id).causes == ("staff",)
    with transaction(services, owner(account_id, kim)) as tx, pytest.raises(ForbiddenError):
        own_restriction.lift_account(tx, account_id)


def test_an_objection_that_is_upheld_restricts_for_good(services: Services) -> None:
    account_id, kim = place(services)
    asked = ask(services, account_id, kim, "objection", restrict=True)
    assert standing(services, account_id, kim).causes == ("objection",)
    with transaction(services) as tx:
        handling.grant(tx, services.policy, asked.request_id)
    assert standing(services, account_id, kim) == (("request",), None, None)


def test_what_nobody_restricted_has_no_end(services: Services) -> None:
    account_id, kim = place(services)
    assert [lift(services, account_id, about) for about in (None, kim)] == [((), None, None)] * 2
    assert (mails(services), actions(services)) == ([], [])


@pytest.mark.parametrize("locale", ["en", "sv", "fr", "es"])
@pytest.mark.parametrize("whole", WHOLE)
@pytest.mark.parametrize("ground", restriction.GROUNDS)
def test_the_letter_says_when_and_why_and_where_to_complain(
    services: Services, locale: str, whole: bool, ground: restriction.Ground
) -> None:
    account_id = make_account(services).row.account_id
    kim = make_person(services, account_id, locale=locale).row.person_id
    ask(services, account_id, None if whole else kim)
    with transaction(services, now=datetime.fromisoformat("2026-06-01T12:00:00Z")) as tx:
        if whole:
            restriction.lift_account(tx, account_id, ground)
        else:
            restriction.lift_person(tx, account_id, kim, ground)
    with transaction(services) as tx:
        letter = writers(services.post)["restriction_ends"](tx, mails(services)[0])
    subject, body = filled_in("restriction_ends", letter.locale, letter.values)
    day = {"en": "8 June 2026", "sv": "8 juni 2026", "fr": "8 juin 2026", "es": "8 de junio de 2026"}[locale]
    assert day in subject
    assert day in body
    assert "Integritetsskyddsmyndigheten" in body
    assert "imy.se" in body
