"""purge_vs_sql: the erasure of many accounts beside the plain DELETE statements on as many."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text

from cloudpriv.metadata import CONTROLLER
from cloudpriv.platform.classify import erased_tables
from cloudpriv.retention import runs
from tests.bench.accounts import fill, make_site, settle
from tests.bench.measure import ROUNDS, Figure, beside, seconds
from tests.bench.stage import Process, Stage, await_true, worker
from tests.factories import transaction
from tests.purges import clear_the_way, terms

ACCOUNTS, RECORDS = 100, 10_000  # only the accounts are scaled: an erasure works in batches of so many rows
LONG_AGO: Final = datetime.fromisoformat("2018-08-01T00:00:00Z")
STATEMENTS: Final = tuple(
    f"DELETE FROM {table.name} WHERE account_id = :id"  # noqa: S608  our own tables' names
    for table in erased_tables(CONTROLLER)
)


def measure(stage: Stage) -> Iterator[Figure]:
    """Accounts a second, from the plan to the last entry in the ledger, and one commit an account without any of that."""
    each = stage.sized(ACCOUNTS) // ROUNDS or 1
    ours, plain = ([_make_due(stage, each, turn) for turn in range(ROUNDS + 1)] for _ in range(2))
    settle(stage)
    with worker(stage) as child:
        yield beside(
            "purge_vs_sql",
            "accounts/s",
            lambda turn: len(ours[turn]) / seconds(lambda: _purge(stage, child, ours[turn])),
            lambda turn: len(plain[turn]) / seconds(lambda: _delete(stage, plain[turn])),
        )


def _make_due(stage: Stage, number: int, turn: int) -> list[UUID]:
    """Accounts with traffic of 2018 alone; for the round that does not count, one is enough."""
    sites = [make_site(stage.owner, devices=5, people=2, created_at=LONG_AGO) for _ in range(number if turn else 1)]
    for site in sites:
        fill(stage.owner, site, RECORDS, LONG_AGO)
    return [site.account_id for site in sites]


def _purge(stage: Stage, child: Process, account_ids: Sequence[UUID]) -> None:
    now = stage.owner.clock()
    clear_the_way(stage.owner, stage.owner.controller.engine, now)
    with transaction(stage.owner, now=now) as tx:
        planned = [runs.plan_account(tx, terms(stage.owner, now), account_id).purge_id for account_id in account_ids]
    if len(planned) != len(account_ids):
        raise RuntimeError("not all accounts are due")
    await_true(lambda: _done(stage, planned), child)


def _done(stage: Stage, purge_ids: Sequence[UUID]) -> bool:
    query = text("SELECT count(*) FROM purges WHERE purge_id = ANY (:ids) AND status = 'done'")
    with stage.owner.controller.engine.connect() as connection:
        return bool(connection.execute(query, {"ids": list(purge_ids)}).scalar_one() == len(purge_ids))


def _delete(stage: Stage, account_ids: Sequence[UUID]) -> None:
    for account_id in account_ids:
        with stage.owner.controller.engine.begin() as connection:
            for statement in STATEMENTS:
                connection.execute(text(statement), {"id": account_id})
