"""Every operation of the processor plane that reads or changes log data leaves an event that its customer sees (law 7)."""

from uuid import UUID

import pytest
from sqlalchemy import func, select

from cloudpriv.processor.tables import LogEvent
from tests.api.test_authorization_matrix import OPERATIONS, Operation, World, numbers, world
from tests.authorization import NEEDS, OPEN, RIGHTS
from tests.logdata import log_transaction

__all__ = ["world"]  # a fixture, used by its name
ACTORS = ("reader token", "device token", "owner session", "staff")
# These change nothing here: the matrix sends an ETag that is none, and the request was carried out before.
NOTHING_DONE = {"withdraw_instruction": 412, "set_retention": 412, "cancel_subject_request": 400}
USES = [operation for operation in OPERATIONS if operation.plane == "processor" and NEEDS[operation.name] != OPEN]


def told(world: World, account_id: str) -> int:
    """How many events about the account there are."""
    with log_transaction(world.processor) as tx:
        query = select(func.count()).select_from(LogEvent).where(LogEvent.account_id == UUID(account_id))
        return tx.session.scalars(query).one()


@pytest.mark.parametrize("operation", USES, ids=lambda operation: operation.name)
def test_every_use_of_log_data_is_told_to_the_customer(world: World, operation: Operation) -> None:
    ids = {**world.ids["own"], "number": str(next(numbers))}
    actor = next(actor for actor in ACTORS if actor in RIGHTS[NEEDS[operation.name]])
    before = told(world, ids["account_id"])
    answer = operation.answers(world.apps["processor"], ids, world.token_of(actor, operation))
    if operation.name in NOTHING_DONE:
        assert answer.status_code == NOTHING_DONE[operation.name], answer.text
    else:
        assert answer.status_code in operation.succeeds, answer.text
        assert told(world, ids["account_id"]) > before
