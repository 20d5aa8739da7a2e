"""Owners: staff replaces one who left, after a check, with notice to everybody and a week in which it can be stopped."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import delivery, people
from cloudpriv.controller.outbox import Mail
from cloudpriv.controller.tables import Account, Person
from cloudpriv.platform.actor import HOLDER, Actor
from cloudpriv.platform.clock import APART
from cloudpriv.platform.errors import AccountClosingError, ConflictError, ForbiddenError, NotFoundError
from cloudpriv.platform.ids import new_id
from cloudpriv.rights import owners
from cloudpriv.rights.owners import WAITING, Evidence
from cloudpriv.rights.tables import OwnerReplacement
from tests.factories import BACKEND, NOW, make_account, transaction
from tests.mailbox import Mailbox, mail_server, with_mail
from tests.stack import every_row
from workers import duties, sweep

INSTANT = timedelta.resolution
EVIDENCE = Evidence("extract of the register of 28 May 2026", "called the number in the register; the board confirmed it")
LATER = NOW + WAITING


@pytest.fixture
def account_id(services: Services) -> UUID:
    """An account."""
    return make_account(services, account_name="acme-water").row.account_id


@pytest.fixture
def gone(services: Services, account_id: UUID) -> UUID:
    """Its owner, who has left."""
    return add(services, account_id, "owner", "gone")


@pytest.fixture
def alex(services: Services, account_id: UUID, gone: UUID) -> UUID:
    """A member of it."""
    return add(services, account_id, "member", "alex")


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """What the mail server took."""
    with mail_server() as found:
        yield found


@pytest.fixture
def postman(worker_services: Services, mailbox: Mailbox) -> Services:
    """A worker's services with that mail server."""
    return with_mail(worker_services, mailbox)


def add(services: Services, account_id: UUID, role: str, username: str, **identity: str | None) -> UUID:
    document = {"username": username, "name": username.title(), "email": f"{username}@example.com", **identity}
    with transaction(services) as tx:
        return people.add_person(tx, account_id, role, document).row.person_id


def start(services: Services, account_id: UUID, person_id: UUID, now: datetime = NOW) -> UUID:
    with transaction(services, BACKEND, now) as tx:
        return owners.start_replacement(tx, account_id, person_id, EVIDENCE).row.replacement_id


def holder(role: str, account_id: UUID, person_id: UUID) -> Actor:
    return Actor("owner" if role == "owner" else "member", str(person_id), "talk2m", frozenset({HOLDER}), account_id)


def stop(services: Services, actor: Actor, account_id: UUID, replacement_id: UUID) -> None:
    with transaction(services, actor) as tx:
        owners.stop(tx, account_id, replacement_id)


