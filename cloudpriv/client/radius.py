"""RADIUS accounting, as FreeRADIUS' rlm_rest sends it, as records for `POST /v1/traffic`.

Pure conversion of RFC 2866 accounting: `attributes` reads a request's body (`body = 'json'` with or without
`attr_num` and `raw_value`, or `body = 'post'`), `record` converts them. Input is what the device sent.
Nothing here keeps or repeats attribute values in errors: authorize bodies carry passwords in clear.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from urllib.parse import parse_qs

from cloudpriv.client.events import MalformedEvent, is_unicode, number, rfc3339, unix_time

__all__ = ["MalformedEvent", "attributes", "record"]

# RFC 2866 §5.1; FreeRADIUS also knows Interim-Update as Alive.
_STATUS = {"1": "Start", "2": "Stop", "3": "Interim-Update", "7": "Accounting-On", "8": "Accounting-Off"}
_STATUS |= {name: name for name in _STATUS.values()} | {"Alive": "Interim-Update"}

# RFC 2866 §5.10 from 1 on, RFC 3580 §3.8 from 19 on, spelt as FreeRADIUS' dictionary does; unformatted,
# because one name a line would push the code off the page.
# fmt: off
_TERMINATE_CAUSES = [
    "User-Request", "Lost-Carrier", "Lost-Service", "Idle-Timeout", "Session-Timeout", "Admin-Reset",
    "Admin-Reboot", "Port-Error", "NAS-Error", "NAS-Request", "NAS-Reboot", "Port-Unneeded", "Port-Preempted",
    "Port-Suspended", "Service-Unavailable", "Callback", "User-Error", "Host-Request", "Supplicant-Restart",
    "Reauthentication-Failure", "Port-Reinit", "Port-Disabled",
]
# fmt: on

# RFC 2865 §5.7.
_FRAMED_PROTOCOLS = ["PPP", "SLIP", "ARAP", "Gandalf-SLML", "Xylogics-IPX-SLIP", "X.75-Synchronous"]


def attributes(body: bytes, content_type: str) -> dict[str, object]:
    """The attributes of an rlm_rest request's body, JSON or form-encoded by its content type.

    Raises MalformedEvent when the body is not UTF-8, not of that type, or not an object of attributes.
    """
    try:
        if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
            return dict(parse_qs(body.decode(), keep_blank_values=True, strict_parsing=True, errors="strict"))
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedEvent("the body is neither JSON nor a form as its content type says") from None
    if not isinstance(decoded, dict):
        raise MalformedEvent("the body is not an object of attributes")
    return decoded


def record(attributes: Mapping[str, object], received_at: datetime | None = None) -> dict[str, object] | None:
    """The record of an accounting request, or None for Accounting-On and -Off, which are of no session.

    Start time = Event-Timestamp - Acct-Session-Time; a Stop and an Interim-Update also have the end known so far,
    Event-Timestamp (RFC 2869 §5.3). Where it is missing, `received_at` (aware UTC) - Acct-Delay-Time stands in
    for it (RFC 2866 §5.2). `account` is the text of Class, else the realm of User-Name, else absent.
    Raises MalformedEvent where status, session, device or time is missing or a value is unreadable.
    """
    status = _STATUS.get(_text(attributes, "Acct-Status-Type") or "")
    if status is None:
        raise MalformedEvent("Acct-Status-Type is missing or not one of a session")
    if status.startswith("Accounting-"):
        return None
    session = _text(attributes, "Acct-Unique-Session-Id")
    if not session:
        raise MalformedEvent("Acct-Unique-Session-Id is missing")
    return {
        "session": session,
        "source": "radius",
        **_parties(attributes),
        **_times(attributes, status, received_at),
        **_counters(attributes),
        **_description(attributes),
    }


def _parties(attributes: Mapping[str, object]) -> dict[str, object]:
    """Device and account: `device@account` or `device.account` in User-Name; Class wins for the account."""
    device, account = _split(_text(attributes, "User-Name") or "", _class(attributes))
    if not device and _ip(attributes, "Calling-Station-Id") is None:
        device = _text(attributes, "Calling-Station-Id") or ""
    if not device:
        raise MalformedEvent("neither User-Name nor Calling-Station-Id names a device")
    return {"device": device, "account": account} if account else {"device": device}


def _split(user: str, account: str) -> tuple[str, str]:
    device, at, realm = user.rpartition("@")
    if at:
        return device, account or realm
    device, _, realm = user.rpartition(".")
    if device and realm and account in {"", realm}:
        return device, realm
    return user, account


def _class(attributes: Mapping[str, object]) -> str:
    """The text of Class; empty when it is absent or holds another server's binary state (RFC 2865 §5.25)."""
    value = _text(attributes, "Class") or ""
    if not value.startswith("0x"):
        return value
    try:
        text = bytes.fromhex(value[2:]).decode()
    except ValueError:
        return ""
    return text if text.isprintable() else ""


