"""After a restore: what the ledger's bucket knows as erased and the database does not is erased again, for good.

Each entry is taken into the database's ledger in the transaction that plans the erasure of its account, if that came back.
From then on the purge's row says where the work stands, so replay may stop anywhere and be repeated, by several at once too.
Erased is erased: holds and restrictions that came back with the account were over when it was erased, and do not count.
An account that a backend used after its erasure was not brought back by a backup, which is older: the entry may be that
of another installation that writes into the same bucket, as a copy of this one might. It is not erased unasked.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, text

from cloudpriv.audit import events, log
from cloudpriv.audit.events import AuditEvent
from cloudpriv.platform.actor import OPERATOR, Actor
from cloudpriv.platform.classify import erased_tables
from cloudpriv.platform.db import ControllerBase, Plane, Tx
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.policy.register import Policy
from cloudpriv.retention import certify, ledger, purge, runs, unwritten
from cloudpriv.retention.ledger import Entry, LedgerError
from cloudpriv.retention.progress import Stores
from cloudpriv.retention.tables import OPEN, Purge

READERS: Final = 8  # objects read at once: the store's answers are awaited, not computed
TRIGGER: Final = "replay"
TURN: Final = 7_235_003  # any number: whoever takes entries in holds this lock
IN_TURN: Final = text("SELECT pg_advisory_xact_lock(:turn)")
RETURNED: Final = """
SELECT sha256(uuid_send(account_id)), account_id, service, status FROM accounts
WHERE sha256(uuid_send(account_id)) = ANY (%(hashes)s::bytea[]) ORDER BY account_id
"""


class InUseError(LedgerError):
    """An account that the ledger says was erased has been used since, so it cannot have come back with a backup."""


@dataclass(frozen=True)
class Returned:
    """An account that was erased and is there again: what the ledger says of it, its rows now, and its latest use."""

    account_id: UUID
    service: str
    status: str
    rule: str
    erased_at: datetime
    rows: int
    last_used_at: datetime | None

    @property
    def is_in_use(self) -> bool:
        """Whether it was used after its erasure."""
        return self.last_used_at is not None and self.last_used_at > self.erased_at


@dataclass(frozen=True)
class State:
    """How the database stands to the ledger's bucket."""

    plan: str  # names what would be erased: who executes it names it, so that nothing goes that no dry run has shown
    missing: int  # entries that the database lacks
    returned: list[Returned]
    unfinished: int  # erasures that replay has planned and that are not done
    unwritten: int  # certificates, entries and checkpoints of the database that the bucket lacks
    log_behind: bool

    @property
    def needs_replay(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.missing or self.unfinished or self.unwritten or self.log_behind)


def look(plane: Plane, objects: ObjectStore, clock: Callable[[], datetime]) -> State:
    """What `carry_out` would do. Reads only. Raises BusyError, LedgerError."""
    missing, returned, plan = 0, [], sha256()
    for entries in _missing(plane, objects, clock):
        missing += len(entries)
        plan.update("".join(f"{entry.key}\n" for entry in entries).encode())
        with plane.transaction(OPERATOR, clock(), read_only=True) as tx:
            returned += _returned(tx, entries)
    plan.update("".join(f"{each.account_id}\n" for each in returned).encode())
    lacking = unwritten.count(plane, objects, clock)
    with plane.transaction(OPERATOR, clock()) as tx:
        behind, unfinished = log.is_behind(tx, objects), len(_planned(tx))
    return State(plan.hexdigest()[:16], missing, returned, unfinished, lacking, behind)