def advance(worker: Services, now: datetime) -> int:
    """What the duty does, on a host and a database whose clocks say `now`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owners, "database_time", lambda _: now)
        return owners.advance(worker.controller, lambda: now)


def role_of(services: Services, account_id: UUID, person_id: UUID) -> str:
    with transaction(services) as tx:
        return tx.session.get_one(Person, (account_id, person_id)).role


def statuses(services: Services) -> list[str]:
    with transaction(services) as tx:
        return list(tx.session.scalars(select(OwnerReplacement.status).order_by(OwnerReplacement.replacement_id)))


def deliver_all(postman: Services, now: datetime = NOW) -> list[str]:
    """Do what workers do about every mail; how each ended."""
    with transaction(postman, now=now) as tx:
        waiting = delivery.unfinished(tx)
    for mail_id in waiting:
        delivery.deliver(postman.controller, postman.mailer, mail_id, lambda: now, owners.writers(postman.post))
    with transaction(postman) as tx:
        mails = [tx.session.get_one(Mail, mail_id) for mail_id in waiting]
        return sorted(each.status if each.status == "sent" else f"{each.status}: {each.failure}" for each in mails)


def test_a_member_becomes_an_owner_after_a_week_and_not_a_moment_before(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID, gone: UUID
) -> None:
    start(services, account_id, alex)
    assert advance(worker_services, LATER - INSTANT) == 0
    assert role_of(services, account_id, alex) == "member"
    assert advance(worker_services, LATER) == 1
    assert (role_of(services, account_id, alex), role_of(services, account_id, gone)) == ("owner", "owner")
    assert advance(worker_services, LATER) == 0
    assert statuses(services) == ["done"]


def test_everybody_in_the_account_is_told_when_it_begins_and_when_it_is_done(
    services: Services, worker_services: Services, postman: Services, mailbox: Mailbox, account_id: UUID, alex: UUID
) -> None:
    add(services, account_id, "member", "silent", email=None)
    start(services, account_id, alex)
    assert deliver_all(postman) == ["dropped: no_address", "sent", "sent"]
    assert sorted(mailbox.recipients) == ["alex@example.com", "gone@example.com"]
    for body in mailbox.texts():
        assert "8 June 2026" in body
        assert EVIDENCE.documents not in body
        assert "Alex" not in body.partition("\n\n")[2], "it greets its reader and names nobody else"
    advance(worker_services, LATER)
    mailbox.received.clear()
    assert deliver_all(postman, LATER) == ["dropped: no_address", "sent", "sent"]
    assert {each["Subject"] for each in mailbox.received} == {'The Talk2M account "acme-water" has a new owner'}


def test_an_owner_stops_it_and_everybody_is_told(
    services: Services, worker_services: Services, postman: Services, mailbox: Mailbox,
    account_id: UUID, alex: UUID, gone: UUID,
) -> None:  # fmt: skip
    replacement_id = start(services, account_id, alex)
    stop(services, holder("owner", account_id, gone), account_id, replacement_id)
    assert advance(worker_services, LATER + timedelta(days=100)) == 0
    assert role_of(services, account_id, alex) == "member"
    assert deliver_all(postman) == ["dropped: over", "dropped: over", "sent", "sent"]
    assert {each["Subject"] for each in mailbox.received} == {'The Talk2M account "acme-water" keeps its owners'}
    with pytest.raises(ConflictError):
        stop(services, holder("owner", account_id, gone), account_id, replacement_id)


def test_staff_of_the_service_stops_it_too_and_nobody_else(services: Services, account_id: UUID, alex: UUID) -> None:
    replacement_id = start(services, account_id, alex)
    with pytest.raises(ForbiddenError):
        stop(services, holder("member", account_id, alex), account_id, replacement_id)
    other = make_account(services).row.account_id
    for stranger in (holder("owner", other, new_id()), Actor("client", "other", "intesis")):
        with pytest.raises(NotFoundError):
            stop(services, stranger, account_id, replacement_id)
    with pytest.raises(NotFoundError):
        stop(services, BACKEND, account_id, new_id())
    stop(services, BACKEND, account_id, replacement_id)
    assert statuses(services) == ["stopped"]


def test_one_waits_at_a_time_and_an_owner_becomes_none_again(
    services: Services, account_id: UUID, alex: UUID, gone: UUID
) -> None:
    with pytest.raises(ConflictError):
        start(services, account_id, gone)
    with pytest.raises(NotFoundError):
        start(services, account_id, new_id())
    first = start(services, account_id, alex)
    with pytest.raises(ConflictError):
        start(services, account_id, alex)
    stop(services, BACKEND, account_id, first)
    start(services, account_id, alex)
    assert statuses(services) == ["stopped", "waiting"]


def test_two_that_are_begun_at_once_are_one(services: Services, account_id: UUID, alex: UUID) -> None:
    together = Barrier(2)

    def at_once(_: int) -> bool:
        together.wait(60)
        try:
            start(services, account_id, alex)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(at_once, range(2))) == [False, True]


@pytest.mark.parametrize(("status", "role"), [("restricted", "owner"), ("closing", "member"), ("purging", "member")])
def test_an_account_that_is_being_closed_gets_no_new_owner(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID, status: str, role: str
) -> None:
    start(services, account_id, alex)
    with transaction(services) as tx:
        tx.session.get_one(Account, account_id).status = status
    advance(worker_services, LATER)
    assert role_of(services, account_id, alex) == role


def test_none_is_begun_for_an_account_that_is_being_closed(services: Services, account_id: UUID, alex: UUID) -> None:
    with transaction(services) as tx:
        tx.session.get_one(Account, account_id).status = "closing"
    with pytest.raises(AccountClosingError):
        start(services, account_id, alex)


def test_a_person_who_was_erased_meanwhile_becomes_no_owner(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID
) -> None:
    robin = add(services, account_id, "member", "robin")
    start(services, account_id, alex)
    with transaction(services) as tx:
        people.remove_person(tx, account_id, alex, 1)
    assert statuses(services) == [], "what was checked about them went with them"
    start(services, account_id, robin)
    with transaction(services) as tx:
        people.defer_erasure(tx, account_id, robin, 1)
    advance(worker_services, LATER)
    assert (statuses(services), role_of(services, account_id, robin)) == (["stopped"], "member")


def test_two_schedules_at_once_do_it_once(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID
) -> None:
    start(services, account_id, alex)
    together = Barrier(2)

    def at_once(_: int) -> int:
        together.wait(60)
        return owners.advance(worker_services.controller, lambda: LATER)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owners, "database_time", lambda _: LATER)
        with ThreadPoolExecutor(2) as pool:
            assert sum(pool.map(at_once, range(2))) == 1
    with transaction(services) as tx:
        done = select(Mail.person_id).where(Mail.kind == "owner_done")
        assert len(tx.session.scalars(done).all()) == 2


def test_a_clock_that_is_ahead_makes_nobody_an_owner(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID
) -> None:
    start(services, account_id, alex)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owners, "database_time", lambda _: NOW)
        assert owners.advance(worker_services.controller, lambda: LATER) == 0
    assert role_of(services, account_id, alex) == "member"


def test_the_week_is_over_when_the_databases_clock_says_so_too(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID
) -> None:
    start(services, account_id, alex)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owners, "database_time", lambda _: LATER - INSTANT)
        assert owners.advance(worker_services.controller, lambda: LATER + APART - INSTANT) == 0
        patch.setattr(owners, "database_time", lambda _: LATER)
        assert owners.advance(worker_services.controller, lambda: LATER) == 1
    assert role_of(services, account_id, alex) == "owner"


def test_whoever_stops_while_working_leaves_nothing_half_done(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID
) -> None:
    start(services, account_id, alex)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owners, "_tell", stopped)
        with pytest.raises(KeyboardInterrupt):
            advance(worker_services, LATER)
    assert (role_of(services, account_id, alex), statuses(services)) == ("member", ["waiting"])
    assert advance(worker_services, LATER) == 1


def test_after_a_restore_everybody_is_told_again_before_anybody_becomes_an_owner(
    services: Services, worker_services: Services, owner_engine: Engine, account_id: UUID, gone: UUID, alex: UUID
) -> None:
    """Whoever owns the account may have stopped it after the backup."""
    start(services, account_id, alex)
    with owner_engine.begin() as connection:  # as `purge replay` does
        connection.execute(
            text("INSERT INTO logs (log, origin, vkey, size, begun_at) VALUES (2, 'any/2', 'any', 0, :now)"), {"now": LATER}
        )
    for _ in range(2):
        advance(worker_services, LATER)
    assert (role_of(services, account_id, alex), statuses(services)) == ("member", ["waiting"])
    with transaction(services) as tx:
        told = tx.session.scalars(select(Mail.person_id).where(Mail.kind == "owner_waiting")).all()
        assert sorted(map(str, told)) == sorted(map(str, [gone, alex] * 2))
    advance(worker_services, LATER + WAITING)
    assert role_of(services, account_id, alex) == "owner"


def test_the_schedule_makes_owners_of_those_whose_week_is_over(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID
) -> None:
    start(services, account_id, alex, now=worker_services.clock() - WAITING)
    [duty] = [each for each in duties.every_duty(sweep.Sweep(), worker_services) if each.name == "owners"]
    duty.do(worker_services)
    assert role_of(services, account_id, alex) == "owner"


def test_the_evidence_is_sealed_and_shown_to_owners(
    services: Services, account_id: UUID, alex: UUID, gone: UUID, owner_engine: Engine
) -> None:
    replacement_id = start(services, account_id, alex)
    with transaction(services, holder("owner", account_id, gone)) as tx:
        [found] = owners.list_replacements(tx, account_id)
    assert (found.row.replacement_id, found.evidence, found.row.checked_by) == (replacement_id, EVIDENCE, BACKEND.name)
    stored = str(every_row(owner_engine))
    assert EVIDENCE.documents not in stored
    assert EVIDENCE.note.encode().hex() not in stored


def test_every_step_is_audited(
    services: Services, worker_services: Services, account_id: UUID, alex: UUID, owner_engine: Engine
) -> None:
    first = start(services, account_id, alex)
    stop(services, BACKEND, account_id, first)
    start(services, account_id, alex)
    advance(worker_services, LATER)
    with owner_engine.connect() as connection:
        query = text("SELECT action, actor_kind, subject_id FROM audit_events WHERE action LIKE 'owner.%' ORDER BY event_id")
        assert [tuple(row) for row in connection.execute(query)] == [
            ("owner.announce", "client", alex),
            ("owner.stop", "client", alex),
            ("owner.announce", "client", alex),
            ("owner.replace", "worker", alex),
        ]
