"""The readable page of an archive: self-contained HTML in the person's language, escaped, streamed, without scripts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import islice
from typing import Any, Final
from uuid import UUID

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from sqlalchemy import select

from cloudpriv.controller import accounts, people
from cloudpriv.controller.tables import DEVICE_IDENTITY, Device
from cloudpriv.mail_templates import written_day
from cloudpriv.platform.db import Tx
from cloudpriv.rights.archive import charts, records, words
from cloudpriv.rights.archive import texts as archive_texts
from cloudpriv.rights.archive.charts import Bar, Chart
from cloudpriv.rights.archive.scope import Scope
from cloudpriv.rights.archive.traffic import Totals

PIECES_AT_ONCE: Final = 200  # of the template's output, which comes in very small pieces
MOST_ROWS: Final = 500  # of a table; more are better read in its file
MOST_MONTHS: Final = 120  # of the plot: ten years


@dataclass(frozen=True)
class Told:
    """What the page tells beside the data itself: in which language, of which archive, of which processing."""

    language: str
    about: Mapping[str, Any]
    information: Mapping[str, Any]
    information_language: str
    members: Sequence[Mapping[str, Any]]
    totals: Totals


def render(tx: Tx, scope: Scope, told: Told) -> Iterator[bytes]:
    """The page in UTF-8, in constant memory: what is in the archive, the data but for long tables, plots of the traffic, and
    the information of Article 15."""
    stream = (
        _environment(told.language)
        .get_template("index.html")
        .stream(
            told=told,
            language=told.language,
            scope="account" if scope.person_id is None else "person",
            about=words.worded(told.language, "manifest", told.about),
            sections=_sections(tx, scope, told.language),
            most_rows=MOST_ROWS,
            months=sorted(told.totals.months.items()),
            months_plot=_months(told),
            devices_plot=_devices(tx, scope, told),
            restricted=accounts.is_restricted(scope.account.row) or people.are_kept_by_restriction(tx, scope.account_id),
            due_on=date.fromisoformat(told.information["erasure_due_on"]),
        )
    )
    stream.enable_buffering(PIECES_AT_ONCE)
    return (piece.encode() for piece in stream)


def _sections(tx: Tx, scope: Scope, language: str) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    for table in records.tables(scope):
        name: str = table.info["member"]
        if name.endswith(".json"):
            wording = partial(words.worded, language, name.partition(".")[0])
            yield name, map(wording, islice(records.rows(tx, scope, table), MOST_ROWS))


def _months(told: Told) -> Markup:
    language, months = told.language, told.totals.months
    if not months:
        return Markup()
    every = list(_through(min(months), max(months)))
    volumes = [(month, months[month].bytes if month in months else 0) for month in every[-MOST_MONTHS:]]
    bars = [Bar(words.month(language, month), volume, archive_texts.size(volume, language)) for month, volume in volumes]
    text = archive_texts.text("months_text", language).format(number=len(every))
    if len(every) > MOST_MONTHS:
        text += " " + archive_texts.text("recent_months", language).format(shown=MOST_MONTHS)
    return charts.columns(Chart("months", archive_texts.text("months_title", language), text), bars)


def _through(first: str, last: str) -> Iterator[str]:
    """Every month from one to another, those without traffic too."""
    begin, end = (int(each[:-3]) * 12 + int(each[-2:]) - 1 for each in (first, last))
    return (f"{month // 12:04}-{month % 12 + 1:02}" for month in range(begin, end + 1))


def _devices(tx: Tx, scope: Scope, told: Told) -> Markup:
    language, largest = told.language, told.totals.largest
    if not largest:
        return Markup()
    names = _names(tx, scope, [UUID(device_id) for device_id, _ in largest])
    bars = [
        Bar(names.get(device_id, device_id), volume.bytes, archive_texts.size(volume.bytes, language))
        for device_id, volume in largest
    ]
    text = archive_texts.text("devices_text", language).format(shown=len(bars), number=told.totals.devices)
    return charts.rows(Chart("devices", archive_texts.text("devices_title", language), text), bars)


def _names(tx: Tx, scope: Scope, device_ids: Sequence[UUID]) -> dict[str, str]:
    """What the customer calls its devices. In one person's archive they are known by their ids: names are the account's."""
    if scope.person_id is not None:
        return {}
    query = select(Device.device_id, Device.identity).where(
        Device.account_id == scope.account_id, Device.device_id.in_(device_ids)
    )
    opened = {found: scope.account.key.open(found, DEVICE_IDENTITY, sealed) for found, sealed in tx.session.execute(query)}
    return {str(found): identity.get("name") or identity["serial"] for found, identity in opened.items()}


def _environment(language: str) -> Environment:
    made = Environment(
        loader=PackageLoader("cloudpriv.rights.archive"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["_"] = partial(_text, language)
    made.filters["label"] = partial(_label, language)
    made.filters["number"] = partial(_number, language)
    made.filters["month"] = partial(words.month, language)
    made.filters["day"] = lambda day: written_day(day, language)
    made.tests["document"] = lambda value: isinstance(value, Mapping)
    made.tests["several"] = lambda value: isinstance(value, list)
    return made


def _text(language: str, name: str, **values: Any) -> str:
    return archive_texts.text(name, language).format(**values)


def _label(language: str, name: str) -> str:
    return archive_texts.label(name, language)


def _number(language: str, value: int) -> str:
    return archive_texts.number(value, language)
