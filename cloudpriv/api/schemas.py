"""What the API's schemas share: strict fields, texts with limits, and lists by cursor."""

import base64
import hmac
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

from flask import request
from marshmallow import RAISE, Schema, ValidationError, fields, validate

from cloudpriv.api.endpoint import call
from cloudpriv.platform.errors import FieldError, InvalidError

MAX_PAGE: Final = 500
Row = TypeVar("Row")


class Strict(Schema):
    """A schema that refuses unknown members; marshmallow does not pass this on to nested ones by itself."""

    class Meta:
        """Unknown members are errors."""

        unknown = RAISE


class Pattern:
    """A pattern as JSON Schema means it (ECMA-262): `$` is the very end, as in Python only of a full match."""

    def __init__(self, pattern: str, error: str) -> None:
        self.regex = re.compile(pattern)  # apispec describes whatever validator has one
        self.error = error

    def __call__(self, value: str) -> None:
        """Raises ValidationError when the value does not match."""
        if self.regex.fullmatch(value) is None:
            raise ValidationError(self.error)


NO_NUL: Final = Pattern(r"^[^\x00]*$", "Must not contain NUL.")
# What Python, ECMA-262 and Rust each take for white space, so that the pattern means the same to every reader.
BLANK: Final = r"\s\x1c-\x1f\x85\ufeff"
TRIMMED: Final = Pattern(
    rf"^[^\x00{BLANK}]([^\x00]*[^\x00{BLANK}])?$", "Must not begin or end with blanks, nor contain NUL."
)
CURSOR: Final = Pattern("^[A-Za-z0-9_-]+$", "Must be a cursor of this list.")
RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


class UtcTime(fields.AwareDateTime):
    """A time of RFC 3339; loaded as UTC, shown with Z."""

    def __init__(self, **options: Any) -> None:
        super().__init__(format="iso", **options)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        if isinstance(value, str) and RFC_3339.fullmatch(value):
            try:
                return datetime.fromisoformat(value.upper()).astimezone(UTC)
            except (ValueError, OverflowError):
                pass  # no day of the calendar, or none once it is UTC
        raise self.make_error("invalid", input=value, obj_type="RFC 3339 time with an offset")

    def _serialize(self, value: datetime | None, *_: Any, **__: Any) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


class QueryInteger(fields.Integer):
    """An integer of a query: digits alone, where Python would also read `1_0`, ` 1` and the digits of other scripts."""

    def _validated(self, value: Any) -> int:
        if not (isinstance(value, str) and re.fullmatch("-?[0-9]{1,9}", value)):
            raise self.make_error("invalid", input=value)
        return int(value)


class Flag(fields.Boolean):
    """JSON's true or false, where marshmallow would also read 1, "yes" and "off"."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class QueryFlag(fields.Boolean):
    """`true` or `false` in a query."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if value not in ("true", "false"):
            raise self.make_error("invalid", input=value)
        return bool(value == "true")


def example(value: str) -> dict[str, Any]:
    """What a field describes itself by."""
    return {"examples": [value]}


def short_text(shown: str, *, longest: int = 200, nullable: bool = False, **options: Any) -> fields.String:
    """A text, such as `shown`, of one to `longest` characters that does not begin or end with blanks."""
    rules = (validate.Length(min=1, max=longest), TRIMMED)
    return fields.String(allow_none=nullable, validate=rules, metadata=example(shown), **options)


def any_text(shown: str, *, shortest: int = 1, longest: int = 200, **options: Any) -> fields.String:
    """A text, such as `shown`, of `shortest` to `longest` characters, whatever they are."""
    rules = (validate.Length(min=shortest, max=longest), NO_NUL)
    return fields.String(validate=rules, metadata=example(shown), **options)


class PageArgs(Strict):
    """Query of a list."""

    limit = QueryInteger(load_default=50, validate=validate.Range(min=1, max=MAX_PAGE))
    cursor = fields.String(load_default=None, validate=[validate.Length(max=100), CURSOR])


@cache  # one class for each, so that a document that names it twice has one schema
def page_of(item: type[Schema], name: str) -> type[Schema]:
    """The schema of a page of `item`."""
    members: dict[str, Any] = {
        "items": fields.List(fields.Nested(item), required=True),
        "next_cursor": fields.String(allow_none=True, required=True),
    }
    return type(f"{name}Page", (Strict,), members)


def after(query: dict[str, Any]) -> bytes | None:
    """Where a page begins, from its cursor. Raises InvalidError for a cursor that we did not make for this list."""
    cursor = query["cursor"]
    if cursor is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        raw = b""
    tag, position = raw[:16], raw[16:]
    if not hmac.compare_digest(tag, _tag(position)):
        raise InvalidError(errors=(FieldError("cursor", "is not a cursor of this list", "query"),))
    return position


def after_id(query: dict[str, Any]) -> UUID | None:
    """Where a page of a list by id begins."""
    position = after(query)
    return None if position is None else UUID(bytes=position)


def page(rows: Sequence[Row], query: dict[str, Any], show: Callable[[Row], Any], position: Callable[[Row], bytes]) -> Any:
    """A page and its Link header from up to `limit + 1` rows."""
    shown = rows[: query["limit"]]
    cursor, link = next_page(position(shown[-1])) if len(rows) > len(shown) else (None, {})
    return {"items": [show(row) for row in shown], "next_cursor": cursor}, 200, link


def next_page(position: bytes) -> tuple[str, dict[str, str]]:
    """Cursor and Link header of the page that begins after a position."""
    cursor = _cursor(position)
    return cursor, {"Link": _next_link(cursor)}


def _cursor(position: bytes) -> str:
    return base64.urlsafe_b64encode(_tag(position) + position).rstrip(b"=").decode()


def _tag(position: bytes) -> bytes:
    """Bound to the list, so that a cursor of one account or list is none of another."""
    scope = request.path.encode()
    return call().run.services.plane.keys.blind_index("cursor", f"{scope.hex()}\0{position.hex()}")[:16]


def _next_link(cursor: str) -> str:
    arguments = {**request.args.to_dict(flat=False), "cursor": cursor}
    return f'<{quote(request.path)}?{urlencode(arguments, doseq=True)}>; rel="next"'
