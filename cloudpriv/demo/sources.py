"""The recording as a backend would send it, source by source, and what its traffic adds up to."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from cloudpriv.client import openvpn, radius
from cloudpriv.client.events import MalformedEvent
from cloudpriv.client.rows import Record, Rejection, Row, malformed
from cloudpriv.demo import recording
from cloudpriv.platform.actor import Service

# Of each account by its name: sessions, bytes from devices, bytes to devices.
Totals: TypeAlias = dict[str, tuple[int, int, int]]
Convert: TypeAlias = Callable[[Any], Record | None]
VERSIONS: Final[tuple[openvpn.StatusVersion, ...]] = (1, 2, 3)


@dataclass(frozen=True)
class Source:
    """Where traffic is told from, whose it is, and its rows, made anew by each call."""

    name: str
    service: Service
    rows: Callable[[], Iterator[Row]]


def recorded(names: Mapping[str, str]) -> list[Source]:
    """Every source of the recording; `names` are the accounts' names by those that the recording knows."""
    scripts = Source("OpenVPN scripts", "intesis", partial(_rows, _script_record, recording.openvpn_events, names))
    accounting = Source("RADIUS accounting", "talk2m", partial(_rows, _accounting_record, recording.radius_requests, names))
    return [accounting, scripts, *(_status_source(version, names) for version in VERSIONS)]


def totals(rows: Iterable[Row]) -> Totals:
    """What the database must hold of those rows that name an account: each session once, with its highest counters."""
    sessions: dict[tuple[str, str], tuple[int, int]] = {}
    for row in rows:
        if not isinstance(row, Rejection) and "account" in row:
            key = str(row["account"]), str(row["session"])
            sent, received = sessions.get(key, (0, 0))
            sessions[key] = max(sent, _count(row, "bytes_from_device")), max(received, _count(row, "bytes_to_device"))
    found: Totals = {}
    for (account, _), (sent, received) in sessions.items():
        number, all_sent, all_received = found.get(account, (0, 0, 0))
        found[account] = number + 1, all_sent + sent, all_received + received
    return found


def _status_source(version: openvpn.StatusVersion, names: Mapping[str, str]) -> Source:
    def records() -> Iterator[Record]:
        return openvpn.status_records(recording.openvpn_status(version), version)

    name = f"OpenVPN status file, version {version}" + (", which names no account" if version == 1 else "")
    return Source(name, "intesis", partial(_rows, dict, records, names))


def _rows(convert: Convert, events: Callable[[], Iterator[Any]], names: Mapping[str, str]) -> Iterator[Row]:
    for event in events():
        try:
            record = convert(event)
        except MalformedEvent as fault:
            yield malformed(str(fault))
            continue
        if record is not None:
            yield record | {"account": names[str(record["account"])]} if "account" in record else record


def _accounting_record(request: Mapping[str, Any]) -> Record | None:
    return radius.record(request["body"])


def _script_record(event: Mapping[str, str]) -> Record:
    return openvpn.connect_record(event) if event["script_type"] == "client-connect" else openvpn.disconnect_record(event)


def _count(row: Record, counter: str) -> int:
    return int(str(row.get(counter, 0)))
