"""Bodies of many things, read one by one to name what is wrong with which: what traffic and log data have in common."""

import json
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

import msgspec

from cloudpriv.platform.errors import TooLargeError, UnreadableError

One = TypeVar("One")


def take_apart(body: bytes, decode: Callable[[bytes], Iterable[msgspec.Raw]], *, commas: int, too_many: str,
               other: str) -> list[bytes]:  # fmt: skip
    """The elements that `decode` finds in a body of JSON, each as it stands there.

    Raises TooLargeError with `too_many` over so many commas, UnreadableError for what is no JSON, with `other` for JSON of
    another kind.
    """
    if body.count(b",") > commas:
        raise TooLargeError(too_many)
    try:
        body.decode()
        return [bytes(element) for element in decode(body)]
    except UnicodeDecodeError:
        raise UnreadableError("The body is not UTF-8.") from None
    except RecursionError:
        raise UnreadableError("The body is nested too deeply.") from None
    except msgspec.ValidationError:
        raise UnreadableError(other) from None
    except msgspec.DecodeError as fault:
        raise UnreadableError(f"The body is not JSON: {fault}.") from None


def read_one(piece: bytes, decoder: "msgspec.json.Decoder[One]", members: Collection[str], called: str) -> One | str:
    """One element, of these members; or what is wrong with it, which repeats no value. `called` is what such things are."""
    try:
        # Objects as tuples of pairs, to see every member; numbers as text, since a long one takes quadratic time.
        found = json.loads(piece.decode(), object_pairs_hook=tuple, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return "is not JSON"
    if not isinstance(found, tuple):
        return "is not a JSON object"
    try:
        return _member_fault(found, members, called) or decoder.decode(piece)
    except msgspec.DecodeError as fault:
        return str(fault)


def _member_fault(found: Iterable[tuple[str, object]], members: Collection[str], called: str) -> str | None:
    seen: set[str] = set()
    for name, value in found:
        if name not in members:
            return f"has a member that {called} do not have"
        if name in seen:
            return f"{name} stands there more than once"
        if isinstance(value, str) and "\0" in value:
            return f"{name} contains NUL"
        seen.add(name)
    return None
