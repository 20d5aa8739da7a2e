"""Sessions of account holders: a cookie opens its own person's account, while the session lasts, and nothing else."""

import base64
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import credentials, holders, people, session_cookies, sessions
from cloudpriv.controller.holder_tables import HolderSession
from cloudpriv.controller.sessions import FRESH, IDLE, LONGEST, MOST, Session
from cloudpriv.controller.tables import Account, Person
from cloudpriv.platform.actor import HOLDER, WORKER, Actor
from cloudpriv.platform.errors import NotFoundError, UnauthenticatedError
from cloudpriv.platform.ids import new_id
from tests.factories import NOW, make_account, make_person, transaction
from tests.purges import close
from tests.purges import run as run_purge

BROWSER = "Firefox, Linux"
INSTANT = timedelta.resolution
Whose = tuple[UUID, UUID]


@pytest.fixture
def kim(services: Services) -> Whose:
    """An owner, by account and id."""
    person = make_person(services, make_account(services).row.account_id).row
    return person.account_id, person.person_id


def begin(services: Services, whose: Whose, now: datetime = NOW) -> tuple[Session, str]:
    with transaction(services, now=now) as tx:
        return sessions.begin(tx, *whose, BROWSER)


def resume(services: Services, cookie: str, now: datetime = NOW) -> Session | None:
    with transaction(services, now=now) as tx:
        return sessions.resume(tx, cookie)


def shown(services: Services, whose: Whose, now: datetime = NOW) -> list[UUID]:
    with transaction(services, now=now) as tx:
        return [each.session_id for each in sessions.list_sessions(tx, *whose)]


def actions(owner: Engine) -> list[str]:
    with owner.connect() as connection:
        query = text("SELECT action FROM audit_events WHERE action LIKE 'session.%' ORDER BY event_id")
        return list(connection.scalars(query))


def test_a_session_acts_for_its_person_in_their_own_account_alone(services: Services, kim: Whose) -> None:
    begun, cookie = begin(services, kim)
    found = resume(services, cookie)
    assert found == begun
    actor = begun.actor
    assert (actor.kind, actor.id, actor.account_id) == ("owner", str(kim[1]), kim[0])
    assert (actor.service, set(actor.scopes)) == ("talk2m", {HOLDER})


def test_the_database_holds_nothing_that_opens_a_session(services: Services, kim: Whose) -> None:
    _, cookie = begin(services, kim)
    secret = base64.urlsafe_b64decode(cookie + "==")[32:]
    with transaction(services) as tx:
        row = tx.session.scalars(select(HolderSession)).one()
    assert len(secret) == 32
    assert secret not in (row.secret_hash, row.browser)
    assert BROWSER.encode() not in row.browser


def test_a_session_ends_when_nobody_used_it_for_half_an_hour(services: Services, kim: Whose) -> None:
    _, cookie = begin(services, kim)
    at = NOW + IDLE - INSTANT
    assert resume(services, cookie, at) is not None
    assert resume(services, cookie, at + IDLE - INSTANT) is not None, "using it puts the end off"
    assert resume(services, cookie, at + IDLE - INSTANT + IDLE) is None


def test_a_session_ends_after_twelve_hours_however_much_it_is_used(services: Services, kim: Whose) -> None:
    _, cookie = begin(services, kim)
    now = NOW
    while (now := now + timedelta(minutes=20)) < NOW + LONGEST:
        assert resume(services, cookie, now) is not None
    assert resume(services, cookie, NOW + LONGEST - INSTANT) is not None
    assert resume(services, cookie, NOW + LONGEST) is None


def test_a_session_is_written_as_seen_at_most_once_a_minute(services: Services, kim: Whose) -> None:
    _, cookie = begin(services, kim)

    def seen(now: datetime) -> datetime:
        resume(services, cookie, now)
        with transaction(services) as tx:
            return tx.session.scalars(select(HolderSession.last_seen_at)).one()

    assert seen(NOW + timedelta(seconds=59)) == NOW
    assert seen(NOW + timedelta(seconds=60)) == NOW + timedelta(seconds=60)


@pytest.mark.parametrize("change", ["", "x", "é", "A" * 86, "short", None])
def test_what_is_no_cookie_of_a_live_session_opens_none(services: Services, kim: Whose, change: str | None) -> None:
    _, cookie = begin(services, kim)
    altered = cookie[:-4] + ("aaaa" if cookie[-4:] != "aaaa" else "bbbb") if change is None else change
    assert resume(services, altered) is None


