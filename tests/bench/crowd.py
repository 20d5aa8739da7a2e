"""Accounts by the hundred thousand, in a database of their own: the others, whom a plan or an erasure must not cost time."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Engine, text

from cloudpriv.bootstrap import Services
from cloudpriv.database import upgrade
from cloudpriv.platform import db
from cloudpriv.policy.register import Policy
from cloudpriv.retention import due
from tests.bench.stage import Stage
from tests.purges import LONG_AGO, let_traffic_come

# Idle for 0 to 6 years and 11 months, in no order; one in a hundred is restricted, and one in three of the rarer service.
ACCOUNTS: Final = """
INSERT INTO accounts (account_id, service, status, profile, created_at, last_traffic_at, version)
SELECT gen_random_uuid(), CASE WHEN i % 3 = 0 THEN 'intesis' ELSE 'talk2m' END,
    CASE WHEN i % 100 = 0 THEN 'restricted' ELSE 'active' END, decode(repeat('5a', 120), 'hex'), :now - interval '9 years',
    :now - abs(hashint4(i)::bigint) % 2525 * interval '1 day' - i % 86400 * interval '1 s', 1
FROM generate_series(1, :number) i
"""
# Of those who fall due within 90 days all notices but the last.
TOLD: Final = """
INSERT INTO notices (account_id, due_on, days, given_at, mails)
SELECT account_id, CAST(last_traffic_at + interval '7 years' AS date) + 1, days, :now - interval '30 days', 1
FROM accounts, unnest(ARRAY[90, 30]) days WHERE last_traffic_at < :now - interval '7 years' + interval '90 days'
"""
HELD: Final = """
INSERT INTO holds (account_id, hold_id, scope, authority, reference, placed_by, placed_at)
SELECT account_id, gen_random_uuid(), 'account', 'Halmstad District Court', 'T 1-26', 'operator:x', :now
FROM accounts WHERE hashtext(CAST(account_id AS text)) % 100 = 0
"""
# One erasure that ended for every ten accounts, one an hour, each planned alone; and as many that were cancelled.
RUNS: Final = """
INSERT INTO purge_runs (run_id, service, status, rule, policy_version, accounts, findings, planned_by, planned_at)
SELECT gen_random_uuid(), CASE WHEN i % 3 = 0 THEN 'intesis' ELSE 'talk2m' END, 'approved', 'P7Y after last_traffic', '1', 1,
    '[]', 'client:x', :now - i * interval '1 h'
FROM generate_series(1, :number / 10) i
"""
ENDED: Final = """
INSERT INTO purges (purge_id, run_id, service, trigger, rule, policy_version, status, step, counts, attempts, planned_at,
    finished_at)
SELECT gen_random_uuid(), run_id, service, 'policy', rule, policy_version, 'done', 'done', '{}', 1, planned_at, planned_at
FROM purge_runs
"""
CANCELLED: Final = """
INSERT INTO purges (purge_id, account_id, service, trigger, rule, policy_version, status, step, counts, attempts, planned_at,
    finished_at)
SELECT gen_random_uuid(), account_id, service, 'policy', 'P7Y after last_traffic', '1', 'cancelled', 'keys', '{}', 1,
    :now - interval '1 year', :now - interval '1 year'
FROM accounts WHERE hashtext(CAST(account_id AS text)) % 10 = 0
"""
# Their traffic, as backends sent it.
EVENTS: Final = """
INSERT INTO audit_events (event_id, at, actor_kind, actor_id, action, account_id, fields)
SELECT gen_random_uuid(), :now - n * interval '1 h', 'client', 'x', 'traffic.write', account_id, '{}'
FROM accounts, generate_series(1, 2) n
"""
REST: Final = (
    "INSERT INTO account_keys SELECT account_id, 'kek', decode(repeat('5a', 60), 'hex') FROM accounts",
    "INSERT INTO directory SELECT service, uuid_send(gen_random_uuid()), account_id FROM accounts",
    """
INSERT INTO people (account_id, person_id, username_index, role, identity, created_at, version)
SELECT account_id, gen_random_uuid(), uuid_send(gen_random_uuid()), 'owner', decode(repeat('5a', 300), 'hex'), :now, 1
FROM accounts, generate_series(1, 2)
""",
    """
INSERT INTO credentials (account_id, person_id, password_hash, changed_at)
SELECT account_id, person_id, decode(repeat('5a', 120), 'hex'), :now FROM people
""",
    """
