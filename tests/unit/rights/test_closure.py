"""Closing an account: fourteen days in which it may be undone, then the purge, planned once and never before its time."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, sessions
from cloudpriv.controller.outbox import Mail
from cloudpriv.controller.tables import Account
from cloudpriv.platform.clock import utc_now
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import AccountClosingError, AccountRestrictedError, ConflictError, NotDueError
from cloudpriv.retention import holds, purge, runs
from cloudpriv.retention.tables import Purge
from cloudpriv.rights import closure, handling, own_restriction, requests, restriction
from cloudpriv.rights.closure import COOLING_OFF
from cloudpriv.rights.mail import writers
from cloudpriv.rights.requests import Identity
from cloudpriv.rights.tables import SubjectRequest
from tests.consents import Kim
from tests.disclosed import holder
from tests.factories import BACKEND, make_account, make_person, transaction
from tests.purges import make_full_account, purge_of, rows_of, run, terms

# The end of a cooling-off is judged by the database's clock too, so accounts here are closed when that one says.
STEP = timedelta(minutes=1)


def close(services: Services, account_id: UUID, person_id: UUID | None = None, now: datetime | None = None) -> datetime:
    """Have an owner, or staff without one, close the account; when its cooling-off ends."""
    actor = holder(account_id, person_id) if person_id else BACKEND
    with transaction(services, actor, now or utc_now()) as tx:
        identity = Identity("password", actor.name)
        asked = requests.receive(tx, services.policy, account_id, "erasure", channel="portal", identity=identity)
        requests.begin(tx, services.policy, asked.row.request_id)
        return closure.close(tx, services.policy, account_id, asked.row)


def closed_long_ago(services: Services, account_id: UUID) -> datetime:
    """Have the account closed so that its cooling-off has just ended; when that was."""
    return close(services, account_id, now=utc_now() - COOLING_OFF - STEP)


def advance(services: Services, now: datetime | None = None) -> int:
    """Do what the schedule does."""
    return closure.advance(services.controller, services.policy, lambda: now or utc_now())


def status_of(services: Services, account_id: UUID) -> tuple[str, datetime | None]:
    with transaction(services) as tx:
        row = tx.session.get_one(Account, account_id)
        return row.status, row.closes_at


def purges_of(services: Services, account_id: UUID) -> list[Purge]:
    with transaction(services) as tx:
        return list(tx.session.scalars(select(Purge).where(Purge.account_id == account_id)))


def kinds(services: Services, person_id: UUID) -> list[str]:
    """The kinds of mail to a person about the closing."""
    with transaction(services) as tx:
        query = select(Mail.kind).where(Mail.person_id == person_id, Mail.kind.startswith("closing_"))
        return list(tx.session.scalars(query.order_by(Mail.mail_id)))


def test_an_account_closes_fourteen_days_after_its_owners_word(services: Services, worker_services: Services) -> None:
    account_id = make_account(services).row.account_id
    now = utc_now()
    ends = close(services, account_id, now=now)
    assert ends - now == timedelta(days=14)
    assert status_of(services, account_id) == ("closing", ends)
    assert advance(worker_services) == 0
    assert purges_of(services, account_id) == []
    with transaction(services) as tx:
        [request] = tx.session.scalars(select(SubjectRequest))
        assert (request.status, request.effective_at) == ("in_progress", ends)


def test_every_owner_is_told_and_sessions_of_others_end(services: Services) -> None:
    account_id = make_account(services).row.account_id
    one, other = (make_person(services, account_id).row.person_id for _ in range(2))
    now = utc_now()
    with transaction(services, now=now) as tx:
        for person_id in (one, other):
            sessions.begin(tx, account_id, person_id, "a browser")
    close(services, account_id, one, now)
    assert kinds(services, one) == kinds(services, other) == ["closing_begun"]
    with transaction(services, now=now) as tx:
        assert len(sessions.list_sessions(tx, account_id, one)) == 1
        assert sessions.list_sessions(tx, account_id, other) == []


def test_a_closing_is_undone_until_its_time_is_over(services: Services, worker_services: Services) -> None:
    account_id = make_account(services).row.account_id
    owner = make_person(services, account_id).row.person_id
    ends = close(services, account_id, owner)
    with transaction(services, holder(account_id, owner), ends - STEP) as tx:
        closure.undo(tx, account_id)
    assert status_of(services, account_id) == ("active", None)
    assert kinds(services, owner) == ["closing_begun", "closing_undone"]
    with transaction(services) as tx:
        assert [row.status for row in tx.session.scalars(select(SubjectRequest))] == ["withdrawn"]
    assert advance(worker_services) == 0
    with pytest.raises(ConflictError), transaction(services) as tx:
        closure.undo(tx, account_id)


def test_a_closing_whose_time_is_over_is_not_undone(services: Services) -> None:
    account_id = make_account(services).row.account_id
    ends = closed_long_ago(services, account_id)
    with pytest.raises(AccountClosingError), transaction(services, now=ends) as tx:
        closure.undo(tx, account_id)
    assert status_of(services, account_id) == ("closing", ends)


def test_a_host_whose_clock_is_ahead_does_not_end_the_time_to_undo_it(services: Services) -> None:
    account_id = make_account(services).row.account_id
    ends = close(services, account_id)
    with transaction(services, now=ends + STEP) as tx:
        closure.undo(tx, account_id)
    assert status_of(services, account_id) == ("active", None)


def test_the_purge_is_planned_once_when_the_time_is_over(services: Services, worker_services: Services) -> None:
    account_id = make_account(services).row.account_id
    owner = make_person(services, account_id).row.person_id
    closed_long_ago(services, account_id)
    assert advance(worker_services) == 1
    assert advance(worker_services) == 0
    [planned] = purges_of(services, account_id)
    assert (planned.trigger, planned.rule, planned.status) == ("request", "GDPR Article 17", "planned")
    assert kinds(services, owner) == ["closing_begun", "closing_ended"]
    with pytest.raises(AccountClosingError), transaction(services, now=utc_now() - COOLING_OFF) as tx:
        closure.undo(tx, account_id)  # by a host whose clock is behind


def test_what_somebody_restricted_meanwhile_is_not_erased(services: Services, worker_services: Services) -> None:
    account_id = make_account(services).row.account_id
    alex = make_person(services, account_id).row.person_id
    ends = closed_long_ago(services, account_id)
    with transaction(services, holder(account_id, alex, "member"), ends - STEP) as tx:
        handling.receive(
            tx, services.policy, account_id, "restriction", person_id=alex, identity=Identity("password", tx.actor.name)
        )
    assert advance(worker_services) == 0
    assert purges_of(services, account_id) == []
    with transaction(services, holder(account_id, alex, "member")) as tx:
        own_restriction.lift_person(tx, account_id, alex)
    assert advance(worker_services) == 1
    assert [each.trigger for each in purges_of(services, account_id)] == ["request"]


def test_two_schedules_at_once_plan_it_once(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    account_id = make_account(services).row.account_id
    owner = make_person(services, account_id).row.person_id
    closed_long_ago(services, account_id)
    now = utc_now()
    with worker_services.controller.transaction(BACKEND, now) as first:
        assert closure._plan_over(first, services.policy, now) == 1
        assert advance(worker_services) == 0  # what the first has locked is skipped
    assert advance(worker_services) == 0
    assert len(purges_of(services, account_id)) == 1
    assert kinds(services, owner).count("closing_ended") == 1


def test_whoever_locks_it_after_another_planned_it_plans_nothing(
    services: Services, worker_services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id = make_account(services).row.account_id
    owner = make_person(services, account_id).row.person_id
    closed_long_ago(services, account_id)
    real, seen = closure._is_planned, list[int]()

    def after_another(tx: Tx, account: UUID) -> bool:
        if not seen:
            seen.append(1)
            with transaction(services, now=utc_now()) as other:  # the account's row stays locked by the one that looks
                runs.plan_request(other, services.policy, account, "talk2m", trigger="request", rule=runs.ON_REQUEST)
        return real(tx, account)

    monkeypatch.setattr(closure, "_is_planned", after_another)
    advance(worker_services)
    assert seen
    assert kinds(services, owner) == ["closing_begun"]


def test_a_schedule_whose_clock_is_ahead_plans_nothing(services: Services, worker_services: Services) -> None:
    account_id = make_account(services).row.account_id
    ends = close(services, account_id)
    assert advance(worker_services, ends + STEP) == 0
    assert purges_of(services, account_id) == []


def test_a_schedule_whose_clock_is_behind_waits(services: Services, worker_services: Services) -> None:
    account_id = make_account(services).row.account_id
    ends = closed_long_ago(services, account_id)
    assert advance(worker_services, ends - STEP) == 0
    assert advance(worker_services, ends + STEP) == 1


def test_neither_the_policy_nor_a_backend_erases_a_closing_account(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=datetime.fromisoformat("2010-01-01T00:00:00Z")).row.account_id
    close(services, account_id)
    now = utc_now()
    with pytest.raises(NotDueError), transaction(services, BACKEND, now) as tx:
        runs.plan_account(tx, terms(services, now), account_id)
    with pytest.raises(AccountClosingError), transaction(services, BACKEND, now) as tx:
        purge.request_erasure(tx, services.policy, account_id, 2)
    with transaction(services, now=now) as tx:
        assert runs.plan_due(tx, terms(services, now)) == []


def test_a_plan_of_the_policy_that_was_made_before_becomes_the_owners(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_account(services, created_at=datetime.fromisoformat("2010-01-01T00:00:00Z")).row.account_id
    now = utc_now()
    with transaction(services, BACKEND, now) as tx:
        waiting = runs.plan_account(tx, terms(services, now), account_id)  # no traffic anywhere: it waits for approval
        assert waiting.status == "waiting"
    closed_long_ago(services, account_id)
    assert advance(worker_services) == 1
    [planned] = purges_of(services, account_id)
    assert (planned.trigger, planned.status, planned.run_id) == ("request", "planned", None)


def test_a_purge_that_somebody_planned_too_early_waits_for_the_end_of_the_cooling_off(
    services: Services, worker_services: Services
) -> None:
    account_id = make_full_account(services)
    ends = close(services, account_id)
    with transaction(services, now=utc_now()) as tx:
        early = runs.plan_request(tx, services.policy, account_id, "talk2m", trigger="request", rule=runs.ON_REQUEST)
        purge_id = early.purge_id
    run(worker_services, purge_id, utc_now())
    found = purge_of(services, purge_id)
    assert (found.status, found.step, found.lease_until, found.attempts) == ("planned", "keys", ends, 0)
    assert status_of(services, account_id) == ("closing", ends)


def test_a_closed_account_is_erased_and_nothing_stays(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    account_id = make_full_account(services)
    closed_long_ago(services, account_id)
    advance(worker_services)
    with owner_engine.begin() as connection:  # every mail was taken
        connection.execute(text("UPDATE outbox SET status = 'sent', sent_at = now()"))
    [planned] = purges_of(services, account_id)
    run(worker_services, planned.purge_id, utc_now())
    assert purge_of(services, planned.purge_id).status == "done"
    assert rows_of(owner_engine, account_id) == {}


def test_the_purge_waits_three_days_at_most_for_the_last_mail_to_owners(
    services: Services, worker_services: Services
) -> None:
    account_id = make_account(services).row.account_id
    make_person(services, account_id)
    closed_long_ago(services, account_id)
    advance(worker_services)
    [planned] = purges_of(services, account_id)
    run(worker_services, planned.purge_id, utc_now())
    found = purge_of(services, planned.purge_id)
    assert (found.status, found.step, found.attempts) == ("planned", "keys", 0)
    run(worker_services, planned.purge_id, utc_now() + timedelta(days=3, minutes=1))
    assert purge_of(services, planned.purge_id).status == "done"


def test_a_hold_keeps_a_closed_account(services: Services, worker_services: Services, owner_engine: Engine) -> None:
    account_id = make_full_account(services)
    with transaction(services) as tx:
        holds.place(tx, account_id, "account", authority="Example District Court", reference="T 1")
    before = rows_of(owner_engine, account_id)
    closed_long_ago(services, account_id)
    advance(worker_services)
    [planned] = purges_of(services, account_id)
    run(worker_services, planned.purge_id, utc_now())
    after = rows_of(owner_engine, account_id)
    changed = {"outbox", "requests", "holder_sessions"}  # sessions of others end
    assert {name: after[name] for name in before.keys() - changed} == {
        name: before[name] for name in before.keys() - changed
    }
    assert purge_of(services, planned.purge_id).status == "planned"


def test_a_restriction_lasts_while_the_account_is_closing_and_when_that_is_undone(services: Services) -> None:
    account_id = make_account(services).row.account_id
    now = utc_now()
    with transaction(services, now=now) as tx:
        restriction.restrict_account(tx, account_id)
    ends = close(services, account_id)
    with pytest.raises(AccountRestrictedError), transaction(services, BACKEND) as tx:
        accounts.read_account(tx, account_id)
    with transaction(services, BACKEND) as tx:
        assert accounts.list_accounts(tx, after=None, limit=5) == []
    with transaction(services, now=ends - STEP) as tx:
        closure.undo(tx, account_id)
    assert status_of(services, account_id) == ("restricted", None)


@pytest.mark.parametrize("locale", ["en", "sv", "fr", "es"])
def test_the_mails_say_until_when_and_where_it_is_undone(services: Services, locale: str) -> None:
    account_id = make_account(services, account_name="acme-closing").row.account_id
    owner = make_person(services, account_id, locale=locale).row.person_id
    ends = close(services, account_id, owner)
    with transaction(services) as tx:
        mail = tx.session.scalars(select(Mail).where(Mail.kind == "closing_begun")).one()
        letter = writers(services.post)["closing_begun"](tx, mail)
    assert letter.values["day"] == ends.date()
    assert letter.values["time"] == f"{ends:%H:%M} UTC"
    assert letter.values["portal"] == f"{services.settings.issuer}/portal/"
    assert (letter.address, letter.locale) == ("kim@example.com", locale)


def test_a_second_closing_soon_after_the_first_was_undone_is_told_too(services: Services, kim: Kim) -> None:
    now = utc_now()
    close(services, kim.account_id, now=now)
    kim.post(now)
    with transaction(services, now=now + STEP) as tx:
        closure.undo(tx, kim.account_id)
    kim.post(now + STEP)
    close(services, kim.account_id, now=now + 2 * STEP)
    kinds_sent = [kind for kind, status, _ in kim.post(now + 2 * STEP) if kind.startswith("closing_") and status == "sent"]
    assert kinds_sent == ["closing_begun", "closing_undone", "closing_begun"]


def test_nobody_reads_that_an_account_stays_which_is_closed_again(services: Services, kim: Kim) -> None:
    now = utc_now()
    close(services, kim.account_id, now=now)
    with transaction(services, now=now + STEP) as tx:
        closure.undo(tx, kim.account_id)
    close(services, kim.account_id, now=now + 2 * STEP)
    assert ("closing_undone", "dropped", "closing_again") in kim.post(now + 2 * STEP)


def test_an_erasure_that_is_done_again_after_a_restore_stays_one(services: Services, worker_services: Services) -> None:
    account_id = make_account(services).row.account_id
    closed_long_ago(services, account_id)
    with transaction(services) as tx:
        runs.plan_request(tx, services.policy, account_id, "talk2m", trigger="replay", rule="P7Y")
    assert advance(worker_services) == 0
    assert [planned.trigger for planned in purges_of(services, account_id)] == ["replay"]


def test_a_cooling_off_begins_again_when_the_database_was_restored(
    services: Services, worker_services: Services, owner_engine: Engine
) -> None:
    """The closing may have been undone since the backup."""
    account_id = make_account(services).row.account_id
    owner = make_person(services, account_id).row.person_id
    closed_long_ago(services, account_id)
    restored = utc_now()
    with owner_engine.begin() as connection:  # as `purge replay` does
        connection.execute(
            text("INSERT INTO logs (log, origin, vkey, size, begun_at) VALUES (2, 'any/2', 'any', 0, :now)"),
            {"now": restored},
        )
    for _ in range(2):
        assert advance(worker_services) == 0
    assert status_of(services, account_id) == ("closing", restored + COOLING_OFF)
    assert kinds(services, owner) == ["closing_begun", "closing_begun"]
    with transaction(services) as tx:
        [asked] = tx.session.scalars(select(SubjectRequest))
        assert asked.effective_at == restored + COOLING_OFF
    with owner_engine.begin() as connection:
        values = {"by": COOLING_OFF + STEP}
        connection.execute(text("UPDATE logs SET begun_at = begun_at - CAST(:by AS interval)"), values)
        connection.execute(text("UPDATE accounts SET closes_at = closes_at - CAST(:by AS interval)"), values)
    assert advance(worker_services) == 1
