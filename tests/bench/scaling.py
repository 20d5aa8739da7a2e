"""purge_scaling: the erasure of ten accounts among a hundred thousand, beside that of ten among a thousand."""

from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID

from cloudpriv.bootstrap import Services
from cloudpriv.platform.actor import OPERATOR
from cloudpriv.retention import purge, runs
from tests.bench import crowd
from tests.bench.accounts import fill, make_site
from tests.bench.measure import ROUNDS, Figure, beside, seconds
from tests.bench.stage import Stage
from tests.factories import transaction
from tests.purges import LONG_AGO, terms

FEW, MANY = 1000, 100_000
AT_ONCE, RECORDS = 10, 1000
AGAIN: Final = range(ROUNDS + 1)


def measure(stage: Stage) -> Iterator[Figure]:
    """Accounts a second, from their plan to their entry in the ledger, by one worker without a queue."""
    with crowd.database(stage, "bench_many") as among_many, crowd.database(stage, "bench_few") as among_few:
        many, few = _prepare(among_many, stage.sized(MANY)), _prepare(among_few, FEW)
        yield beside(
            "purge_scaling",
            "accounts/s",
            lambda turn: AT_ONCE / seconds(lambda: _erase(among_many, many[turn])),
            lambda turn: AT_ONCE / seconds(lambda: _erase(among_few, few[turn])),
        )


def _prepare(owner: Services, others: int) -> list[list[UUID]]:
    """So many others with something everywhere, and for each round ten due accounts, whose owners were told."""
    now, engine = owner.clock(), owner.controller.engine
    crowd.fill(engine, others, now, whole=True)
    rounds = [[_make_due(owner) for _ in range(AT_ONCE)] for _ in AGAIN]
    crowd.tell(engine, owner.policy, [each for one in rounds for each in one], now)
    crowd.settle(engine)
    return rounds


def _make_due(owner: Services) -> UUID:
    site = make_site(owner, devices=5, people=2, created_at=LONG_AGO)
    fill(owner, site, RECORDS, LONG_AGO)
    return site.account_id


def _erase(owner: Services, account_ids: Sequence[UUID]) -> None:
    now = owner.clock()
    with transaction(owner, OPERATOR, now) as tx:
        purges = [runs.plan_account(tx, terms(owner, now), account_id).purge_id for account_id in account_ids]
    for purge_id in purges:
        purge.run(owner.controller, owner.stores, owner.policy, purge_id, owner.clock)
    with transaction(owner, OPERATOR, now) as tx:
        if {purge.read_purge(tx, purge_id).status for purge_id in purges} != {"done"}:
            raise RuntimeError("not all accounts were erased")