INSERT INTO outbox (mail_id, account_id, person_id, kind, status, attempts, created_at, next_try_at, sent_at)
SELECT gen_random_uuid(), account_id, person_id, 'hint', 'sent', 1, :now, :now, :now FROM people
""",
    """
INSERT INTO devices (account_id, device_id, serial_index, identity, registered_at, version)
SELECT account_id, gen_random_uuid(), uuid_send(gen_random_uuid()), decode(repeat('5a', 120), 'hex'), :now, 1
FROM accounts, generate_series(1, 3)
""",
    """
INSERT INTO traffic (account_id, session_key, device_id, started_at, bytes_from_device, bytes_to_device, received_at)
SELECT account_id, uuid_send(gen_random_uuid()), device_id, :now - n * interval '1 day', n, n, :now
FROM devices, generate_series(1, 2) n
""",
    """
INSERT INTO requests (account_id, request_id, type, status, identity_verified_by, received_at, due_on, completed_at, version)
SELECT account_id, gen_random_uuid(), 'access', 'completed', 'x', :now, CAST(:now AS date), :now, 1 FROM accounts
""",
    """
INSERT INTO exports (account_id, export_id, request_id, status, object_key, attempts, created_at)
SELECT account_id, gen_random_uuid(), request_id, 'expired', 'x', 1, :now FROM requests
""",
    """
INSERT INTO idempotency_keys (caller, key_index, request_index, account_id, answer_id, status, expires_at)
SELECT 'x', uuid_send(gen_random_uuid()), '', account_id, gen_random_uuid(), 200, :now + interval '1 day' FROM accounts
""",
    """
INSERT INTO ledger (account_hash, service, trigger, rule, policy_version, counts, erased_at)
SELECT uuid_send(purge_id), service, trigger, rule, policy_version, counts, finished_at FROM purges
""",
)
IDLE: Final = """
INSERT INTO accounts (account_id, service, status, profile, created_at, version)
SELECT gen_random_uuid(), 'talk2m', 'active', '', :created_at, 1 FROM generate_series(1, :number) RETURNING account_id
"""
NOTICE: Final = """
INSERT INTO notices (account_id, due_on, days, given_at, mails) SELECT unnest(CAST(:ids AS uuid[])), :due_on, 7, :given_at, 1
"""


@contextmanager
def database(stage: Stage, name: str) -> Iterator[Services]:
    """The owner's services on an empty database, dropped afterwards. Nobody is woken for what is planned there."""
    here = stage.owner.controller
    with here.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as administration:
        administration.exec_driver_sql(f"CREATE DATABASE {name}")
        url = here.engine.url.set(database=name).render_as_string(hide_password=False)
        engine = db.connect(url, pool_size=2)
        try:
            upgrade(engine)
            plane = replace(here, engine=engine, enqueue=lambda *_: None)
            yield replace(stage.owner, controller=plane)
        finally:
            engine.dispose()
            administration.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def fill(engine: Engine, number: int, now: datetime, *, whole: bool) -> None:
    """So many accounts none of which is due, and what planning reads beside them; `whole` gives them rows everywhere."""
    with engine.begin() as connection:
        for statement in (ACCOUNTS, RUNS):
            connection.execute(text(statement), {"number": number, "now": now})
        for statement in (TOLD, HELD, ENDED, CANCELLED, EVENTS, *(REST if whole else ())):
            connection.execute(text(statement), {"now": now})


def make_due(engine: Engine, number: int, created_at: datetime = LONG_AGO) -> list[UUID]:
    """So many accounts of nothing but their own row, without traffic ever."""
    with engine.begin() as connection:
        values = {"number": number, "created_at": created_at}
        return list(connection.execute(text(IDLE), values).scalars())


def tell(
    engine: Engine, policy: Policy, account_ids: Iterable[UUID], now: datetime, created_at: datetime = LONG_AGO
) -> None:
    """Have nothing stand between these accounts and their erasure: their owners were told, and others have traffic."""
    let_traffic_come(engine, now)
    due_on = due.purge_due_on(policy, created_at, None)
    values = {"ids": list(account_ids), "due_on": due_on, "given_at": now - timedelta(days=8)}
    with engine.begin() as connection:
        connection.execute(text(NOTICE), values)


def settle(engine: Engine) -> None:
    """Let the database tidy up and count all that was filled in, as it does by itself in time."""
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("VACUUM (ANALYZE)"))
