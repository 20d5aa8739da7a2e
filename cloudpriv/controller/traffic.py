"""Traffic metadata comes in: one batch, one transaction, COPY into a staging table and one merge.

What is told of a session is merged member by member: the start is the earliest told, every other member the greatest.
Such a merge is commutative, associative and idempotent, so Start, Interim and Stop may come in any order, twice or late.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

import psycopg

from cloudpriv.audit import events
from cloudpriv.controller.traffic_places import UNKNOWN_ACCOUNT, find_places
from cloudpriv.controller.traffic_records import Batch, Lines, times_of
from cloudpriv.platform.db import Tx
from cloudpriv.platform.rejections import Fault, Rejection

Connection = psycopg.Connection[tuple[Any, ...]]
CLOSING: Final = Fault("account_closing", "account is being erased")
RESTRICTED: Final = Fault("account_restricted", "account is restricted (GDPR Article 18)")
CONFLICT: Final = Fault("session_conflict", "session is one of another device of the account")
# What an account's status, None when it is gone, says to new traffic.
REFUSALS: Final = {None: UNKNOWN_ACCOUNT, "purging": UNKNOWN_ACCOUNT, "closing": CLOSING, "restricted": RESTRICTED}

# One table a connection, emptied at commit: one made for every batch would fill the catalogue with dead rows.
STAGING: Final = """
CREATE TEMPORARY TABLE IF NOT EXISTS traffic_staging (
    position integer, account_id uuid, device_id uuid, person_id uuid, session_key bytea,
    started_at timestamptz, ended_at timestamptz, bytes_from_device bigint, bytes_to_device bigint,
    protocol text, remote_address inet, end_reason text
) ON COMMIT DELETE ROWS
"""
# A batch finds its rows in `traffic` by key. Knowing nothing of the staging table, the planner would rather read all of it.
BY_KEY: Final = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
EMPTY: Final = "DELETE FROM pg_temp.traffic_staging"
COPY: Final = "COPY pg_temp.traffic_staging FROM STDIN"
LOCK: Final = """
SELECT account_id, status FROM accounts WHERE account_id = ANY(%s) ORDER BY account_id FOR NO KEY UPDATE
"""
REFUSE: Final = "DELETE FROM pg_temp.traffic_staging WHERE account_id = ANY(%s) RETURNING position, account_id"
# Who is erased meanwhile, and who is restricted: their traffic is the account's, and names nobody.
FORGET_PEOPLE: Final = """
WITH named AS MATERIALIZED (
    SELECT DISTINCT account_id, person_id FROM pg_temp.traffic_staging WHERE person_id IS NOT NULL
), unnamed AS MATERIALIZED (
    SELECT * FROM named n
    WHERE NOT EXISTS (
        SELECT FROM people p
        WHERE p.account_id = n.account_id AND p.person_id = n.person_id AND p.erasure_requested_at IS NULL
            AND p.restricted_at IS NULL
    )
)
UPDATE pg_temp.traffic_staging s SET person_id = NULL FROM unnamed u
WHERE s.account_id = u.account_id AND s.person_id = u.person_id
"""
# In the order of the primary key, which keeps its index's pages in cache; the first record of a session makes its row.
ADD: Final = """
INSERT INTO traffic (account_id, session_key, device_id, person_id, started_at, ended_at, bytes_from_device,
    bytes_to_device, protocol, remote_address, end_reason, received_at)
SELECT account_id, session_key, device_id, person_id, started_at, ended_at, bytes_from_device,
    bytes_to_device, protocol, remote_address, end_reason, %s
FROM pg_temp.traffic_staging ORDER BY account_id, session_key, position
ON CONFLICT (account_id, session_key) DO NOTHING
"""
SET_ASIDE: Final = """
DELETE FROM pg_temp.traffic_staging s USING traffic t
WHERE t.account_id = s.account_id AND t.session_key = s.session_key AND t.device_id <> s.device_id
RETURNING s.position
"""
# Text is compared byte by byte (collation C), the same on every server; max(uuid) exists only in newer ones.
MERGE: Final = """
UPDATE traffic t
SET (person_id, started_at, ended_at, bytes_from_device, bytes_to_device, protocol, remote_address, end_reason) =
    (m.person_id, m.started_at, m.ended_at, m.from_device, m.to_device, m.protocol, m.remote_address, m.end_reason)
FROM (
    SELECT t.account_id, t.session_key,
        GREATEST(t.person_id, max(s.person_id::text COLLATE "C")::uuid) AS person_id,
        LEAST(t.started_at, min(s.started_at)) AS started_at,
        GREATEST(t.ended_at, max(s.ended_at)) AS ended_at,
        GREATEST(t.bytes_from_device, max(s.bytes_from_device)) AS from_device,
        GREATEST(t.bytes_to_device, max(s.bytes_to_device)) AS to_device,
        GREATEST(t.protocol COLLATE "C", max(s.protocol COLLATE "C")) AS protocol,
        GREATEST(t.remote_address, max(s.remote_address)) AS remote_address,
        GREATEST(t.end_reason COLLATE "C", max(s.end_reason COLLATE "C")) AS end_reason
    FROM pg_temp.traffic_staging s JOIN traffic t USING (account_id, session_key)
    GROUP BY t.account_id, t.session_key
) m
WHERE t.account_id = m.account_id AND t.session_key = m.session_key
    AND (t.person_id, t.started_at, t.ended_at, t.bytes_from_device, t.bytes_to_device,
         t.protocol, t.remote_address, t.end_reason)
    IS DISTINCT FROM
        (m.person_id, m.started_at, m.ended_at, m.from_device, m.to_device,
         m.protocol, m.remote_address, m.end_reason)
