"""What tests of erasure start from: an account that has something everywhere, and looks at everything else."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, Engine, insert, select, text
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from cloudpriv.audit.events import AuditEvent
from cloudpriv.bootstrap import Services
from cloudpriv.controller import credentials, idempotency, outbox
from cloudpriv.controller.idempotency import Answer
from cloudpriv.controller.tables import Account, LogDataTraffic
from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform.classify import erased_tables
from cloudpriv.platform.clock import APART, Boot
from cloudpriv.platform.ids import new_id
from cloudpriv.policy.register import Policy
from cloudpriv.retention import due, purge, runs
from cloudpriv.retention.guards import Clocks, Limits, Terms
from cloudpriv.retention.lease import LEASE
from cloudpriv.retention.tables import Hold, LedgerEntry, Notice, Purge
from tests.exports import ask, make_session
from tests.exports import run as run_export
from tests.factories import BACKEND, NOW, make_account, make_device, make_person, transaction
from tests.furnished import announce, furnish
from tests.patience import PATIENCE

LONG_AGO = datetime.fromisoformat("2018-08-01T00:00:00Z")


def make_full_account(services: Services, created_at: datetime = LONG_AGO) -> UUID:
    """An account with at least one row in every table that is erased, and an archive in the object store.

    Its traffic is of today, so that only its holder's wish erases it; `let_it_age` makes it due.
    """
    account_id = make_account(services, created_at=created_at).row.account_id
    person = make_person(services, account_id).row
    device = make_device(services, account_id).row
    make_session(services, account_id, device.device_id, person_id=person.person_id)
    with transaction(services) as tx:
        credentials.set_credentials(tx, account_id, person.person_id, "not a hash", "the dog")
        outbox.queue_mail(tx, "hint", account_id, person.person_id)
        tx.session.get_one(Account, account_id).last_traffic_at = NOW
        claimed = idempotency.claim(tx, str(account_id), b"")
        answer = Answer(200, {"headers": {}, "body": ""})
        tx.session.add(_released_hold(account_id))
        furnish(tx, account_id, person.person_id)
        idempotency.keep_answer(tx, claimed, account_id, new_id(), answer, expires_at=NOW + timedelta(days=1))
    before = NOW - 2 * APART  # an answer of about now would be waited for as one that the erasure gave
    run_export(services, ask(services, account_id, before), before)
    return account_id


def _released_hold(account_id: UUID) -> Hold:
    court = {"authority": "Halmstad District Court", "reference": "T 1-26"}
    by_whom = {"placed_by": "operator:x", "released_by": "operator:x", "placed_at": NOW, "released_at": NOW}
    return Hold(account_id=account_id, hold_id=new_id(), scope="account", **court, **by_whom)


def let_it_age(owner: Engine, account_id: UUID, last_traffic_at: datetime | None = None) -> None:
    """Put the account's last traffic, none by default, where ingest would have put it; that of log data is old, too."""
    with owner.begin() as connection:
        hear_of_log_data(connection, account_id, LONG_AGO)
        statement = text("UPDATE accounts SET last_traffic_at = :at WHERE account_id = :id")
        connection.execute(statement, {"at": last_traffic_at, "id": account_id})


def hear_of_log_data(connection: Connection, account_id: UUID, at: datetime) -> None:
    """Have the processor plane tell that the account's log data had traffic then."""
    connection.execute(insert(LogDataTraffic), {"account_id": account_id, "told_id": new_id(), "at": at})


def close(services: Services, account_id: UUID) -> UUID:
    """Have the account erased on request; the purge's id."""
    with transaction(services) as tx:
        return purge.request_erasure(tx, services.policy, account_id, 1).purge_id


def terms(services: Services, now: datetime = NOW, *, accounts: int = 10**6, share: float = 1.0) -> Terms:
    """What a run is judged by when every clock says `now`; unless limits are named, any number of accounts may go."""
    return Terms(services.policy, Limits(accounts, share), Clocks(now, now, Boot("test", (now - NOW).total_seconds())))


def let_traffic_come(owner: Engine, now: datetime = NOW) -> None:
    """Have traffic of some account received, as any living installation has."""
    row = {"event_id": new_id(), "at": now, "actor_kind": "client", "actor_id": "x", "action": "traffic.write", "fields": []}
    with owner.begin() as connection:
        connection.execute(insert(AuditEvent), row)


def tell_owners(owner: Engine, policy: Policy, now: datetime = NOW) -> None:
    """Have the owners of all that is due told long enough ago, and everybody of a policy."""
    with owner.begin() as connection:
        for account_id, created_at, traffic in connection.execute(
            select(Account.account_id, Account.created_at, Account.last_traffic_at)
        ).all():
            due_on = due.purge_due_on(policy, created_at, traffic)
            given = {"account_id": account_id, "due_on": due_on, "days": 7, "given_at": now - timedelta(days=8), "mails": 1}
            connection.execute(insert_or_skip(Notice).values(given).on_conflict_do_nothing())
        announce(connection, now)


