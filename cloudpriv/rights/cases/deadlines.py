"""Deadlines of requests: what is overdue, nearly due, or stuck, so that no answer is ever forgotten.

A request is open until it is completed, refused or withdrawn, whoever works on it or nobody. It is overdue once its due day
is over, and nearly due in the seven days before. What is being purged with its account is not counted: its answer is the
certificate of the purge.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVarTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import aliased

from cloudpriv.controller.tables import Account
from cloudpriv.platform.db import Tx
from cloudpriv.rights import restriction_notice
from cloudpriv.rights.cases import states
from cloudpriv.rights.cases.exports import EXPORTED, counting
from cloudpriv.rights.cases.grounds import TYPES
from cloudpriv.rights.tables import Export, SubjectRequest

NEAR: Final = timedelta(days=7)
Columns = TypeVarTuple("Columns")


@dataclass(frozen=True)
class Figures:
    """How many requests are open, by type and status (every pair, 0 included), overdue, nearly due, and stuck with an
    export that failed; and how many restrictions go on as nobody was told that they end."""

    open: Mapping[tuple[str, str], int]
    overdue: int
    nearly_due: int
    stuck: int
    untold: int


@dataclass(frozen=True)
class Pressing:
    """The requests that staff has to look at, by id, most urgent first; `failed` ones wait for an export that failed.

    `untold` are restrictions that go on, since whoever obtained them was not told by mail that they end: by the ids of
    account and person.
    """

    overdue: list[UUID]
    nearly_due: list[UUID]
    failed: list[UUID]
    untold: list[tuple[UUID, UUID | None]]

    def any(self) -> bool:
        """Whether there is one."""
        return bool(self.overdue or self.nearly_due or self.failed or self.untold)


def open_now() -> tuple[ColumnElement[bool], ...]:
    """What a request, joined with its account, must be to wait for an answer."""
    return SubjectRequest.completed_at.is_(None), Account.status != "purging"


def overdue(now: datetime) -> ColumnElement[bool]:
    """That the last day to answer, in UTC, is over."""
    return SubjectRequest.due_on < now.date()


def nearly_due(now: datetime) -> ColumnElement[bool]:
    """That the last day to answer is today or in the next seven days."""
    return SubjectRequest.due_on.between(now.date(), (now + NEAR).date())


def waits_for_failed_export() -> ColumnElement[bool]:
    """That the answer is an archive, and the last attempt at one was given up: nothing goes on by itself."""
    made = aliased(Export)
    theirs = made.account_id == SubjectRequest.account_id, made.request_id == SubjectRequest.request_id
    last = select(made.status).where(*theirs).order_by(*counting(made)).limit(1).scalar_subquery()
    return (SubjectRequest.type.in_(EXPORTED)) & (SubjectRequest.status == "in_progress") & (last == "failed")


def read(tx: Tx) -> Figures:
    """The figures now, of all services. Their cost follows what is open."""
    by_kind = select(SubjectRequest.type, SubjectRequest.status, func.count()).group_by(
        SubjectRequest.type, SubjectRequest.status
    )
    counts: dict[tuple[str, str], int] = {
        (type_, status): number for type_, status, number in tx.session.execute(_of_open(by_kind))
    }
    pairs: dict[tuple[str, str], int] = {(type_, status): 0 for type_ in TYPES for status in states.OPEN}
    number = select(func.count()).select_from(SubjectRequest)
    return Figures(
        open=pairs | counts,
        overdue=tx.session.scalars(_of_open(number).where(overdue(tx.now))).one(),
        nearly_due=tx.session.scalars(_of_open(number).where(nearly_due(tx.now))).one(),
        stuck=tx.session.scalars(_of_open(number).where(waits_for_failed_export())).one(),
        untold=len(restriction_notice.not_told(tx)),
    )


def pressing(tx: Tx) -> Pressing:
    """What has to be looked at now, of all services."""

    def ids(condition: ColumnElement[bool]) -> list[UUID]:
        query = _of_open(select(SubjectRequest.request_id)).where(condition)
        return list(tx.session.scalars(query.order_by(SubjectRequest.due_on, SubjectRequest.request_id)))

    untold = restriction_notice.not_told(tx)
    return Pressing(ids(overdue(tx.now)), ids(nearly_due(tx.now)), ids(waits_for_failed_export()), untold)


def _of_open(query: Select[*Columns]) -> Select[*Columns]:
    return query.join(Account, Account.account_id == SubjectRequest.account_id).where(*open_now())
