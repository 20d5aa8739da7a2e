"""Bounces: what a mail server reports later of a message that it had taken (delivery status notifications, RFC 3464).

Anybody can send us anything: whatever does not read as a report of failure about a message of ours is nothing. Of what does,
only our own id and a status code are taken, since the rest names people.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from typing import Any, Final
from uuid import UUID

LARGEST: Final = 1 << 20  # bytes; our messages have a few thousand, and a server sends back at most the whole
MESSAGE_ID: Final = re.compile(r"<([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})@[^<>@\s]+>")  # as platform.mail makes it
STATUS: Final = re.compile(r"\s*([45]\.\d{1,3}\.\d{1,3})(?!\d|\.)")  # RFC 3463, 2; a comment may follow
UNKNOWN: Final = "5.0.0"  # RFC 3463, 3.1: failed, and nothing else is known


@dataclass(frozen=True)
class Bounce:
    """A message of ours that was not delivered: its id, and the status code of RFC 3463 that says why."""

    mail_id: UUID
    status: str


def read_bounce(report: bytes) -> Bounce | None:
    """What a report says of a message of ours that was not delivered, for good or after the last attempt.

    None for everything else: what is no report, is broken, or tells of delay or delivery. Never raises.
    """
    try:
        message = BytesParser(policy=compat32).parsebytes(report[:LARGEST])
        parts = list(message.walk())
        status = next(_failures(parts), None)
        mail_id = next(_our_ids(message, parts), None)
    except (RecursionError, ValueError, LookupError):  # parts nested without end, or in no known encoding
        return None
    return None if status is None or mail_id is None else Bounce(mail_id, status)


def _failures(parts: list[Message]) -> Iterator[str]:
    """Status codes of the recipients that the report calls failed (RFC 3464, 2.3.3 and 2.3.4)."""
    for part in parts:
        if part.get_content_type() != "message/delivery-status":
            continue
        for fields in _inside(part):
            if str(fields.get("Action", "")).strip().lower().startswith("failed"):
                found = STATUS.match(str(fields.get("Status", "")))
                yield found[1] if found else UNKNOWN


def _our_ids(message: Message, parts: list[Message]) -> Iterator[UUID]:
    """Ids of the message reported on: from what was sent back of it, else from what the report says that it answers."""
    for part in parts:
        for returned in _returned(part):
            yield from _ids(returned.get("Message-ID", ""))
    yield from _ids(message.get("In-Reply-To", ""))
    yield from _ids(message.get("References", ""))


def _returned(part: Message) -> Iterable[Message]:
    """What a part of the report sends back of the message reported on, whole or its headers."""
    kind, content = part.get_content_type(), part.get_payload(decode=True)
    if kind == "text/rfc822-headers" and isinstance(content, bytes):
        return [BytesParser(policy=compat32).parsebytes(content, headersonly=True)]
    return _inside(part) if kind == "message/rfc822" else []


def _inside(part: Message) -> Iterable[Message]:
    """The messages, or groups of fields, that a part holds."""
    content = part.get_payload()
    return (each for each in content if isinstance(each, Message)) if isinstance(content, list) else ()


def _ids(header: Any) -> Iterator[UUID]:
    return (UUID(found) for found in MESSAGE_ID.findall(str(header)))