def clear_the_way(services: Services, owner: Engine, now: datetime = NOW) -> None:
    """Make the installation one in which no guard objects: traffic comes, and owners were told in time."""
    let_traffic_come(owner, now)
    tell_owners(owner, services.policy, now)


def plan(services: Services, owner: Engine, now: datetime = NOW) -> list[UUID]:
    """Plan what is due, in an installation where traffic comes and owners were told."""
    clear_the_way(services, owner, now)
    with transaction(services, now=now) as tx:
        runs.plan_due(tx, terms(services, now))
        return [subject for job, subject in tx.wake if job == "purge"]


def order(services: Services, owner: Engine, account_id: UUID, now: datetime = NOW) -> UUID:
    """Have a due account erased, as its backend does, in an installation where traffic comes and owners were told."""
    clear_the_way(services, owner, now)
    with transaction(services, BACKEND, now) as tx:
        return runs.plan_account(tx, terms(services, now), account_id).purge_id


def run(services: Services, purge_id: UUID, now: datetime = NOW) -> None:
    """Do what a worker does."""
    run_with(services, purge_id, lambda: now)


def purge_of(services: Services, purge_id: UUID) -> Purge:
    """The purge's row."""
    with transaction(services) as tx:
        return tx.session.get_one(Purge, purge_id)


def ledger(services: Services) -> list[LedgerEntry]:
    """All entries of the ledger."""
    with transaction(services) as tx:
        return tx.session.query(LedgerEntry).all()


def rows_of(owner: Engine, account_id: UUID) -> dict[str, int]:
    """How many rows of the account there are in each table to be erased that has any."""
    statement = "SELECT count(*) FROM {} WHERE account_id = :id"
    with owner.connect() as connection:
        found = {
            table.name: connection.execute(text(statement.format(table.name)), {"id": account_id}).scalar_one()
            for table in erased_tables(CONTROLLER)
        }
    return {name: number for name, number in found.items() if number}


def checksums_of_others(owner: Engine, *account_ids: UUID) -> dict[str, str | None]:
    """A checksum of each table's rows that are of other accounts."""
    statement = "SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} t WHERE account_id <> ALL (:ids)"
    with owner.connect() as connection:
        return {
            table.name: connection.scalar(
                text(statement.format(table.name).replace("::", "\\:\\:")), {"ids": list(account_ids)}
            )
            for table in erased_tables(CONTROLLER)
        }


def age_lease(owner: Engine) -> None:
    """Let every lease run out, as 20 s without its worker do."""
    with owner.begin() as connection:
        connection.execute(text("UPDATE purges SET lease_until = lease_until - :lease"), {"lease": LEASE})


def is_blocked(owner: Engine) -> bool:
    """Whether somebody waits for a lock in this database."""
    here = "FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE datname = current_database()"
    with owner.connect() as connection:
        return bool(connection.scalar(text(f"SELECT count(*) {here} AND NOT granted")))


def await_blocked(owner: Engine, over: Callable[[], bool]) -> bool:
    """Wait until somebody waits for a lock, or until it is over without; whether somebody waits."""
    deadline = time.monotonic() + PATIENCE
    while not is_blocked(owner):
        if over():
            return False
        assert time.monotonic() < deadline, "nobody came to a lock"
        time.sleep(0.01)
    return True


def await_a_round(owner: Engine) -> None:
    """Wait until a schedule has done every duty of the day, of which the forecast is the last."""
    deadline = time.monotonic() + PATIENCE
    with owner.connect() as connection:
        while connection.scalar(text("SELECT done_slot FROM duties WHERE name = 'forecast'")) is None:
            assert time.monotonic() < deadline, "the round was never finished"
            connection.rollback()
            time.sleep(0.05)


class Killed(BaseException):
    """The worker ends here, as SIGKILL would end it."""


def die() -> None:
    """End the worker."""
    raise Killed


def renews_a_lease() -> bool:
    """Whether this is the thread that renews a worker's lease beside its work."""
    return threading.current_thread().name == "lease"


class Moments:
    """A clock that does something when it is read for the n-th time: between two transactions of a worker.

    What renews a lease beside the work reads it as often as the work is slow, which does not count.
    """

    def __init__(self, number: int, happens: Callable[[], object], now: datetime = NOW) -> None:
        self.number, self.happens, self.now, self.read = number, happens, now, 0

    def __call__(self) -> datetime:
        if renews_a_lease():
            return self.now
        self.read += 1
        if self.read == self.number:
            self.happens()
        return self.now


def run_with(services: Services, purge_id: UUID, clock: Callable[[], datetime]) -> None:
    """Do what a worker with this clock does."""
    purge.run(services.controller, services.stores, services.policy, purge_id, clock)


def device_of(owner: Engine, account_id: UUID) -> UUID:
    """A device of the account."""
    with owner.connect() as connection:
        found: UUID = connection.scalar(text("SELECT device_id FROM devices WHERE account_id = :id"), {"id": account_id})
        return found
