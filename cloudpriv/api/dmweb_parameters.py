"""Parameters of the DataMailbox API as programs send them: names in any case, unknown ones ignored, everything a text.

No fault repeats what was sent: names of devices are personal data, and tokens are secrets.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cloudpriv.platform.errors import InvalidError

NUMBER: Final = re.compile("[0-9]{1,18}")  # what fits a bigint
TRUTHS: Final = {"true": True, "1": True, "false": False, "0": False}
KINDS: Final[dict[str, dict[str, Any]]] = {
    "text": {"type": "string"},
    "number": {"type": "string", "pattern": "^[0-9]{1,18}$"},
    "numbers": {"type": "string", "pattern": "^[0-9]{1,18}(,[0-9]{1,18})*$"},
    "truth": {"type": "string", "enum": ["true", "True", "1", "false", "False", "0"]},
    "time": {"type": "string", "format": "date-time"},
}
# What each parameter is, by the name that is documented.
KNOWN: Final = {
    "t2mtoken": ("text", "A reader token of the account."),
    "t2mdevid": ("text", "Accepted and not used."),
    "t2maccount": ("text", "Accepted and not used: the token says which account."),
    "t2musername": ("text", "Accepted and not used."),
    "t2mpassword": ("text", "A reader token of the account; never the account's password."),
    "id": ("number", "The number of a device."),
    "name": ("text", "The name of a device."),
    "ewonId": ("number", "The number of a device."),
    "ewonIds": ("numbers", "Numbers of devices, with commas between them."),
    "tagId": ("number", "The number of a tag."),
    "from": ("time", "No point before it. Without an offset it is UTC."),
    "to": ("time", "No point after it. Without an offset it is UTC."),
    "limit": ("number", "The most points of each tag."),
    "fullConfig": ("truth", "List devices and tags without points, too."),
    "lastTransactionId": ("number", "Only what came after this transaction."),
    "createTransaction": ("truth", "Give this answer a number, to go on from."),
    "transactionId": ("number", "What was sent up to this transaction."),
    "all": ("truth", "Everything."),
}
CREDENTIALS: Final = ("t2mtoken", "t2mdevid", "t2maccount", "t2musername", "t2mpassword")


class Parameters:
    """The parameters of one request. Whatever cannot be read raises InvalidError."""

    def __init__(self, given: Iterable[tuple[str, str]]) -> None:
        self._given: dict[str, str] = {}
        for name, value in given:
            if self._given.setdefault(name.lower(), value) != value:
                raise InvalidError("A parameter stands there more than once.")

    def has_any(self, *names: str) -> bool:
        """Whether any of these stands there."""
        return any(name.lower() in self._given for name in names)

    def token(self) -> str | None:
        """What proves who calls."""
        return self.text("t2mtoken") or self.text("t2mpassword")

    def text(self, name: str) -> str | None:
        """A text."""
        return self._given.get(name.lower())

    def number(self, name: str) -> int | None:
        """A number."""
        text = self.text(name)
        return None if text is None else _number(name, text)

    def numbers(self, name: str) -> list[int] | None:
        """Numbers with commas between them, each once."""
        text = self.text(name)
        return None if text is None else list(dict.fromkeys(_number(name, part.strip()) for part in text.split(",")))

    def truth(self, name: str) -> bool:
        """Whether it is there and true."""
        text = self.text(name)
        if text is None:
            return False
        if text.lower() not in TRUTHS:
            raise InvalidError(f"{name} must be true or false.")
        return TRUTHS[text.lower()]

    def time(self, name: str) -> datetime | None:
        """A time of ISO 8601; UTC where it has no offset."""
        text = self.text(name)
        if text is None:
            return None
        try:
            found = datetime.fromisoformat(text.upper())
            return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
        except (ValueError, OverflowError):  # no day of the calendar, or none once it is UTC
            raise InvalidError(f"{name} must be a time of ISO 8601.") from None


def described(names: Iterable[str], place: str) -> Mapping[str, Any]:
    """What OpenAPI says of an operation that takes these parameters, and whose credentials stand in `place` too."""
    known = {name: {**KINDS[KNOWN[name][0]], "description": KNOWN[name][1]} for name in (*CREDENTIALS, *names)}
    if place == "query":
        return {"parameters": [{"name": name, "in": place, "required": False, "schema": of} for name, of in known.items()]}
    form = {"schema": {"type": "object", "properties": known}}
    return {"requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": form}}}


def _number(name: str, text: str) -> int:
    if not NUMBER.fullmatch(text):
        raise InvalidError(f"{name} must be a number.")
    return int(text)
