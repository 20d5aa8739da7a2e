"""OpenVPN's script environments and status files as records for `POST /v1/traffic`.

Pure conversion, formats of OpenVPN 2.3 to 2.7. A session has no id of its own in OpenVPN, so it is named by
common name, time of connection and remote address: connect script, status file and disconnect script of one
session give the same `session` and merge. Counters are those of the outer tunnel packets, in bytes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal, NamedTuple

from cloudpriv.client.events import MalformedEvent, is_unicode, number, rfc3339, unix_time

__all__ = ["MalformedEvent", "StatusVersion", "connect_record", "disconnect_record", "status_records"]

StatusVersion = Literal[1, 2, 3]

# OpenVPN writes this word for a name that it does not know (yet).
_UNKNOWN = "UNDEF"
# 2.7 puts the listener's protocol in front of the real address ("udp4:", "tcp6-server:"), IPv6 in brackets.
_REAL_ADDRESS = re.compile(
    r"(?:(?:udp|tcp)[46]?(?:-server)?:)?"
    r"(?:(?P<v4>[0-9.]+)(?::(?P<port>[0-9]{1,5}))?|\[(?P<bracketed>[0-9a-f:.]+)\](?::[0-9]{1,5})?|(?P<v6>[0-9a-f:.]+))",
    re.ASCII,
)
# Since 2.5, and before it.
_TEXT_TIMES = ("%Y-%m-%d %H:%M:%S", "%a %b %d %H:%M:%S %Y")


def connect_record(env: Mapping[str, str]) -> dict[str, object]:
    """The record of a `client-connect` environment: who, from where, since when; no counters yet.

    `account` is the realm of `username` (`user@account`), absent where there is none.
    Raises MalformedEvent when common name, `time_unix` or the address is missing or unreadable.
    """
    start = unix_time(_required(env, "time_unix"), "time_unix")
    address = _address(env.get("trusted_ip") or _required(env, "trusted_ip6"))
    record = _session(_required(env, "common_name"), start, address, env.get("trusted_port"))
    protocol = env.get("proto_1", "")[:3]
    if protocol in {"udp", "tcp"}:
        record["protocol"] = protocol
    return record | _person(env.get("username", ""))


def disconnect_record(env: Mapping[str, str]) -> dict[str, object]:
    """The record of a `client-disconnect` environment: `connect_record` with both counters and the end.

    The end is `time_unix` (the time of connection, in this script too) plus `time_duration`.
    """
    start = unix_time(_required(env, "time_unix"), "time_unix")
    duration = timedelta(seconds=number(_required(env, "time_duration"), "time_duration", bits=32))
    return connect_record(env) | {
        "ended_at": rfc3339(_sum(start, duration)),
        "bytes_from_device": number(_required(env, "bytes_received"), "bytes_received"),
        "bytes_to_device": number(_required(env, "bytes_sent"), "bytes_sent"),
    }


def status_records(text_lines: Iterable[str], version: StatusVersion) -> Iterator[dict[str, object]]:
    """One record for each client row of a status file of `status-version` 1, 2 or 3.

    `ended_at` is the time of the file: the session lives up to then at least, and later updates only move it
    on. `next()` raises MalformedEvent for a row that cannot be converted (such as a client still in its
    handshake) and may be called again: the iterator goes on with the row after it.

    Version 1 holds times as text in the server's own time zone, which the file does not name; they are read
    as UTC. Sessions of a server in another zone are shifted and do not merge with those of its scripts.
    """
    if version not in {1, 2, 3}:
        raise ValueError("an OpenVPN status file has version 1, 2 or 3")
    rows = _rows_v1(text_lines) if version == 1 else _rows(text_lines, "," if version == 2 else "\t")
    # map and not a generator: it stays usable after the conversion of one row has raised.
    return map(_status_record, rows)


class _Row(NamedTuple):
    """A client row with what stands above it in the file: its column names and the file's own time."""

    columns: list[str]
    cells: list[str]
    written: str


def _rows(lines: Iterable[str], separator: str) -> Iterator[_Row]:
    columns: list[str] = []
    written = ""
    for line in lines:
        kind, *cells = line.rstrip("\r\n").split(separator)
        if kind == "TIME":
            written = cells[-1] if cells else ""
        elif kind == "HEADER" and cells[:1] == ["CLIENT_LIST"]:
            columns = cells[1:]
        elif kind == "CLIENT_LIST":
            yield _Row(columns, cells, written)


def _rows_v1(lines: Iterable[str]) -> Iterator[_Row]:
    columns: list[str] = []
    written = ""
    for line in lines:
        cells = line.rstrip("\r\n").split(",")
        if cells[0] == "ROUTING TABLE":
            return
        if cells[0] == "Updated" and not columns:
            written = cells[-1]
        elif cells[0] == "Common Name" and not columns:
            columns = cells
        elif columns:
            yield _Row(columns, cells, written)


def _status_record(row: _Row) -> dict[str, object]:
    if len(row.cells) != len(row.columns):
        # Version 2 does not quote: a comma in a name cannot be told from a separator.
        raise MalformedEvent(f"the row has {len(row.cells)} fields where its header names {len(row.columns)}")
    client = dict(zip(row.columns, row.cells, strict=True))
    found = _REAL_ADDRESS.fullmatch(_required(client, "Real Address"))
    if found is None:
        raise MalformedEvent("the Real Address is not an IP address")
    start = _status_time(client.get("Connected Since (time_t)") or _required(client, "Connected Since"))
    address = _address(found["v4"] or found["bracketed"] or found["v6"])
    return _session(_required(client, "Common Name"), start, address, found["port"]) | {
        "ended_at": rfc3339(max(start, _status_time(row.written))),
        "bytes_from_device": number(_required(client, "Bytes Received"), "Bytes Received"),
        "bytes_to_device": number(_required(client, "Bytes Sent"), "Bytes Sent"),
        **_person(client.get("Username", "")),
    }


def _session(name: str, start: datetime, address: IPv4Address | IPv6Address, port: str | None) -> dict[str, object]:
    if name == _UNKNOWN:
        raise MalformedEvent("the client has no common name: its handshake is not finished")
    # Status files before 2.7 leave out the port of an IPv6 address, so it is no part of the name anywhere.
    place = f"{address}:{port}" if port and address.version == 4 else str(address)
    return {
        "device": name,
        "session": f"{name} {int(start.timestamp())} {place}",
        "source": "openvpn",
        "started_at": rfc3339(start),
        "remote_address": str(address),
    }


def _person(username: str) -> dict[str, object]:
    if username in {"", _UNKNOWN} or not is_unicode(username):
        return {}
    user, _, realm = username.rpartition("@")
    return {"username": user, "account": realm} if user and realm else {"username": username}


def _required(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name, "")
    if not value or not is_unicode(value):
        raise MalformedEvent(f"{name} is missing or no UTF-8")
    return value


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        address = ip_address(text)
    except ValueError:
        raise MalformedEvent("the client's address is not an IP address") from None
    return (address.version == 6 and address.ipv4_mapped) or address


def _status_time(text: str) -> datetime:
    if text.isdigit():
        return unix_time(text, "the time of the status file")
    for form in _TEXT_TIMES:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise MalformedEvent("a time of the status file is missing or unreadable")


def _sum(start: datetime, duration: timedelta) -> datetime:
    try:
        return start + duration
    except OverflowError:
        raise MalformedEvent("the session ends beyond the year 9999") from None
