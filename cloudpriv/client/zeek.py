"""Zeek's conn.log as traffic records: tab-separated with `#fields`, or JSON lines.

The uid is the session. Zeek counts from the originator of a connection, which is the device only when the
device opened it; if the responder is the device, counters and addresses change sides.
"""

import ipaddress
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from cloudpriv.client.rows import Record, Row, malformed, seconds, unix_time, whole

SOURCE = "zeek"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IsDevice = Callable[[str], bool]

# Private, shared (carriers, VPNs), link-local and unique local addresses: RFC 1918, 6598, 3927, 4193, 4291.
# ipaddress.is_private holds more than that, such as the ranges for documentation.
PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
    )
)

# What a field of the log is in a record, and how its text is read.
_FIELDS: tuple[tuple[str, str, Callable[[str], object]], ...] = (
    ("uid", "session", str),
    ("duration", "duration_s", seconds),
    ("proto", "protocol", str),
    ("conn_state", "end_reason", str),
)
_NEEDED = ("uid", "ts", "id.orig_h", "id.resp_h")


def rows(lines: Iterable[str], networks: Sequence[Network] = ()) -> Iterator[Row]:
    """One row for each connection. Devices lie in `networks`, by default in private address space."""
    is_device = _membership(networks or PRIVATE)
    for entry in _entries(lines):
        yield (_row(entry, is_device) if entry is not None else malformed("the line is not an entry of a Zeek log"))


def _entries(lines: Iterable[str]) -> Iterator[Mapping[str, str] | None]:
    """Field -> text of each line without its unset fields; None for a line that cannot be read."""
    separator, unset, fields = "\t", "-", list[str]()
    for line in lines:
        text = line.rstrip("\r\n")
        if text.startswith("{"):
            yield _json_entry(text)
        elif text.startswith("#separator "):
            separator = _unescaped(text.removeprefix("#separator "))
        elif text.startswith("#unset_field"):
            unset = text.split(separator)[1]
        elif text.startswith("#fields"):
            fields = text.split(separator)[1:]
        elif text and not text.startswith("#"):
            cells = text.split(separator)
            found = zip(fields, cells, strict=False)
            yield {name: cell for name, cell in found if cell != unset} if len(cells) == len(fields) else None


def _json_entry(text: str) -> Mapping[str, str] | None:
    try:
        # Numbers stay text: a time must not pass through a float.
        found = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _unescaped(text: str) -> str:
    return chr(int(text[2:4], 16)) if text.startswith("\\x") else text


def _row(entry: Mapping[str, str], is_device: IsDevice) -> Row:
    if missing := [name for name in _NEEDED if not entry.get(name)]:
        return malformed(f"{', '.join(missing)} is missing")
    record: Record = {"source": SOURCE}
    try:
        record["started_at"] = _time(entry["ts"])
        for name, field, convert in _FIELDS:
            if name in entry:
                record[field] = convert(entry[name])
        return record | _sides(entry, is_device)
    except ValueError as fault:
        return malformed(str(fault))


def _time(text: str) -> str:
    # Zeek writes RFC 3339 instead where json_timestamps is set so.
    return text if "T" in text else unix_time(text)


def _sides(entry: Mapping[str, str], is_device: IsDevice) -> Record:
    """Which end is the device; a connection between two of them belongs to the one that opened it."""
    origin, responder = ("orig_bytes", "id.orig_h"), ("resp_bytes", "id.resp_h")
    if is_device(entry["id.orig_h"]):
        device, peer = origin, responder
    elif is_device(entry["id.resp_h"]):
        device, peer = responder, origin
    else:
        raise ValueError("neither end is in a network of devices")
    sides: Record = {"device": entry[device[1]], "remote_address": entry[peer[1]]}
    counters = (("bytes_from_device", device[0]), ("bytes_to_device", peer[0]))
    return sides | {field: whole(entry[name]) for field, name in counters if name in entry}


def _membership(networks: Sequence[Network]) -> IsDevice:
    @lru_cache(maxsize=65_536)
    def is_device(text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise ValueError("an address is not an IP address") from None
        return any(address in network for network in networks)

    return is_device