def carry_out(plane: Plane, stores: Stores, policy: Policy, clock: Callable[[], datetime], *, actor: Actor,
              origin_base: str, even_in_use: bool = False) -> None:  # fmt: skip
    """Take the missing entries in, erase again, write what the bucket lacks, then begin a new log if this one is behind.

    No worker needs to run. Erasures that have to wait for something are left `unfinished`, and carried on when it is called
    again. Raises BusyError when a server is away, LedgerError at an object that is no entry, InUseError rather than erase an
    account that was used after its erasure, unless told to erase it `even_in_use`.
    """
    for entries in _missing(plane, stores.ledger, clock):
        with plane.transaction(actor, clock()) as tx:
            _take_in(tx, policy, entries, even_in_use=even_in_use)
            tx.wake.clear()  # carried out here: there is no worker that may begin before
    with plane.transaction(OPERATOR, clock()) as tx:
        planned = _planned(tx)
    for purge_id in planned:
        purge.run(plane, stores, policy, purge_id, clock)
    unwritten.put_back(plane, stores.ledger, clock)
    with plane.transaction(actor, clock()) as tx:
        tx.session.execute(IN_TURN, {"turn": log.TURN})
        if log.is_behind(tx, stores.ledger):
            log.begin_anew(tx, stores.ledger, stores.proof_key, origin_base)


def is_unfinished(tx: Tx) -> bool:
    """Whether an erasure that replay has planned is not done: then what was erased may still be readable."""
    return bool(_planned(tx))


def _missing(plane: Plane, objects: ObjectStore, clock: Callable[[], datetime]) -> Iterator[list[Entry]]:
    """The entries that the database lacks, in order of time, read while no transaction is open."""
    with ThreadPoolExecutor(READERS) as readers:
        for keys in ledger.pages(objects):
            with plane.transaction(OPERATOR, clock()) as tx:
                lacking = ledger.lacking(tx, keys)
            if lacking:
                yield list(readers.map(lambda key: ledger.read(objects, key), lacking))


def _take_in(tx: Tx, policy: Policy, found: Sequence[Entry], *, even_in_use: bool) -> None:
    """Enter what is still missing when no other replay is at it, and plan what has to be erased."""
    tx.session.execute(IN_TURN, {"turn": TURN})
    missing = set(ledger.lacking(tx, [entry.key for entry in found]))
    entries = [entry for entry in found if entry.key in missing]
    for returned in _returned(tx, entries, lock=" FOR UPDATE"):
        if returned.is_in_use and not even_in_use:
            raise InUseError(
                f"account {returned.account_id} was used after the ledger says it was erased, so no backup brought it back: "
                f"does another installation write into the ledger's bucket?"
            )
        _plan(tx, policy, returned)
    for entry in entries:
        certify.enter(tx, entry, None)


def _plan(tx: Tx, policy: Policy, returned: Returned) -> None:
    account_id = returned.account_id
    former = runs.open_purge(tx, account_id)
    if former is not None and former.trigger != TRIGGER:
        former.lease_owner = None  # whoever held it did so before the backup
    planned = runs.plan_request(tx, policy, account_id, returned.service, trigger=TRIGGER, rule=returned.rule)
    events.record(tx, "account.returned", account_id=account_id, subject_id=planned.purge_id)


def _planned(tx: Tx) -> list[UUID]:
    query = select(Purge.purge_id).where(Purge.status.in_(OPEN), Purge.trigger == TRIGGER)
    return list(tx.session.scalars(query.order_by(Purge.purge_id)))


def _returned(tx: Tx, entries: Sequence[Entry], lock: str = "") -> list[Returned]:
    # Of an account that replay has erased before, the first of its entries tells.
    by_hash = {entry.account_hash: entry for entry in reversed(entries)}
    found = tx.connection.exec_driver_sql(RETURNED + lock, {"hashes": list(by_hash)}).all()
    return [_described(tx, by_hash[account_hash], *account) for account_hash, *account in found]


def _described(tx: Tx, entry: Entry, account_id: UUID, service: str, status: str) -> Returned:
    # By a backend: what operators and workers do to a restored database does not make it a living one.
    used = select(func.max(AuditEvent.at)).where(AuditEvent.account_id == account_id, AuditEvent.actor_kind == "client")
    last_used_at = tx.session.scalar(used)
    return Returned(account_id, service, status, entry.rule, entry.erased_at, _rows_of(tx, account_id), last_used_at)


def _rows_of(tx: Tx, account_id: UUID) -> int:
    tables = erased_tables(ControllerBase.metadata)
    counts = (select(func.count()).select_from(table).where(table.c.account_id == account_id) for table in tables)
    return sum(tx.session.scalar(count) or 0 for count in counts)
