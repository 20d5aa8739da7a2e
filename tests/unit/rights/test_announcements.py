"""A major change of the policy reaches every owner who was there before it, once, and stays in view until it was seen."""

import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cloudpriv import mail_templates
from cloudpriv.bootstrap import Services
from cloudpriv.controller import delivery, people
from cloudpriv.platform.actor import HOLDER, WORKER, Actor
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.policy.register import IN_FORCE, Policy, load
from cloudpriv.policy.succession import Policies
from cloudpriv.rights import announcements
from tests.factories import NOW, make_account, make_person, transaction
from tests.holders import Time
from tests.mailbox import Mailbox, with_mail
from tests.purges import Killed
from tests.stack import TestDatabase
from workers import jobs
from workers.duties import announce_policy
from workers.schedule import Schedule

SINCE = datetime(2026, 7, 1, tzinfo=UTC)  # a month after NOW, when the accounts of these tests are opened
DAY, MOMENT = timedelta(days=1), timedelta(microseconds=1)


def changed(tmp_path: Path, valid_from: str = "2026-07-01", *, major: bool = True) -> Policy:
    """The policy in force as a new version, from a file."""
    text_ = IN_FORCE.read_text(encoding="utf-8")
    text_ = text_.replace('version = "2023-03-30"', f'version = "{valid_from}"', 1)
    text_ = text_.replace("valid_from = 2023-03-30", f"valid_from = {valid_from}\nmajor = {str(major).lower()}", 1)
    path = tmp_path / f"{valid_from}.toml"
    path.write_text(text_, encoding="utf-8")
    return load(path)


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    """A version that changes much, in force from SINCE."""
    return changed(tmp_path)


@pytest.fixture
def worker(worker_services: Services, mailbox: Mailbox, policy: Policy) -> Services:
    """A worker under the new policy."""
    return replace(with_mail(worker_services, mailbox), policies=Policies(policy), clock=lambda: SINCE)


def make_owner(services: Services, account_id: UUID | None = None, **identity: object) -> tuple[UUID, UUID]:
    """An owner of a new account, or of this one."""
    found = account_id or make_account(services).row.account_id
    return found, make_person(services, found, **identity).row.person_id


def at(owner: Engine, person_id: UUID, **columns: object) -> None:
    """Change columns of a person behind the services' back."""
    with owner.begin() as connection:
        for name, value in columns.items():
            change = text(f"UPDATE people SET {name} = :value WHERE person_id = :id")  # noqa: S608  names of tests
            connection.execute(change, {"value": value, "id": person_id})


def announce(services: Services, policy: Policy, limit: int = 100, now: datetime = SINCE) -> int:
    with transaction(services, WORKER, now) as tx:
        return announcements.announce(tx, policy, limit=limit)


def post(services: Services) -> None:
    jobs.SERVICES.set(services)
    with transaction(services, now=SINCE) as tx:
        waiting = delivery.unfinished(tx)
    for mail_id in waiting:
        jobs.run_mail(str(mail_id))


def told(owner: Engine) -> set[UUID]:
    with owner.connect() as connection:
        return set(connection.execute(text("SELECT person_id FROM policy_announcements")).scalars())


def holder(account_id: UUID, person_id: UUID) -> Actor:
    return Actor("owner", str(person_id), "talk2m", frozenset({HOLDER}), account_id)


def test_every_owner_is_mailed_once(services: Services, worker: Services, policy: Policy, mailbox: Mailbox) -> None:
    account_id, _ = make_owner(services, email="one@example.com")
    make_owner(services, account_id, email="two@example.com")
    make_owner(services, email="three@example.com")
    assert [announce(worker, policy, limit=2) for _ in range(3)] == [2, 1, 0]
    post(worker)
    assert sorted(mailbox.recipients) == ["one@example.com", "three@example.com", "two@example.com"]
    assert announce(worker, policy, now=SINCE + 400 * DAY) == 0


def test_members_are_not_mailed(services: Services, worker: Services, policy: Policy, owner_engine: Engine) -> None:
    _, person_id = make_owner(services)
    at(owner_engine, person_id, role="member")
    assert announce(worker, policy) == 0


def test_a_version_that_is_not_major_is_announced_to_nobody(services: Services, worker: Services, tmp_path: Path) -> None:
    make_owner(services)
    assert announce(worker, changed(tmp_path, major=False)) == 0
    assert not load().major, "the first version that was installed changes nothing"


def test_who_came_under_the_new_policy_is_told_of_no_change(
    services: Services, worker: Services, policy: Policy, owner_engine: Engine
) -> None:
    (old, early), (_, late) = make_owner(services), make_owner(services)
    _, colleague = make_owner(services, old)
    at(owner_engine, colleague, created_at=SINCE)
    with owner_engine.begin() as connection:
        whose = "(SELECT account_id FROM people WHERE person_id = :id)"
        change = text(f"UPDATE accounts SET created_at = :at WHERE account_id = {whose}")  # noqa: S608  a constant
        connection.execute(change, {"at": SINCE, "id": late})
    at(owner_engine, early, created_at=SINCE - MOMENT)
    announce(worker, policy)
    assert told(owner_engine) == {early}