def test_the_secret_of_one_session_opens_no_other(services: Services, kim: Whose) -> None:
    other = make_person(services, make_account(services).row.account_id).row
    (_, mine), (_, theirs) = begin(services, kim), begin(services, (other.account_id, other.person_id))
    mine_read, theirs_read = (base64.urlsafe_b64decode(each + "==") for each in (mine, theirs))
    for mixed in (mine_read[:32] + theirs_read[32:], theirs_read[:16] + mine_read[16:]):
        assert resume(services, base64.urlsafe_b64encode(mixed).decode().rstrip("=")) is None


def test_the_password_given_again_makes_a_new_cookie_and_the_old_one_opens_nothing(
    services: Services, kim: Whose, owner_engine: Engine
) -> None:
    begun, old = begin(services, kim)
    later = NOW + FRESH
    assert sessions.is_fresh(begun, later - INSTANT)
    assert not sessions.is_fresh(begun, later)
    with transaction(services, now=later) as tx:
        confirmed, new = sessions.confirm_password(tx, begun)
    assert sessions.is_fresh(confirmed, later)
    assert (confirmed.session_id, confirmed.expires_at) == (begun.session_id, begun.expires_at)
    assert resume(services, old, later) is None
    assert resume(services, new, later) == confirmed
    assert actions(owner_engine) == ["session.create", "session.confirm"]


def test_an_ended_session_cannot_be_confirmed(services: Services, kim: Whose) -> None:
    begun, _ = begin(services, kim)
    with transaction(services) as tx:
        sessions.end(tx, begun)
    with pytest.raises(NotFoundError), transaction(services) as tx:
        sessions.confirm_password(tx, begun)


def test_an_ended_sessions_cookie_opens_nothing_and_the_others_go_on(
    services: Services, kim: Whose, owner_engine: Engine
) -> None:
    (first, cookie), (_, other) = begin(services, kim), begin(services, kim)
    with transaction(services) as tx:
        sessions.end(tx, first)
    assert resume(services, cookie) is None
    assert resume(services, other) is not None
    with transaction(services) as tx:
        sessions.end(tx, first)
    assert actions(owner_engine) == ["session.create", "session.create", "session.end"]


def test_a_person_ends_own_sessions_and_nobody_elses(services: Services, kim: Whose) -> None:
    alex = make_person(services, kim[0]).row.person_id
    (mine, _), (theirs, cookie) = begin(services, kim), begin(services, (kim[0], alex))
    with pytest.raises(NotFoundError), transaction(services) as tx:
        sessions.end_one(tx, *kim, theirs.session_id)
    with transaction(services) as tx:
        sessions.end_one(tx, *kim, mine.session_id)
    assert shown(services, kim) == []
    assert resume(services, cookie) is not None


def test_signing_out_everywhere_can_spare_the_session_that_asks(services: Services, kim: Whose) -> None:
    (kept, cookie), (_, other) = begin(services, kim), begin(services, kim)
    with transaction(services) as tx:
        assert sessions.end_all(tx, *kim, but=kept.session_id) == 1
    assert resume(services, cookie) is not None
    assert resume(services, other) is None


def test_the_list_shows_live_sessions_the_latest_first_with_their_browsers(services: Services, kim: Whose) -> None:
    (first, _), (second, cookie) = begin(services, kim), begin(services, kim)
    now = NOW + timedelta(minutes=2)
    resume(services, cookie, now)
    with transaction(services, now=now) as tx:
        found = sessions.list_sessions(tx, *kim)
    assert [(each.session_id, each.browser) for each in found] == [
        (second.session_id, BROWSER), (first.session_id, BROWSER)
    ]  # fmt: skip
    assert shown(services, kim, NOW + IDLE) == [second.session_id]


def test_nobody_has_more_than_ten_sessions_and_the_one_that_would_end_first_makes_room(
    services: Services, kim: Whose
) -> None:
    alex = make_person(services, kim[0]).row.person_id
    _, of_alex = begin(services, (kim[0], alex))
    begun = [begin(services, kim, NOW + timedelta(seconds=number)) for number in range(MOST + 1)]
    assert len(shown(services, kim)) == MOST
    assert resume(services, begun[0][1]) is None
    assert all(resume(services, cookie) for _, cookie in (*begun[1:], (None, of_alex)))


