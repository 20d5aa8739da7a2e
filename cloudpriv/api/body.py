"""Reading requests: strict JSON, strict schemas, and every fault named by its place."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, NoReturn
from urllib.parse import unquote_to_bytes

from flask import Request, request
from flask_smorest import Blueprint as SmorestBlueprint
from marshmallow import RAISE, Schema, ValidationError, fields
from webargs.flaskparser import FlaskParser

from cloudpriv.platform.errors import FieldError, InvalidError, TooLargeError, UnreadableError, UnsupportedTypeError

MAX_DEPTH: Final = 32
MAX_ENTRIES: Final = 100  # of an object or an array, so that no body is long to check or has a long list of faults
MAX_FAULTS: Final = 100
MAX_DIGITS: Final = 40  # no number of ours is longer; parsing longer ones takes quadratic time


class StrictParser(FlaskParser):
    """Parses arguments; unknown members are refused wherever they stand."""

    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = dict.fromkeys(FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, RAISE)

    def load_json(self, req: Request, schema: Schema) -> Any:  # noqa: ARG002  webargs' signature
        """The body as strict JSON. Raises UnsupportedTypeError or UnreadableError."""
        charset = req.mimetype_params.get("charset", "utf-8")
        if req.mimetype != "application/json" or charset.lower() != "utf-8":
            raise UnsupportedTypeError
        return read_json(whole_body())

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        """The query. Raises InvalidError for what is not UTF-8, and for a parameter twice: which one would count?"""
        for part in req.query_string.split(b"&"):
            _check_utf_8(part)
        lists = {field.data_key or name for name, field in schema.fields.items() if isinstance(field, fields.List)}
        twice = [name for name, values in req.args.lists() if len(values) > 1 and name not in lists]
        if twice:
            raise InvalidError(errors=(FieldError(_escaped(twice[0]), "stands there more than once", "query"),))
        return super().load_querystring(req, schema)

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> NoReturn:
        """Every message with its place."""
        raise InvalidError(errors=tuple(islice(_located(error.messages), MAX_FAULTS))) from None


def _check_utf_8(part: bytes) -> None:
    """Flask would read what is no UTF-8 as U+FFFD, and so as another text than was sent."""
    try:
        unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        name = part.partition(b"=")[0].decode("latin-1")
        raise InvalidError(errors=(FieldError(_escaped(name), "is not UTF-8", "query"),)) from None


class Blueprint(SmorestBlueprint):  # type: ignore[misc]  # flask-smorest carries no types
    """Routes whose arguments are parsed strictly."""

    ARGUMENTS_PARSER = StrictParser()


def whole_body() -> bytes:
    """The body as it was sent, whole.

    Raises TooLargeError over the route's limit, UnreadableError when less came than was announced, UnsupportedTypeError for
    a Content-Encoding, which nothing here decodes.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedTypeError("Send the body without a Content-Encoding.")
    body = request.get_data(cache=True)
    # Werkzeug cuts a chunked body off at the limit, and takes one that ends early for all there is.
    if request.content_length is None and len(body) >= (request.max_content_length or len(body) + 1):
        raise TooLargeError
    if request.content_length is not None and len(body) < request.content_length:
        raise UnreadableError("The body is shorter than its Content-Length.")
    return body


def quoted_key(header: str) -> str:
    """The key in an Idempotency-Key header, an RFC 8941 string: printable ASCII in quotation marks, up to 255 characters.

    Raises InvalidError for anything else.
    """
    inner = header[1:-1]
    quoted = len(header) > 2 and header[0] == header[-1] == '"' and '"' not in inner
    if not (quoted and inner.isascii() and inner.isprintable() and len(inner) <= 255):
        problem = FieldError("Idempotency-Key", "must be a quoted string of printable ASCII, 1 to 255 characters", "query")
        raise InvalidError(errors=(problem,))
    return inner


def read_json(body: bytes) -> Any:
    """Decode JSON, refusing what JSON allows but nobody means: members twice, NUL, lone surrogates, NaN, great depth.

    Raises UnreadableError for what is no JSON, InvalidError pointing at a member that cannot be taken.
    """
    try:
        text = body.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_int=_int,
            parse_float=_float,
        )
    except UnicodeDecodeError:
        raise UnreadableError("The body is not UTF-8.") from None
    except RecursionError:
        raise UnreadableError("The body is nested too deeply.") from None
    except json.JSONDecodeError as fault:
        raise UnreadableError(f"The body is not JSON (line {fault.lineno}, column {fault.colno}).") from None
    faults = tuple(islice(_unfit(value, "", 0), MAX_FAULTS))
    if faults:
        raise InvalidError(errors=faults)
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        pointer = "/" + _escaped(twice) if twice.isidentifier() else ""
        raise InvalidError(errors=(FieldError(pointer, "stands there more than once"),))
    return members


def _no_constant(_: str) -> NoReturn:
    raise UnreadableError("NaN and Infinity are not JSON.")


def _int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise UnreadableError("A number has too many digits.")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise UnreadableError("A number is too large.")
    return value


def _unfit(value: Any, pointer: str, depth: int) -> Iterator[FieldError]:
    if isinstance(value, str):
        if "\0" in value or any(0xD800 <= ord(character) <= 0xDFFF for character in value):
            yield FieldError(pointer, "contains a character that is not text")
    elif isinstance(value, (dict, list)):
        if depth >= MAX_DEPTH:
            raise UnreadableError("The body is nested too deeply.")
        if len(value) > MAX_ENTRIES:
            yield FieldError(pointer, f"has more than {MAX_ENTRIES} entries")
            return
        for name, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _unfit(name, pointer, depth)
            yield from _unfit(member, f"{pointer}/{_escaped(str(name))}", depth + 1)


def _located(messages: Any) -> Iterator[FieldError]:
    for location, found in messages.items():
        for pointer, detail in _flattened(found, ""):
            if location == "json":
                yield FieldError(pointer, detail)
            else:
                yield FieldError(pointer.strip("/").split("/")[0], detail, "query")


def _flattened(messages: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(messages, Mapping):
        for name, inner in messages.items():
            place = pointer if name == "_schema" else f"{pointer}/{_escaped(str(name))}"
            yield from _flattened(inner, place)
    else:
        for text in messages if isinstance(messages, list) else [messages]:
            yield pointer, str(text)


def _escaped(name: str) -> str:
    """A member's name in an RFC 6901 pointer, without what cannot be printed."""
    shown = name.replace("~", "~0").replace("/", "~1")
    return shown.encode("ascii", "backslashreplace").decode()[:200]