def test_each_version_is_announced_anew(services: Services, worker: Services, policy: Policy, tmp_path: Path) -> None:
    account_id, person_id = make_owner(services)
    assert announce(worker, policy) == 1
    assert announce(worker, changed(tmp_path, "2027-01-01")) == 1
    with transaction(services, holder(account_id, person_id)) as tx:
        announcements.acknowledge(tx, policy, account_id, person_id)
        assert announcements.pending(tx, changed(tmp_path, "2027-01-01"), account_id, person_id)


def test_a_change_is_told_before_it_comes_into_force(
    services: Services, worker: Services, policy: Policy, mailbox: Mailbox
) -> None:
    make_owner(services)
    assert announce(worker, policy, now=NOW) == 1
    post(worker)
    assert "It applies from 1 July 2026." in " ".join(mailbox.texts()[0].split())


def test_an_owner_without_an_address_is_told_in_the_portal(
    services: Services, worker: Services, policy: Policy, mailbox: Mailbox
) -> None:
    account_id, person_id = make_owner(services, email=None)
    assert announce(worker, policy) == 1
    post(worker)
    assert mailbox.received == []
    with transaction(services) as tx:
        assert announcements.pending(tx, policy, account_id, person_id)


def test_it_stays_in_view_until_it_was_seen(
    services: Services, worker: Services, policy: Policy, owner_engine: Engine
) -> None:
    account_id, person_id = make_owner(services)
    with transaction(services) as tx:
        assert not announcements.pending(tx, policy, account_id, person_id), "not before it was announced"
    announce(worker, policy)
    for moment in (NOW, NOW + DAY):
        with transaction(services, holder(account_id, person_id), moment) as tx:
            assert announcements.pending(tx, policy, account_id, person_id) == (moment == NOW)
            announcements.acknowledge(tx, policy, account_id, person_id)
    with owner_engine.connect() as connection:
        assert connection.execute(text("SELECT seen_at FROM policy_announcements")).scalar_one() == NOW
        seen = text("SELECT count(*) FROM audit_events WHERE action = 'policy.acknowledge'")
        assert connection.execute(seen).scalar_one() == 1


def test_nobody_acknowledges_for_another(services: Services, worker: Services, policy: Policy) -> None:
    account_id, person_id = make_owner(services)
    _, other = make_owner(services, account_id)
    announce(worker, policy)
    with transaction(services, holder(account_id, other)) as tx, pytest.raises(NotFoundError):
        announcements.acknowledge(tx, policy, account_id, person_id)


def test_who_was_told_nothing_has_nothing_to_acknowledge(services: Services, policy: Policy) -> None:
    account_id, person_id = make_owner(services)
    with transaction(services, holder(account_id, person_id)) as tx, pytest.raises(NotFoundError):
        announcements.acknowledge(tx, policy, account_id, person_id)


