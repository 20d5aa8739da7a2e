"""What a page says about the change that led to it: words of ours in its address, signed for this session and page.

Nobody can write such an address for somebody else, so no link makes the portal confirm what did not happen. The words are
said for a minute; later, and in any other session, the page is shown without them.
"""

import hmac
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from flask import Response, request

from cloudpriv.api.endpoint import call
from cloudpriv.platform.keys import Keyring
from cloudpriv.portal import guard

SAID: Final = "said"
LASTS: Final = timedelta(minutes=1)
BETWEEN: Final = "~"


def led(path: str, *words: str) -> Response:
    """Lead who is signed in to a page of ours, which then hears these words; none of them has a `~` in it."""
    session, _account, _person = guard.signed_in()
    return guard.redirected(address(_keys(), session.session_id, path, words, call().now))


def heard() -> tuple[str, ...]:
    """The words that led to this page; none when it was opened in another way, or a while ago."""
    session, _account, _person = guard.signed_in()
    told, _, signature = request.args.get(SAID, "").rpartition(BETWEEN)
    ours = _signed(_keys(), session.session_id, request.path, told)
    if not hmac.compare_digest(signature.encode("utf-8", "replace"), ours.encode()):
        return ()
    *words, until = told.split(BETWEEN)
    return tuple(words) if call().now.timestamp() < int(until) else ()


def address(keys: Keyring, session_id: UUID, path: str, words: tuple[str, ...], now: datetime) -> str:
    """The address of a page that has it say these words in this session, for LASTS from `now`."""
    told = BETWEEN.join((*words, str(int((now + LASTS).timestamp()))))
    return f"{path}?{urlencode({SAID: BETWEEN.join((told, _signed(keys, session_id, path, told)))})}"


def _signed(keys: Keyring, session_id: UUID, path: str, told: str) -> str:
    return keys.blind_index("portal said", f"{session_id}\0{path}\0{told}").hex()


def _keys() -> Keyring:
    return call().run.services.plane.keys
