"""Traffic recorded from a real FreeRADIUS and a real OpenVPN server (tools/record), and whose it is.

RADIUS accounting is that of the accounts of service `talk2m`, OpenVPN events that of `intesis`. Names are
invented, addresses lie in the ranges kept for documentation.
"""

import gzip
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cloudpriv.client import openvpn, radius

_FOLDER = Path(__file__).parent
_STATUS_FILES: dict[openvpn.StatusVersion, str] = {
    1: "openvpn-status-v1.log",
    2: "openvpn-status.log",
    3: "openvpn-status-v3.log",
}


def accounts() -> list[dict[str, Any]]:
    """The accounts with their owner and devices, by the keys of accounts.toml."""
    found = tomllib.loads((_FOLDER / "accounts.toml").read_text(encoding="utf-8"))
    return list(found["account"])


def radius_requests() -> Iterator[dict[str, Any]]:
    """What rlm_rest sent, in order: `{"path", "section", "body"}`."""
    return _lines("radius.jsonl.gz")


def openvpn_events() -> Iterator[dict[str, str]]:
    """The environments of client-connect and client-disconnect, in order."""
    return _lines("openvpn.jsonl.gz")


def openvpn_status(version: openvpn.StatusVersion = 2) -> list[str]:
    """The lines of the status file in one of its versions, all of the same moment."""
    return (_FOLDER / _STATUS_FILES[version]).read_text(encoding="utf-8").splitlines()


def records(service: str) -> Iterator[dict[str, object]]:
    """The records for `POST /v1/traffic` that a service's backend would have sent, repeats included."""
    names = {account["account_name"] for account in accounts() if account["service"] == service}
    return (record for record in _records() if record["account"] in names)


def _records() -> Iterator[dict[str, object]]:
    for request in radius_requests():
        record = radius.record(request["body"])
        if record is not None:
            yield record
    for event in openvpn_events():
        connects = event["script_type"] == "client-connect"
        yield openvpn.connect_record(event) if connects else openvpn.disconnect_record(event)
    yield from openvpn.status_records(openvpn_status(), 2)


def _lines(name: str) -> Iterator[Any]:
    with gzip.open(_FOLDER / name, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