def test_two_schedules_at_once_tell_everybody_once(
    services: Services, worker: Services, policy: Policy, database: TestDatabase, mailbox: Mailbox
) -> None:
    for number in range(20):
        make_owner(services, email=f"owner-{number}@example.com")
    others = [replace(database.services("worker"), policies=Policies(policy), clock=lambda: SINCE) for _ in range(2)]
    gate = threading.Barrier(2)

    def work(each: Services) -> None:
        gate.wait()
        while announce(each, policy, limit=3):
            pass

    threads = [threading.Thread(target=work, args=(each,)) for each in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    announce(worker, policy)
    post(worker)
    for each in others:
        each.controller.engine.dispose()
    assert sorted(mailbox.recipients) == sorted(f"owner-{number}@example.com" for number in range(20))


def test_a_schedule_that_dies_leaves_nobody_untold_and_nobody_told_twice(
    services: Services, worker: Services, policy: Policy, mailbox: Mailbox
) -> None:
    make_owner(services)
    with suppress(Killed), transaction(worker, WORKER, SINCE) as tx:
        announcements.announce(tx, policy, limit=10)
        raise Killed
    assert announce(worker, policy) == 1
    post(worker)
    assert len(mailbox.received) == 1


def test_the_schedule_does_it_daily(services: Services, worker: Services, mailbox: Mailbox, owner_engine: Engine) -> None:
    _, person_id = make_owner(services)
    with owner_engine.connect() as connection:
        now = connection.execute(text("SELECT now()")).scalar_one()
    schedule = Schedule()
    for moment in (now, now, now + DAY):
        schedule.round(replace(worker, clock=Time(moment)))
    assert told(owner_engine) == {person_id}
    post(worker)
    assert len(mailbox.received) <= 1


def test_an_account_whose_key_does_not_open_holds_up_no_other(
    services: Services, worker: Services, policy: Policy, owner_engine: Engine
) -> None:
    (broken, _), (_, other) = make_owner(services), make_owner(services)
    with owner_engine.begin() as connection:
        spoil = text("UPDATE account_keys SET wrapped = '\\x00' WHERE account_id = :account_id")
        connection.execute(spoil, {"account_id": broken})
    unreadable: set[UUID] = set()
    with transaction(worker, WORKER, SINCE) as tx:
        assert announcements.announce(tx, policy, limit=10, unreadable=unreadable) == 2
        assert announcements.announce(tx, policy, limit=10, unreadable=unreadable) == 0
    assert (unreadable, told(owner_engine)) == ({broken}, {other})


def test_who_is_erased_before_the_mail_goes_gets_none(
    services: Services, worker: Services, policy: Policy, mailbox: Mailbox, owner_engine: Engine
) -> None:
    account_id, person_id = make_owner(services)
    announce(worker, policy)
    with transaction(services) as tx:
        people.remove_person(tx, account_id, person_id, 1)
    post(worker)
    assert (mailbox.received, told(owner_engine)) == ([], set())


@pytest.mark.parametrize("language", mail_templates.LOCALES)
def test_the_mail_says_where_to_read_it_and_whom_to_write_to(
    services: Services, worker: Services, policy: Policy, mailbox: Mailbox, language: str
) -> None:
    make_owner(services, locale=language)
    announce(worker, policy)
    post(worker)
    body = " ".join(mailbox.texts()[0].split())
    assert f"{worker.settings.issuer}/portal/notice" in body
    assert mail_templates.written_day(policy.valid_from, language) in body
    assert "HMS Industrial Networks SA" in body
    assert "$" not in body
    assert max(len(line) for line in mailbox.texts()[0].splitlines()) <= 80
    texts = mail_templates.texts(announcements.KIND).values()
    assert len({frozenset(each.body.get_identifiers()) for each in texts}) == 1


def knowing_next(worker: Services, policy: Policy, now: datetime) -> Services:
    """The worker while another policy is in force and this one comes next."""
    return replace(worker, policies=Policies(load(), policy), clock=lambda: now)


def test_the_schedule_announces_the_next_version_before_its_day(
    services: Services, worker: Services, policy: Policy, mailbox: Mailbox, owner_engine: Engine
) -> None:
    _, person_id = make_owner(services)
    early = knowing_next(worker, policy, NOW)
    for _ in range(2):
        announce_policy(early)
    assert told(owner_engine) == {person_id}
    post(early)
    [body] = mailbox.texts()
    assert f"{worker.settings.issuer}/portal/notice/next" in body
    assert "It applies from 1 July 2026." in " ".join(body.split())
    announce_policy(knowing_next(worker, policy, SINCE))
    post(knowing_next(worker, policy, SINCE))
    assert len(mailbox.received) == 1, "not again on its day"


def test_a_mail_that_goes_out_after_the_day_leads_to_the_version_in_force(
    services: Services, worker: Services, policy: Policy, mailbox: Mailbox
) -> None:
    make_owner(services)
    announce_policy(knowing_next(worker, policy, SINCE - MOMENT))
    post(knowing_next(worker, policy, SINCE))
    [body] = mailbox.texts()
    assert f"{worker.settings.issuer}/portal/notice\n" in body.replace("\r\n", "\n")


def test_each_mail_tells_of_the_version_that_it_was_queued_for(
    services: Services, worker: Services, policy: Policy, mailbox: Mailbox, tmp_path: Path
) -> None:
    make_owner(services)
    both = replace(worker, policies=Policies(policy, changed(tmp_path, "2027-01-01")), clock=lambda: SINCE)
    announce(both, policy, now=SINCE - MOMENT)
    announce(both, changed(tmp_path, "2027-01-01"), now=SINCE)
    post(both)
    bodies = [" ".join(each.split()) for each in mailbox.texts()]
    assert sorted("1 July 2026." in each for each in bodies) == [False, True]
    assert sorted("1 January 2027." in each for each in bodies) == [False, True]


def test_a_mail_of_a_version_that_nothing_knows_any_more_is_dropped(
    services: Services, worker: Services, policy: Policy, mailbox: Mailbox, tmp_path: Path
) -> None:
    make_owner(services)
    announce(worker, changed(tmp_path, "2026-06-15"))
    post(worker)
    assert mailbox.received == []


def test_nothing_but_the_announcement_goes_by_the_next_version(worker: Services, policy: Policy) -> None:
    early, late = (knowing_next(worker, policy, moment) for moment in (SINCE - MOMENT, SINCE))
    assert [each.policy.version for each in (early, late)] == ["2023-03-30", "2026-07-01"]
    assert [each.post.policy.version for each in (early, late)] == ["2023-03-30", "2026-07-01"]
