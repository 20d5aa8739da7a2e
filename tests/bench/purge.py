"""purge_vs_sql: the erasure of many accounts beside the plain DELETE statements on as many."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Final
from uuid import UUID

from sqlalchemy import text

from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.classify import erased_tables
from cloudpriv.platform.jobs import queue
from cloudpriv.retention import runs
from tests.bench import crowd
from tests.bench.accounts import fill, make_site
from tests.bench.measure import ROUNDS, Figure, beside, seconds
from tests.bench.stage import Process, Stage, await_true, worker
from tests.factories import transaction
from tests.purges import LONG_AGO, terms

ACCOUNTS, RECORDS = 100, 10_000  # only the accounts are scaled: an erasure works in batches of so many rows
STATEMENTS: Final = tuple(
    f"DELETE FROM {table.name} WHERE account_id = :id"  # noqa: S608  our own tables' names
    for table in erased_tables(CONTROLLER)
)


def measure(stage: Stage) -> Iterator[Figure]:
    """Accounts a second, from the plan to the last entry in the ledger, and one commit an account without any of that."""
    each = stage.sized(ACCOUNTS) // ROUNDS or 1
    ours, plain = ([_make_due(stage, each, turn) for turn in range(ROUNDS + 1)] for _ in range(2))
    crowd.tell(stage.owner.controller.engine, stage.owner.policy, chain.from_iterable(ours), stage.owner.clock())
    crowd.settle(stage.owner.controller.engine)
    with worker(stage) as child:
        yield beside(
            "purge_vs_sql",
            "accounts/s",
            lambda turn: len(ours[turn]) / _purge(stage, child, ours[turn]),
            lambda turn: len(plain[turn]) / seconds(lambda: _delete(stage, plain[turn])),
        )


def _make_due(stage: Stage, number: int, turn: int) -> list[UUID]:
    """Accounts with traffic of 2018 alone; for the round that does not count, one is enough."""
    sites = [make_site(stage.owner, devices=5, people=2, created_at=LONG_AGO) for _ in range(number if turn else 1)]
    for site in sites:
        fill(stage.owner, site, RECORDS, LONG_AGO)
    return [site.account_id for site in sites]


def _purge(stage: Stage, child: Process, account_ids: Sequence[UUID]) -> float:
    """Seconds for these accounts."""
    took = seconds(lambda: await_true(partial(_done, stage, _plan(stage, account_ids)), child))
    await_true(lambda: queue(stage.owner.redis).is_empty(), child)  # jobs that find nothing to do would slow the baseline
    return took


def _plan(stage: Stage, account_ids: Sequence[UUID]) -> list[UUID]:
    """What the schedule does once a day, for as many as are meant: those that were made first come first."""
    now = stage.owner.clock()
    with transaction(stage.owner, WORKER, now) as tx:
        # The guards count the accounts of former rounds too, which are more than are left.
        runs.plan_due(tx, terms(stage.owner, now, share=ROUNDS), limit=len(account_ids))
        planned = [runs.open_purge(tx, account_id) for account_id in account_ids]
    found = [purge.purge_id for purge in planned if purge is not None and purge.status == "planned"]
    if len(found) != len(account_ids):
        raise RuntimeError("not all accounts are due")
    return found


def _done(stage: Stage, purge_ids: Sequence[UUID]) -> bool:
    query = text("SELECT count(*) FROM purges WHERE purge_id = ANY (:ids) AND status = 'done'")
    with stage.owner.controller.engine.connect() as connection:
        return bool(connection.execute(query, {"ids": list(purge_ids)}).scalar_one() == len(purge_ids))


def _delete(stage: Stage, account_ids: Sequence[UUID]) -> None:
    for account_id in account_ids:
        with stage.owner.controller.engine.begin() as connection:
            for statement in STATEMENTS:
                connection.execute(text(statement), {"id": account_id})
