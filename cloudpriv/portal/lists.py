"""Lists by cursor, as pages show them: the cursors of the API, in addresses that hold nothing else."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

from flask import request

from cloudpriv.api import schemas
from cloudpriv.platform.errors import InvalidError, NotFoundError

LIMIT: Final = 50
CURSOR: Final = "cursor"
Row = TypeVar("Row")


def begin() -> bytes | None:
    """Where this page of the list begins. Raises NotFoundError for a cursor that is none of this list."""
    try:
        return schemas.after({CURSOR: request.args.get(CURSOR)})
    except InvalidError:
        raise NotFoundError from None


def begin_id() -> UUID | None:
    """Where this page of a list by id begins. Raises NotFoundError as `begin` does."""
    position = begin()
    return None if position is None else UUID(bytes=position)


def split(rows: Sequence[Row], position: Callable[[Row], bytes], limit: int = LIMIT) -> tuple[Sequence[Row], str | None]:
    """The rows to show of up to `limit + 1`, and the address of the next page if there is one."""
    shown = rows[:limit]
    if len(rows) <= limit:
        return shown, None
    return shown, address(**{CURSOR: schemas.next_page(position(shown[-1]))[0]})


def address(**changed: Any) -> str:
    """The address of this page with some of its parameters changed; None leaves one out."""
    parameters = {**request.args.to_dict(), **changed}
    given = {name: value for name, value in parameters.items() if value not in (None, "")}
    return f"{quote(request.path)}?{urlencode(given)}" if given else quote(request.path)


def start() -> str | None:
    """The address of the list's first page, if this is another."""
    return address(**{CURSOR: None}) if request.args.get(CURSOR) else None
