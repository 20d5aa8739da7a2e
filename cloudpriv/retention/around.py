"""Erasure around legal holds: everything of an account goes but what they keep, in bounded steps that may be repeated."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import CursorResult, Table

from cloudpriv.controller.tables import Account, AccountKey, DirectoryEntry, Person
from cloudpriv.platform.classify import erased_tables
from cloudpriv.platform.db import Tx
from cloudpriv.retention import scope
from cloudpriv.retention.scope import METADATA, Scope
from cloudpriv.retention.tables import Hold

KEYS, DIRECTORY, PEOPLE = (METADATA.tables[each.__tablename__] for each in (AccountKey, DirectoryEntry, Person))
# For each row that may be referred to PostgreSQL looks through all that is kept: a second for so many of a large account.
CHECKED: Final = 20
OF_PERSON: Final = "WHERE r.account_id = %(account_id)s AND r.person_id = %(person_id)s"
LEFT: Final = (
    Account.__tablename__,
    Hold.__tablename__,
)  # to the end: the account's own row, and why anything is still there


@dataclass(frozen=True)
class Around:
    """The erasure of one account in one transaction, around what is kept."""

    tx: Tx
    account_id: UUID
    kept: Scope

    def shred(self) -> dict[str, int]:
        """Delete the name, and the data key unless something sealed is kept; how many rows of which table."""
        if self.kept.everything:
            return {}
        counts = {table.name: self._delete(table, 1) for table in (DIRECTORY, KEYS)}
        return {name: number for name, number in counts.items() if number}

    def erase(self, batch: int) -> tuple[dict[str, int], bool]:
        """Delete and empty up to `batch` rows: how many of which table were deleted, and whether more may be left to do.

        What stays of a table is emptied before what it refers to is looked at.
        """
        budget, counts = 0 if self.kept.everything else batch, {}
        for table in (table for table in erased_tables(METADATA) if budget):
            limit = min(budget, CHECKED) if scope.is_referred_to(table) else budget
            if deleted := self._delete(table, limit):
                counts[table.name] = deleted
            budget = budget - deleted if deleted < limit else 0
            budget -= self._empty(table, budget)
        return counts, not (budget or self.kept.everything)

    def empty_person(self, person_id: UUID) -> None:
        """Erase of a person what nothing keeps, until the rest may go: what goes with the row, and values in it."""
        self.blank_person(person_id)
        if self.kept.everything or person_id in self.kept.people:
            return
        only = OF_PERSON
        for table in scope.going_with(PEOPLE):
            unkept = scope.unkept(table, self.kept)
            self._run(f"DELETE FROM {table.name} r {only} AND {unkept}", person_id=person_id)  # noqa: S608  our own table
        emptied = scope.emptied(PEOPLE, self.kept)
        if emptied is not None:
            self._run(f"UPDATE {PEOPLE.name} r SET {emptied[0]} {only}", person_id=person_id)  # noqa: S608  our own table

    def blank_person(self, person_id: UUID) -> None:
        """Empty what rows that outlive a person have sealed of what the person said, unless it is kept."""
        if self.kept.everything or person_id in self.kept.people:
            return
        for table, columns in scope.said_in(PEOPLE, self.kept):
            settings = ", ".join(f"{name} = NULL" for name in columns)
            self._run(f"UPDATE {table.name} r SET {settings} {OF_PERSON}", person_id=person_id)  # noqa: S608  our own table

    def _delete(self, table: Table, limit: int) -> int:
        return self._change(f"DELETE FROM {table.name} r", table, self._goes(table), limit)  # noqa: S608  our own table

    def _empty(self, table: Table, limit: int) -> int:
        emptied = None if self._goes(table) == scope.ALL else scope.emptied(table, self.kept)
        if emptied is None or not limit:
            return 0
        settings, full = emptied
        return self._change(f"UPDATE {table.name} r SET {settings}", table, full, limit)  # noqa: S608  our own table

    def _goes(self, table: Table) -> str:
        """Which of the table's rows go, as a condition on `r`."""
        if table.name in LEFT or (table is KEYS and self._keeps_sealed()):
            return scope.NOTHING
        return scope.ALL if table in (KEYS, DIRECTORY) else scope.unkept(table, self.kept)

    def _keeps_sealed(self) -> bool:
        return bool(self._run(f"SELECT {scope.sealed_kept(self.kept)}").scalar_one())

    def _change(self, change: str, table: Table, condition: str, limit: int) -> int:
        """Change the rows that meet the condition, `limit` at most; how many there were.

        Unless there are more, no limit is set, so that a row which somebody else changes at this moment is not left out.
        """
        some = f"FROM {table.name} r WHERE account_id = %(account_id)s AND {condition}"
        count = f"SELECT count(*) FROM (SELECT {some} LIMIT {limit + 1}) s"  # noqa: S608  our own table
        number = 0 if condition == scope.NOTHING else self._run(count).scalar_one()
        if number == 0:
            return 0
        where = f"account_id = %(account_id)s AND {condition}"
        if number > limit:
            where = f"ctid = ANY (ARRAY(SELECT ctid {some} LIMIT {limit}))"
        return self._run(f"{change} WHERE {where}").rowcount

    def _run(self, statement: str, **more: UUID) -> CursorResult[*tuple[Any, ...]]:
        """Made of names of our own tables and columns only; values are parameters."""
        values = {"account_id": self.account_id, "people": self.kept.people, **more}
        return self.tx.connection.exec_driver_sql(statement, values)
