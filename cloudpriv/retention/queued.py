"""What of an account waits in the queue: the jobs on its exports and mails."""

from typing import Final
from uuid import UUID

from cloudpriv.platform.db import Tx
from cloudpriv.platform.jobs import SUBJECTS

OF_ACCOUNT: Final = "WHERE account_id = %(account_id)s"
# Made of names of our own tables only; values are parameters.
FIND: Final = " UNION ALL ".join(f"SELECT {column} FROM {table} {OF_ACCOUNT}" for table, column in SUBJECTS.values())  # noqa: S608  ours
# From then on the sweep wakes nobody for them.
END: Final = (
    f"UPDATE exports SET status = 'failed' {OF_ACCOUNT} AND status IN ('pending', 'running')",  # noqa: S608  our own
    f"UPDATE outbox SET status = 'dropped' {OF_ACCOUNT} AND status = 'queued'",  # noqa: S608  as above
)


def subjects(tx: Tx, account_id: UUID) -> list[UUID]:
    """The ids that jobs of the account are on."""
    return list(tx.connection.exec_driver_sql(FIND, {"account_id": account_id}).scalars())


def withdraw(tx: Tx, account_id: UUID) -> list[UUID]:
    """The same, and what they are on is ended."""
    for statement in END:
        tx.connection.exec_driver_sql(statement, {"account_id": account_id})
    return subjects(tx, account_id)