"""
# The latest instant of a session that lasts is its start: the time of receipt says nothing about the device.
MOVE_CLOCKS: Final = """
WITH seen AS (
    SELECT account_id, device_id, max(COALESCE(ended_at, started_at)) AS latest
    FROM pg_temp.traffic_staging GROUP BY account_id, device_id
), devices_seen AS (
    UPDATE devices d SET last_seen_at = seen.latest FROM seen
    WHERE d.account_id = seen.account_id AND d.device_id = seen.device_id
        AND (d.last_seen_at IS NULL OR d.last_seen_at < seen.latest)
)
UPDATE accounts a SET last_traffic_at = s.latest
FROM (SELECT account_id, max(latest) AS latest FROM seen GROUP BY account_id) s
WHERE a.account_id = s.account_id AND (a.last_traffic_at IS NULL OR a.last_traffic_at < s.latest)
"""


@dataclass(frozen=True)
class Verdict:
    """What became of a batch: sessions that are new, records merged into a known one, records not taken.

    The three add up to the records of the batch.
    """

    accepted: int
    merged: int
    rejected: list[Rejection]


@dataclass(frozen=True)
class _Prepared:
    lines: list[str]
    places: set[str]
    rejected: list[Rejection]


def ingest(tx: Tx, batch: Batch) -> Verdict:
    """Merge a batch into the traffic of its accounts and move their clocks of activity, all or nothing.

    Each account that is written to is audited once. A session belongs to the device that it was first told of; a record that
    names another device for it is rejected, as is a record of an account that is gone, being erased or restricted. Accounts
    are locked in the order of their ids, so concurrent batches wait for each other and never deadlock.
    """
    prepared = _prepare(tx, batch)
    if not prepared.lines:
        return Verdict(0, 0, sorted(prepared.rejected))
    with _driver(tx) as connection:
        _stage(connection, prepared)
        written, refused = _lock_accounts(connection, {UUID(place[:36]) for place in prepared.places})
        accepted, conflicts = _merge(connection, tx.now, len(prepared.lines) - len(refused))
        connection.execute(MOVE_CLOCKS, prepare=False)
    events.record_each(tx, "traffic.write", written)
    merged = len(prepared.lines) - len(refused) - accepted - len(conflicts)
    return Verdict(accepted, merged, sorted([*prepared.rejected, *refused, *conflicts]))


def _prepare(tx: Tx, batch: Batch) -> _Prepared:
    places = find_places(tx, {(each.account, each.device, each.username) for each in batch.records})
    prepared, make = _Prepared([], set(), list(batch.rejected)), Lines(tx.now).line
    for index, record, times in zip(batch.indexes, batch.records, times_of(batch.records), strict=True):
        place = places[record.account, record.device, record.username]
        line = place if isinstance(place, Fault) else make(index, place, record, times)
        if isinstance(line, Fault):
            prepared.rejected.append(Rejection(index, line.code, line.detail))
        else:
            prepared.lines.append(line)
            prepared.places.add(str(place))
    return prepared


def _stage(connection: Connection, prepared: _Prepared) -> None:
    connection.execute(BY_KEY)
    connection.execute(STAGING)
    connection.execute(EMPTY, prepare=False)
    with connection.cursor().copy(COPY) as copy:
        copy.write("".join(prepared.lines))


def _lock_accounts(connection: Connection, account_ids: set[UUID]) -> tuple[list[UUID], list[Rejection]]:
    """Hold the accounts until the end of the transaction; those to write to, and the records of the others."""
    status: dict[UUID, str] = dict(connection.execute(LOCK, [sorted(account_ids)]).fetchall())
    connection.execute(FORGET_PEOPLE, prepare=False)
    refusals = {each: REFUSALS[status.get(each)] for each in account_ids if status.get(each) != "active"}
    written = sorted(account_ids - refusals.keys())
    if not refusals:
        return written, []
    removed = connection.execute(REFUSE, [list(refusals)], prepare=False)
    return written, [Rejection(position, *refusals[account_id]) for position, account_id in removed]


def _merge(connection: Connection, now: datetime, staged: int) -> tuple[int, list[Rejection]]:
    """How many sessions are new, and the records that name another device for a session."""
    accepted = connection.execute(ADD, [now], prepare=False).rowcount
    if accepted == staged:
        return accepted, []
    conflicts = connection.execute(SET_ASIDE, prepare=False).fetchall()
    connection.execute(MERGE, prepare=False)
    return accepted, [Rejection(position, *CONFLICT) for (position,) in conflicts]


@contextmanager
def _driver(tx: Tx) -> Iterator[Connection]:
    """The transaction's connection without SQLAlchemy around it: COPY needs it, and statements that are planned each time.

    A plan kept from an empty staging table would read all of `traffic` for a full one.
    """
    connection = cast(Connection, tx.connection.connection.driver_connection)
    try:
        yield connection
    except psycopg.OperationalError:
        raise
    except psycopg.Error as fault:
        # Without its text, which repeats values.
        raise RuntimeError(f"the batch failed ({fault.sqlstate})") from None
