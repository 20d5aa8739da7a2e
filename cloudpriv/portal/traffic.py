"""/portal/traffic: the sessions of an account's devices, or of one person, with their volume by month."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID

from flask import Blueprint, Response, request
from flask_babel import gettext as _

from cloudpriv.api.traffic import before, position_of
from cloudpriv.controller import devices, names, traffic_reports
from cloudpriv.controller.sessions import Session
from cloudpriv.controller.tables import TrafficSession
from cloudpriv.controller.traffic_reports import MonthlyTotal, Span
from cloudpriv.platform.db import Tx
from cloudpriv.portal import charts, guard, lists, pages

blueprint: Final = Blueprint("own_traffic", __name__, url_prefix="/portal/traffic")
MONTHS: Final = 12  # of the chart, unless other days are asked for
MOST_DEVICES: Final = 500  # to choose from
DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Asked:
    """What was asked for, as it was typed and as it is meant; `errors` by the fields' names."""

    typed: dict[str, str]
    span: Span
    errors: dict[str, str]

    @property
    def narrow(self) -> bool:
        """Whether anything was asked for."""
        return any(self.typed.values())


@dataclass(frozen=True)
class Line:
    """A session of a device, and what its device and its person are called."""

    row: TrafficSession
    device: str
    person: str

    @property
    def seconds(self) -> float | None:
        """How long it lasted; None while it does."""
        return None if self.row.ended_at is None else (self.row.ended_at - self.row.started_at).total_seconds()


@blueprint.get("")
@guard.page()
def show(tx: Tx) -> Response:
    """Sessions, latest first, fifty a page; the first page has the chart, too. Members see their own."""
    session, _account, _person = guard.signed_in()
    asked = _asked(session)
    if asked.errors:
        return pages.render("traffic.html", status=422, asked=asked, devices=_choices(tx, session, asked, ()), lines=[],
                            months=[], chart=None, following=None, start=None)  # fmt: skip
    position = before(lists.begin())
    rows = traffic_reports.list_sessions(tx, session.account_id, asked.span, before=position, limit=lists.LIMIT)
    shown, following = lists.split(rows, position_of)
    months = [] if position else _months(tx, session, asked.span)
    return pages.render(
        "traffic.html",
        asked=asked,
        devices=_choices(tx, session, asked, [*_devices_of(months), *(row.device_id for row in shown)]),
        lines=_lines(tx, session, shown),
        months=months,
        chart=charts.stacked([(month.bytes_from_device, month.bytes_to_device) for month in months]),
        following=following,
        start=lists.start(),
    )


def _asked(session: Session) -> Asked:
    typed = {name: request.args.get(name, "").strip() for name in ("device", "from", "to")}
    errors: dict[str, str] = {}
    since, until = _day(typed["from"], "from", errors), _day(typed["to"], "to", errors)
    if since and until and until < since:
        errors["to"] = _("The last day lies before the first.")
    span = Span(
        since=since,
        until=None if until is None else until + DAY,
        device_id=_device(typed["device"], errors),
        person_id=None if session.role == "owner" else session.person_id,
    )
    return Asked(typed, span, errors)


def _day(typed: str, name: str, errors: dict[str, str]) -> datetime | None:
    """The beginning of a day (UTC) of the form YYYY-MM-DD; what is none is an error."""
    if not typed:
        return None
    try:
        day = date.fromisoformat(typed)
        if not 1970 <= day.year < 9999:
            raise ValueError
    except ValueError:
        errors[name] = _("Write a day as year-month-day, such as 2026-01-31.")
        return None
    return datetime.combine(day, time(), UTC)


def _device(typed: str, errors: dict[str, str]) -> UUID | None:
    try:
        return UUID(typed) if typed else None
    except ValueError:
        errors["device"] = _("Choose a device from the list.")
        return None


def _months(tx: Tx, session: Session, span: Span) -> list[MonthlyTotal]:
    """Totals of each month, earliest first, also of those without traffic: of the days asked for, else of the last year."""
    since = span.since or _months_before(span.until or tx.now, MONTHS - 1)
    narrowed = Span(since, span.until, span.device_id, span.person_id)
    found = {month.month: month for month in traffic_reports.summarise(tx, session.account_id, narrowed)}
    if not found:
        return []
    every, at = [], date.fromisoformat(f"{min(found)}-01")
    while (name := f"{at:%Y-%m}") <= max(found):
        every.append(found.get(name) or MonthlyTotal(name, 0, 0, 0, []))
        at = (at + 31 * DAY).replace(day=1)
    return every


def _months_before(moment: datetime, months: int) -> datetime:
    """The beginning of the month so many months before."""
    index = moment.year * 12 + moment.month - 1 - months
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)


def _devices_of(months: Sequence[MonthlyTotal]) -> Iterator[UUID]:
    return (device.device_id for month in months for device in month.devices)


def _choices(tx: Tx, session: Session, asked: Asked, used: Iterable[UUID]) -> list[tuple[str, str]]:
    """Devices to choose from, by name: for owners the account's and the one chosen, for members those used."""
    named: dict[UUID, str] = {}
    wanted = set(used)
    if session.role == "owner":
        known = devices.list_devices(tx, session.account_id, after=None, limit=MOST_DEVICES)[:MOST_DEVICES]
        named = {device.row.device_id: names.called(device.identity) for device in known}
        wanted = {asked.span.device_id} - named.keys() if asked.span.device_id else set()
    named |= names.name_devices(tx, session.account_id, wanted)
    return sorted(((str(device_id), name) for device_id, name in named.items()), key=lambda choice: choice[1].casefold())


def _lines(tx: Tx, session: Session, rows: Sequence[TrafficSession]) -> list[Line]:
    called = names.name_devices(tx, session.account_id, {row.device_id for row in rows})
    others = {row.person_id for row in rows if row.person_id is not None} - {session.person_id}
    people: dict[Any, str] = {**names.name_people(tx, session.account_id, others), session.person_id: _("You")}
    return [Line(row, called[row.device_id], people.get(row.person_id, "")) for row in rows]