def test_role_and_state_are_those_of_this_moment(services: Services, kim: Whose) -> None:
    _, cookie = begin(services, kim)
    with transaction(services) as tx:
        tx.session.get_one(Person, kim).role = "member"
        tx.session.get_one(Account, kim[0]).status = "restricted"
    found = resume(services, cookie)
    assert found is not None
    assert (found.role, found.actor.kind, found.account_status) == ("member", "member", "restricted")


def test_an_account_that_is_purged_has_no_sessions(services: Services, worker_services: Services, kim: Whose) -> None:
    _, cookie = begin(services, kim)
    with transaction(services) as tx:
        tx.session.get_one(Account, kim[0]).status = "purging"
    assert resume(services, cookie) is None
    with transaction(services) as tx:
        tx.session.get_one(Account, kim[0]).status = "active"
    run_purge(worker_services, close(services, kim[0]))
    assert resume(services, cookie) is None
    with transaction(services) as tx:
        assert tx.session.scalars(select(HolderSession)).all() == []


def test_a_person_who_is_gone_or_waits_for_a_hold_to_be_erased_has_no_sessions(services: Services, kim: Whose) -> None:
    alex = make_person(services, kim[0]).row
    (_, of_kim), (_, of_alex) = begin(services, kim), begin(services, (kim[0], alex.person_id))
    with transaction(services) as tx:
        people.remove_person(tx, kim[0], alex.person_id, alex.version)
        people.defer_erasure(tx, *kim, 1)
    assert resume(services, of_alex) is None
    assert resume(services, of_kim) is None
    with pytest.raises(NotFoundError):
        begin(services, kim)


def test_a_new_password_ends_every_session_of_its_person(services: Services, kim: Whose) -> None:
    alex = make_person(services, kim[0]).row.person_id
    (_, cookie), (_, other) = begin(services, kim), begin(services, (kim[0], alex))
    with transaction(services) as tx:
        credentials.set_credentials(tx, *kim, "not a hash", None)
    assert resume(services, cookie) is None
    assert resume(services, other) is not None


def test_a_worker_may_end_sessions_and_begin_none(services: Services, worker_services: Services, kim: Whose) -> None:
    _, cookie = begin(services, kim)
    with transaction(worker_services, WORKER) as tx:
        assert sessions.end_all(tx, kim[0], None) == 1
    assert resume(services, cookie) is None


def test_nobody_begins_a_session_of_somebody_unknown(services: Services, kim: Whose) -> None:
    for whose in ((kim[0], new_id()), (new_id(), kim[1])):
        with pytest.raises(NotFoundError):
            begin(services, whose)


def test_a_session_of_a_token_is_opened_by_no_cookie_and_makes_room_before_those_of_browsers(
    services: Services, kim: Whose
) -> None:
    cookies = [begin(services, kim)[1] for _ in range(MOST - 1)]
    with transaction(services) as tx:
        of_token = sessions.begin_token(tx, *kim, timedelta(minutes=10))
    assert resume(services, session_cookies.make(kim[0], of_token.session_id).written()) is None
    begin(services, kim)
    assert of_token.session_id not in shown(services, kim)
    assert all(resume(services, cookie) for cookie in cookies)


def test_an_account_holder_comes_with_a_live_session_and_is_seen_at_most_once_a_minute(
    services: Services, kim: Whose
) -> None:
    with transaction(services) as tx:
        begun = sessions.begin_token(tx, *kim, IDLE * 2)
    actor = replace(begun.actor, session_id=begun.session_id)

    def come(now: datetime, who: Actor = actor) -> datetime:
        with services.controller.statement(who, now) as tx:
            assert holders.as_now(tx) == who
        with transaction(services) as tx:
            return tx.session.scalars(select(HolderSession.last_seen_at)).one()

    assert come(NOW + timedelta(seconds=59)) == NOW
    assert come(NOW + timedelta(seconds=60)) == NOW + timedelta(seconds=60)
    other = make_person(services, kim[0]).row.person_id
    for who in (replace(actor, session_id=new_id()), replace(actor, session_id=None), replace(actor, id=str(other))):
        with pytest.raises(UnauthenticatedError):
            come(NOW, who)
    for over in (NOW + timedelta(seconds=60) + IDLE, NOW + IDLE * 2):
        with pytest.raises(UnauthenticatedError):
            come(over)
