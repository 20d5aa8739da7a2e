"""Clocks: whatever the service keeps goes when the policy says, not before, and nothing else with it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Column, MetaData, Table, Uuid, func, insert, select

from cloudpriv.audit.events import AuditEvent
from cloudpriv.bootstrap import Services
from cloudpriv.controller import idempotency, sessions
from cloudpriv.controller.idempotency import Answer
from cloudpriv.controller.outbox import Mail
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform import accesslog
from cloudpriv.platform.classify import Category, Erasure, about, classification_of, withheld
from cloudpriv.platform.ids import new_id
from cloudpriv.policy.register import load
from cloudpriv.retention import clocks
from cloudpriv.retention.tables import Hold, Purge, PurgeRun
from cloudpriv.rights import codes, requests
from cloudpriv.rights.tables import Export, SubjectRequest
from tests.exports import ask, stored
from tests.exports import run as run_export
from tests.factories import NOW, make_account, make_person, transaction
from tests.requests import receive
from workers.duties import erase, every_clock

INSTANT = timedelta.resolution
KEYS = [each.key for each in load().housekeeping if each.plane == "controller"] + ["web_server_logs"]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """The folder of an access log."""
    return tmp_path


@pytest.fixture
def worker(worker_services: Services, logs: Path) -> Services:
    """Services of a schedule on a host with an access log."""
    return replace(worker_services, settings=replace(worker_services.settings, access_log_dir=str(logs)))


def run(worker: Services, key: str, now: datetime) -> int:
    """Erase by one clock at a time; how much is left to be erased."""
    at_that_time = replace(worker, clock=lambda: now)
    [clock] = [each for each in every_clock(worker) if each.key == key]
    erase(clock, at_that_time)
    with transaction(worker, now=now) as tx:
        return clocks.count_due(tx, worker.policy, clock)


def due(worker: Services, key: str, now: datetime) -> int:
    with transaction(worker, now=now) as tx:
        return sum(clocks.count_due(tx, worker.policy, each) for each in every_clock(worker) if each.key == key)


def count(services: Services, table: str) -> int:
    with transaction(services) as tx:
        return int(tx.session.execute(select(func.count()).select_from(CONTROLLER.tables[table])).scalar_one())


def put(services: Services, model: Any, rows: Iterable[Mapping[str, Any]]) -> None:
    with transaction(services) as tx:
        tx.session.execute(insert(model), list(rows))


def a_mail(status: str = "sent", created_at: datetime = NOW) -> dict[str, Any]:
    same = {"kind": "hint", "attempts": 1, "next_try_at": created_at}
    return {"mail_id": new_id(), "status": status, "created_at": created_at, **same}


def a_run(status: str = "proposed") -> dict[str, Any]:
    same = {"service": "talk2m", "rule": "r", "policy_version": "v", "accounts": 1, "findings": [], "planned_by": "x"}
    return {"run_id": new_id(), "status": status, "planned_at": NOW, **same}


def a_purge(status: str, run_id: UUID | None = None, finished_at: datetime | None = None) -> dict[str, Any]:
    same = {"service": "talk2m", "trigger": "policy", "rule": "r", "policy_version": "v", "step": "keys", "counts": {}}
    ids = {"purge_id": new_id(), "account_id": new_id(), "run_id": run_id}
    return {**ids, "status": status, "attempts": 0, "planned_at": NOW, "finished_at": finished_at, **same}


def keep_an_answer(services: Services, worker: Services) -> None:
    with transaction(services) as tx:
        until = worker.policy.rule_for("idempotency_keys").erasable_from(NOW)
        claimed = idempotency.claim(tx, "key", b"")
        idempotency.keep_answer(tx, claimed, None, new_id(), Answer(200, {"headers": {}, "body": ""}), expires_at=until)


def test_an_answer_goes_after_a_day(services: Services, worker: Services) -> None:
    keep_an_answer(services, worker)
    day = timedelta(hours=24)
    assert (run(worker, "idempotency_keys", NOW + day - INSTANT), count(services, "idempotency_keys")) == (0, 1)
    assert due(worker, "idempotency_keys", NOW + day) == 1
    assert (run(worker, "idempotency_keys", NOW + day), count(services, "idempotency_keys")) == (0, 0)


def test_a_mail_that_has_ended_goes_after_thirty_days_and_one_that_waits_does_not(
    services: Services, worker: Services
) -> None:
    put(services, Mail, [a_mail(), a_mail("failed"), a_mail("dropped"), a_mail("queued")])
    over = datetime(2026, 7, 2, tzinfo=UTC)
    run(worker, "ended_mails", over - INSTANT)
    assert count(services, "outbox") == 4
    assert due(worker, "ended_mails", over) == 3
    run(worker, "ended_mails", over)
    with transaction(services) as tx:
        assert tx.session.scalars(select(Mail.status)).all() == ["queued"]


def test_more_than_a_batch_goes_and_what_somebody_holds_is_not_waited_for(services: Services, worker: Services) -> None:
    put(services, Mail, [a_mail() for _ in range(2 * clocks.BATCH + 1)])
    over = NOW + timedelta(days=60)
    with transaction(worker) as tx:
        held = tx.session.scalars(select(Mail.mail_id).limit(1).with_for_update()).one()
        assert run(worker, "ended_mails", over) == 1
    with transaction(services) as tx:
        assert tx.session.scalars(select(Mail.mail_id)).all() == [held]
    assert run(worker, "ended_mails", over) == 0


def test_a_plan_that_nobody_executed_goes_after_a_week_and_no_other(services: Services, worker: Services) -> None:
    idle, waiting = a_run(), a_run("waiting")
    put(services, PurgeRun, [idle, waiting])
    kept = a_purge("waiting", waiting["run_id"])
    put(services, Purge, [a_purge("proposed", idle["run_id"]), a_purge("proposed", idle["run_id"]), kept])
    over = datetime(2026, 6, 9, tzinfo=UTC)
    run(worker, "proposed_plans", over - INSTANT)
    assert (count(services, "purge_runs"), count(services, "purges")) == (2, 3)
    run(worker, "proposed_plans", over)
    with transaction(services) as tx:
        assert tx.session.scalars(select(PurgeRun.run_id)).all() == [waiting["run_id"]]
        assert tx.session.scalars(select(Purge.purge_id)).all() == [kept["purge_id"]]


def test_a_plan_that_is_executed_at_this_moment_stays_whole(services: Services, worker: Services) -> None:
    idle = a_run()
    put(services, PurgeRun, [idle])
    put(services, Purge, [a_purge("proposed", idle["run_id"])])
    with transaction(services) as tx:
        tx.session.get_one(PurgeRun, idle["run_id"], with_for_update=True)
        run(worker, "proposed_plans", NOW + timedelta(days=60))
    assert (count(services, "purge_runs"), count(services, "purges")) == (1, 1)


def test_a_plan_of_which_something_is_held_goes_when_the_rest_can(services: Services, worker: Services) -> None:
    idle = a_run()
    put(services, PurgeRun, [idle])
    held = a_purge("proposed", idle["run_id"])
    put(services, Purge, [held, a_purge("proposed", idle["run_id"])])
    over = NOW + timedelta(days=60)
    with transaction(services) as tx:
        tx.session.get_one(Purge, held["purge_id"], with_for_update=True)
        assert run(worker, "proposed_plans", over) == 1
    assert (count(services, "purge_runs"), count(services, "purges")) == (1, 1)
    assert run(worker, "proposed_plans", over) == 0
    assert (count(services, "purge_runs"), count(services, "purges")) == (0, 0)


def test_a_cancelled_purge_goes_after_a_year_and_one_that_was_done_or_is_open_stays(
    services: Services, worker: Services
) -> None:
    states = [("cancelled", NOW), ("cancelled", NOW + timedelta(days=1)), ("done", NOW), ("planned", None)]
    put(services, Purge, [a_purge(status, finished_at=at) for status, at in states])
    over = datetime(2027, 6, 2, tzinfo=UTC)
    run(worker, "cancelled_purges", over - INSTANT)
    assert count(services, "purges") == 4
    run(worker, "cancelled_purges", over)
    with transaction(services) as tx:
        assert sorted(tx.session.scalars(select(Purge.status))) == ["cancelled", "done", "planned"]


def test_an_archive_goes_after_a_week(services: Services, worker: Services) -> None:
    account_id = make_account(services).row.account_id
    run_export(services, ask(services, account_id))
    over = datetime(2026, 6, 9, tzinfo=UTC)
    assert (run(worker, "export_archives", over - INSTANT), len(stored(services, account_id))) == (0, 1)
    assert due(worker, "export_archives", over) == 1
    assert (run(worker, "export_archives", over), stored(services, account_id)) == (0, [])


def test_an_answered_request_goes_after_three_years_its_archive_before_it(services: Services, worker: Services) -> None:
    answered, open_ = (make_account(services).row.account_id for _ in range(2))
    run_export(services, ask(services, answered))
    ask(services, open_)
    over = datetime(2029, 6, 2, tzinfo=UTC)
    run(worker, "finished_requests", over)
    assert count(services, "requests") == 2, "the archive is still there"
    run(worker, "export_archives", NOW + timedelta(days=30))
    run(worker, "finished_requests", over - INSTANT)
    assert (count(services, "requests"), count(services, "exports")) == (2, 2)
    run(worker, "finished_requests", over)
    with transaction(services) as tx:
        assert tx.session.scalars(select(SubjectRequest.account_id)).all() == [open_]
        assert tx.session.scalars(select(Export.account_id)).all() == [open_]
        told = select(AuditEvent.account_id).where(AuditEvent.action == "request.erase")
        assert tx.session.scalars(told).all() == [answered]


def test_a_session_goes_after_twelve_hours_and_a_code_after_one(services: Services, worker: Services) -> None:
    account_id = make_account(services).row.account_id
    person_id = make_person(services, account_id).row.person_id
    with transaction(services) as tx:
        sessions.begin(tx, account_id, person_id, "Firefox, Linux")
        codes.send(tx, account_id, person_id, "password")
    for key, table, kept in (
        ("portal_sessions", "holder_sessions", timedelta(hours=12)),
        ("one_time_codes", "one_time_codes", timedelta(hours=1)),
    ):
        assert (run(worker, key, NOW + kept - INSTANT), count(services, table)) == (0, 1)
        assert due(worker, key, NOW + kept) == 1
        assert (run(worker, key, NOW + kept), count(services, table)) == (0, 0)


@pytest.mark.parametrize(
    ("hold", "left"),
    [
        ({"scope": "account"}, 1),
        ({"scope": "category", "category": "account"}, 1),
        ({"scope": "category", "category": "traffic_metadata"}, 0),
        ({"scope": "account", "released_at": NOW, "released_by": "x"}, 0),
        ({"scope": "account", "until": NOW + timedelta(days=1)}, 0),
    ],
)
def test_a_held_request_stays_as_long_as_the_hold(
    services: Services, worker: Services, hold: dict[str, Any], left: int
) -> None:
    account_id = make_account(services).row.account_id
    run_export(services, ask(services, account_id))
    same = {"hold_id": new_id(), "authority": "court", "reference": "1", "placed_by": "x", "placed_at": NOW}
    put(services, Hold, [{"account_id": account_id, **same, **hold}])
    run(worker, "export_archives", NOW + timedelta(days=30))
    run(worker, "finished_requests", NOW + timedelta(days=4 * 366))
    assert count(services, "requests") == left


@pytest.mark.parametrize("held", [True, False])
def test_the_hold_of_a_person_keeps_the_requests_about_that_person_alone(
    services: Services, worker: Services, held: bool
) -> None:
    account_id = make_account(services).row.account_id
    kim, robin = (make_person(services, account_id).row.person_id for _ in range(2))
    for person_id in (None, kim):
        with transaction(services) as tx:
            requests.withdraw(tx, receive(services, account_id, "objection", person_id=person_id).row.request_id)
    same = {"hold_id": new_id(), "authority": "court", "reference": "1", "placed_by": "x", "placed_at": NOW}
    hold = {"account_id": account_id, "scope": "person", "person_id": kim if held else robin}
    put(services, Hold, [{**same, **hold}])
    run(worker, "finished_requests", NOW + timedelta(days=4 * 366))
    with transaction(services) as tx:
        assert list(tx.session.scalars(select(SubjectRequest.person_id))) == ([kim] if held else [])


@pytest.mark.parametrize(
    ("scope", "category", "left"), [("account", None, 2), ("person", None, 1), ("category", "account", 0)]
)
def test_that_a_mail_was_sent_stays_as_long_as_a_hold_on_its_person_or_account(
    services: Services, worker: Services, scope: str, category: str | None, left: int
) -> None:
    account_id = make_account(services).row.account_id
    people = [make_person(services, account_id).row.person_id for _ in range(2)]
    put(services, Mail, [{**a_mail(), "account_id": account_id, "person_id": person_id} for person_id in people])
    put(services, Mail, [a_mail()])
    held = {"category": category, "person_id": people[0] if scope == "person" else None}
    same = {"hold_id": new_id(), "authority": "court", "reference": "1", "placed_by": "x", "placed_at": NOW}
    put(services, Hold, [{"account_id": account_id, "scope": scope, **same, **held}])
    over = NOW + timedelta(days=60)
    assert due(worker, "ended_mails", over) == 3 - left
    run(worker, "ended_mails", over)
    with transaction(services) as tx:
        assert tx.session.scalars(select(Mail.person_id).order_by(Mail.person_id)).all() == people[:left]


def test_a_day_of_the_access_log_goes_when_its_last_line_is_due(services: Services, worker: Services, logs: Path) -> None:
    first, last = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 6, 2, tzinfo=UTC) - INSTANT
    for at in (first, last, last + INSTANT):
        accesslog.append(logs, at, "line")
    (logs / "notes.txt").write_text("of somebody else")
    over = datetime(2026, 12, 2, tzinfo=UTC)
    assert worker.policy.rule_for("web_server_logs").erasable_from(last) == over
    run(worker, "web_server_logs", over - INSTANT)
    assert len(list(logs.iterdir())) == 3
    assert due(worker, "web_server_logs", over) == 1
    run(worker, "web_server_logs", over)
    assert {each.name for each in logs.iterdir()} == {"access-2026-06-02.log", "notes.txt"}


def unaccounted(tables: Iterable[Table], clocked: frozenset[str]) -> list[str]:
    """Tables that neither go with their account, nor are kept without personal data, nor have a clock."""
    return [table.name for table in tables if not (_goes(table) or _harmless(table) or table.name in clocked)]


def _goes(table: Table) -> bool:
    account = table.columns.get("account_id")
    return table.info["erasure"] is Erasure.ROWS and account is not None and not account.nullable


def _harmless(table: Table) -> bool:
    marks = [classification_of(column) for column in table.columns]
    return table.info["erasure"] is Erasure.KEPT and all(mark and mark.category is Category.OPERATION for mark in marks)


def test_every_table_goes_with_its_account_or_has_a_clock_or_holds_no_personal_data(worker: Services) -> None:
    clocked = frozenset().union(*(clock.tables for clock in every_clock(worker)))
    assert unaccounted(CONTROLLER.sorted_tables, clocked) == []
    assert set(unaccounted(CONTROLLER.sorted_tables, frozenset())) == {"idempotency_keys", "outbox", "purges"}


@pytest.mark.parametrize(
    ("erasure", "category", "nullable"),
    [
        (Erasure.KEPT, Category.IDENTIFICATION, True),
        (Erasure.ROWS, Category.OPERATION, True),
        (Erasure.CLEARED, Category.OPERATION, True),
    ],
)
def test_a_table_that_nobody_thought_of_is_found(erasure: Erasure, category: Category, nullable: bool) -> None:
    mark = withheld(category, Uuid, why="x").column.info
    table = Table(
        "sessions", MetaData(), Column("account_id", Uuid, nullable=nullable, info=mark), **about(erasure, why="x")
    )
    assert unaccounted([table], frozenset()) == ["sessions"]
    assert unaccounted([table], frozenset({"sessions"})) == []


def test_every_housekeeping_rule_has_one_clock_and_every_clock_a_rule(worker: Services) -> None:
    assert sorted(each.key for each in every_clock(worker)) == sorted(KEYS)
