"""The readable page of an archive: self-contained HTML, escaped, streamed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy import Row, func, select

from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.tables import TrafficSession
from cloudpriv.platform.classify import exported_tables
from cloudpriv.platform.db import ControllerBase, Tx
from cloudpriv.rights import records

PIECES_AT_ONCE: Final = 200  # of the template's output, which comes in very small pieces


def render(tx: Tx, account: OpenedAccount, about: Mapping[str, Any], information: Mapping[str, Mapping[str, Any]],
           members: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:  # fmt: skip
    """The page in UTF-8, in constant memory: what is in the archive, the data but for long tables, traffic by month, and the
    information of Article 15 in every language of the policy."""
    stream = (
        _environment()
        .get_template("index.html")
        .stream(
            about=about,
            information=information,
            members=members,
            sections=_sections(tx, account),
            traffic=_traffic_by_month(tx, account),
        )
    )
    stream.enable_buffering(PIECES_AT_ONCE)
    return (piece.encode() for piece in stream)


def _sections(tx: Tx, account: OpenedAccount) -> Iterator[tuple[str, Iterable[dict[str, Any]]]]:
    for table in exported_tables(ControllerBase.metadata):
        title, _, kind = table.info["member"].partition(".")
        if kind == "json":
            yield title, records.rows(tx, account.key, table, account.row.account_id)


def _traffic_by_month(tx: Tx, account: OpenedAccount) -> Sequence[Row[Any]]:
    month = func.date_trunc("month", TrafficSession.started_at)
    query = select(
        month.label("month"),
        func.count().label("sessions"),
        func.sum(TrafficSession.bytes_from_device).label("bytes_from_device"),
        func.sum(TrafficSession.bytes_to_device).label("bytes_to_device"),
    )
    query = query.where(TrafficSession.account_id == account.row.account_id).group_by(month).order_by(month)
    return tx.session.execute(query).all()


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("cloudpriv.rights"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["words"] = lambda name: str(name).replace("_", " ")
    made.filters["moment"] = _moment
    made.tests["document"] = lambda value: isinstance(value, Mapping)
    made.tests["several"] = lambda value: isinstance(value, list)
    return made


def _moment(value: Any) -> Any:
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, datetime) else value