def _times(attributes: Mapping[str, object], status: str, received_at: datetime | None) -> dict[str, object]:
    event = _event_time(attributes, received_at)
    started_at = rfc3339(event - timedelta(seconds=_uint32(attributes, "Acct-Session-Time") or 0))
    return {"started_at": started_at} if status == "Start" else {"started_at": started_at, "ended_at": rfc3339(event)}


def _event_time(attributes: Mapping[str, object], received_at: datetime | None) -> datetime:
    """When the event occurred on the NAS: Event-Timestamp already says it, however late the packet was."""
    event = _timestamp(attributes)
    if event is not None:
        return event
    if received_at is None:
        raise MalformedEvent("Event-Timestamp is missing")
    return received_at - timedelta(seconds=_uint32(attributes, "Acct-Delay-Time") or 0)


def _timestamp(attributes: Mapping[str, object]) -> datetime | None:
    text = _text(attributes, "Event-Timestamp")
    if text is None or text.isdigit():
        return None if text is None else unix_time(text, "Event-Timestamp")
    try:
        # radiusd writes its local time with an abbreviated zone name, and only UTC's is unambiguous.
        time = datetime.strptime(text, "%b %d %Y %H:%M:%S UTC").replace(tzinfo=UTC)
    except ValueError:
        raise MalformedEvent("Event-Timestamp is not a time in UTC; radiusd must run with TZ=UTC") from None
    # The attribute counts seconds since 1970 (RFC 2869 §5.3); a session before the year 1 would overflow datetime.
    if time.year < 1970:
        raise MalformedEvent("Event-Timestamp is before 1970")
    return time


def _counters(attributes: Mapping[str, object]) -> dict[str, object]:
    counters = {
        "bytes_from_device": _octets(attributes, "Input"),
        "bytes_to_device": _octets(attributes, "Output"),
    }
    return {name: value for name, value in counters.items() if value is not None}


def _octets(attributes: Mapping[str, object], direction: str) -> int | None:
    """The 64-bit counter, else the 32-bit one and its wraps (RFC 2869 §5.1); None without either."""
    wide = _text(attributes, f"Acct-{direction}-Octets64")
    if wide is not None:
        return number(wide, f"Acct-{direction}-Octets64")
    low = _uint32(attributes, f"Acct-{direction}-Octets")
    wraps = _uint32(attributes, f"Acct-{direction}-Gigawords")
    return None if low is None and wraps is None else (wraps or 0) << 32 | (low or 0)


def _description(attributes: Mapping[str, object]) -> dict[str, object]:
    """Where known: protocol, remote address and the reason of the end."""
    described = {
        "protocol": (_named(attributes, "Framed-Protocol", _FRAMED_PROTOCOLS) or "").lower(),
        "remote_address": _ip(attributes, "Tunnel-Client-Endpoint") or _ip(attributes, "Calling-Station-Id"),
        "end_reason": _named(attributes, "Acct-Terminate-Cause", _TERMINATE_CAUSES),
    }
    return {name: value for name, value in described.items() if value}


def _named(attributes: Mapping[str, object], attribute: str, names: list[str]) -> str | None:
    """An enumerated value by its name, also when it came as a number (raw_value); None when it has none."""
    value = _text(attributes, attribute)
    if value is None or not value.isdecimal():
        return value
    position = number(value, attribute, bits=32)
    return names[position - 1] if 1 <= position <= len(names) else None


def _ip(attributes: Mapping[str, object], attribute: str) -> str | None:
    try:
        return str(ip_address(_text(attributes, attribute) or ""))
    except ValueError:
        return None


def _uint32(attributes: Mapping[str, object], attribute: str) -> int | None:
    value = _text(attributes, attribute)
    return None if value is None else number(value, attribute, bits=32)


def _text(attributes: Mapping[str, object], attribute: str) -> str | None:
    """The first value of an attribute as text, whatever body it came in; None when it is absent.

    JSON: `{"type", "value": […]}`, strings escaped byte by byte; form: a list of values, or one.
    """
    held = attributes.get(attribute)
    typed = isinstance(held, Mapping)
    values = held.get("value") if isinstance(held, Mapping) else held
    value = values[0] if isinstance(values, list) and values else values
    if value is None or value == []:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or not is_unicode(str(value)):
        raise MalformedEvent(f"{attribute} is neither text nor a number")
    return _redecoded(value) if typed and isinstance(value, str) else str(value)


def _redecoded(text: str) -> str:
    r"""rlm_rest escapes UTF-8 byte by byte (`é` as `\u00C3\u00A9`); what is no UTF-8 stays as it came."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text
