"""Traffic metadata read back: session by session, or added up by month and device. Every look is audited."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select, tuple_

from cloudpriv.audit import events
from cloudpriv.controller import accounts, people
from cloudpriv.controller.tables import TrafficSession
from cloudpriv.platform.db import Tx


@dataclass(frozen=True)
class Span:
    """Sessions that started at `since` or later and before `until`, of one device or person or all; None is no bound."""

    since: datetime | None = None
    until: datetime | None = None
    device_id: UUID | None = None
    person_id: UUID | None = None


@dataclass(frozen=True)
class Total:
    """Sessions and bytes of one month (`YYYY-MM`, UTC, by the start of the session) and one device."""

    month: str
    device_id: UUID
    sessions: int
    bytes_from_device: int
    bytes_to_device: int


@dataclass(frozen=True)
class MonthlyTotal:
    """Sessions and bytes of one month, and how they divide between devices."""

    month: str
    sessions: int
    bytes_from_device: int
    bytes_to_device: int
    devices: list[Total]


def list_sessions(
    tx: Tx, account_id: UUID, span: Span, *, before: tuple[datetime, bytes] | None, limit: int
) -> list[TrafficSession]:
    """The account's sessions, latest start first, and one more than `limit` if there is one.

    `before` is start and key of the last session of the page before. Sessions of restricted people are shown to others than
    holders without naming them. Raises NotFoundError, AccountRestrictedError.
    """
    accounts.find_usable(tx, account_id)
    order = tuple_(TrafficSession.started_at, TrafficSession.session_key)
    query = select(TrafficSession).where(*_within(account_id, span))
    if before is not None:
        query = query.where(order < before)
    query = query.order_by(TrafficSession.started_at.desc(), TrafficSession.session_key.desc())
    found = list(tx.session.scalars(query.limit(limit + 1)))
    events.record(tx, "traffic.read", account_id=account_id)
    _unname_restricted(tx, account_id, found)
    return found


def summarise(tx: Tx, account_id: UUID, span: Span) -> list[MonthlyTotal]:
    """The account's sessions and bytes by month, latest first. Raises NotFoundError, AccountRestrictedError."""
    accounts.find_usable(tx, account_id)
    # The sum of bigints is a numeric: it may be larger than any of them.
    totals = [
        Total(f"{month:%Y-%m}", device_id, sessions, int(sent), int(received))
        for month, device_id, sessions, sent, received in tx.connection.execute(_totals(account_id, span))
    ]
    events.record(tx, "traffic.read", account_id=account_id)
    return [_month(month, list(devices)) for month, devices in groupby(totals, lambda total: total.month)]


def _unname_restricted(tx: Tx, account_id: UUID, found: list[TrafficSession]) -> None:
    """Have the rows, which are no part of the unit of work any more, name nobody who is restricted."""
    restricted = set() if accounts.uses_own_rights(tx) else people.restricted_among(tx, account_id)
    for row in found:
        if row.person_id in restricted:
            tx.session.expunge(row)
            row.person_id = None


def _totals(account_id: UUID, span: Span) -> Select[datetime, UUID, int, Decimal, Decimal]:
    session = TrafficSession
    month = func.date_trunc("month", session.started_at, "UTC").label("month")
    sent, received = func.sum(session.bytes_from_device), func.sum(session.bytes_to_device)
    query = select(month, session.device_id, func.count(), sent, received).where(*_within(account_id, span))
    return query.group_by(month, session.device_id).order_by(month.desc(), session.device_id)


def _month(month: str, devices: list[Total]) -> MonthlyTotal:
    return MonthlyTotal(
        month,
        sum(device.sessions for device in devices),
        sum(device.bytes_from_device for device in devices),
        sum(device.bytes_to_device for device in devices),
        devices,
    )


def _within(account_id: UUID, span: Span) -> Iterator[ColumnElement[bool]]:
    yield TrafficSession.account_id == account_id
    if span.since is not None:
        yield TrafficSession.started_at >= span.since
    if span.until is not None:
        yield TrafficSession.started_at < span.until
    if span.device_id is not None:
        yield TrafficSession.device_id == span.device_id
    if span.person_id is not None:
        yield TrafficSession.person_id == span.person_id
