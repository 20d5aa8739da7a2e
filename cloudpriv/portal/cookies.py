"""The portal's cookies: sent over TLS alone, out of reach of scripts, and bound to this host by their name's prefix.

On plain HTTP they are sent only where both our public URL and the host that was asked for are of this machine itself: there
a browser keeps no Secure cookie, and nobody else listens.
"""

import base64
import hmac
import secrets
from datetime import timedelta
from typing import Final, Literal
from urllib.parse import urlsplit

from flask import Response, request

from cloudpriv.api.endpoint import call
from cloudpriv.api.runtime import runtime
from cloudpriv.platform.text import normalised

Name = Literal["", "-visit", "-device", "-lang"]
SESSION: Final = ""
VISIT: Final = "-visit"  # of whoever fills in a form without a session
DEVICE: Final = "-device"  # of a browser that somebody signed in from
LANGUAGE: Final = "-lang"  # that was chosen on the page
DEVICE_LASTS: Final = timedelta(days=180)
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
VISIT_BYTES: Final = 16
DEVICE_BYTES: Final = 16
CSRF_PAD: Final = 32


def is_plain() -> bool:
    """Whether cookies of this request go without Secure: its host and our public URL are of this machine, by HTTP."""
    public = urlsplit(runtime().services.settings.issuer)
    asked = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdecimal() else request.host
    return public.scheme == "http" and public.hostname in LOOPBACK and asked.strip("[]") in LOOPBACK


def name_of(name: Name) -> str:
    """A cookie's whole name; with the prefix, browsers take it from this host alone, over TLS, for all paths."""
    return f"cloudpriv{name}" if is_plain() else f"__Host-cloudpriv{name}"


def read(name: Name) -> str | None:
    """What the browser sent of a cookie."""
    return request.cookies.get(name_of(name)) or None


def put(response: Response, name: Name, value: str, lasts: timedelta | None = None) -> Response:
    """Have the browser keep a cookie as long as it is open, or `lasts`; the same response."""
    response.set_cookie(name_of(name), value, max_age=lasts, path="/", secure=not is_plain(), httponly=True, samesite="Lax")
    return response


def drop(response: Response, name: Name) -> Response:
    """Have the browser forget a cookie; the same response."""
    response.delete_cookie(name_of(name), path="/", secure=not is_plain(), httponly=True, samesite="Lax")
    return response


def visitor() -> str:
    """The value of the visitor's cookie as it was sent, or a new one if it was none of ours."""
    sent = read(VISIT)
    if sent is not None and hmac.compare_digest(
        sent.partition(".")[2].encode(), _signature(sent.partition(".")[0]).encode()
    ):
        return sent
    made = secrets.token_urlsafe(VISIT_BYTES)
    return f"{made}.{_signature(made)}"


def csrf_token(cookie: str) -> str:
    """A token for forms of whoever has this cookie, written differently each time (so that compression tells nothing)."""
    pad = secrets.token_bytes(CSRF_PAD)
    return base64.urlsafe_b64encode(pad + _masked(pad, _hashed("portal form", cookie))).decode()


def is_csrf_token(token: str, cookie: str) -> bool:
    """Whether `csrf_token` made the token for this cookie."""
    try:
        content = base64.urlsafe_b64decode(token.encode("ascii"))
    except ValueError:
        return False
    if len(content) != 2 * CSRF_PAD:
        return False
    return hmac.compare_digest(_masked(content[:CSRF_PAD], content[CSRF_PAD:]), _hashed("portal form", cookie))


def put_device(response: Response, service: str, account_name: str, username: str) -> Response:
    """Have the browser remember for 180 days that this person signed in from it. It lets nobody in, and names nobody."""
    expires = str(int((call().now + DEVICE_LASTS).timestamp()))
    device = device_of(service, account_name, username) or secrets.token_urlsafe(DEVICE_BYTES)
    signature = _signed_in_from(expires, device, service, account_name, username)
    return put(response, DEVICE, f"{expires}.{device}.{signature}", DEVICE_LASTS)


def device_of(service: str, account_name: str, username: str) -> str | None:
    """The browser's own id if it remembers that the person of these names signed in from it; it stays when they do again."""
    expires, _, told = (read(DEVICE) or "").partition(".")
    device, _, signature = told.partition(".")
    signed = _signed_in_from(expires, device, service, account_name, username)
    if not hmac.compare_digest(signature.encode("utf-8", "replace"), signed.encode()):
        return None
    return device if int(expires) > call().now.timestamp() else None


def knows(service: str, account_name: str, username: str) -> bool:
    """Whether the browser remembers that the person of these names signed in from it."""
    return device_of(service, account_name, username) is not None


def _signed_in_from(expires: str, device: str, service: str, account_name: str, username: str) -> str:
    names = f"{expires}\0{device}\0{service}\0{normalised(account_name)}\0{normalised(username)}"
    return _hashed("portal device", names).hex()


def _signature(value: str) -> str:
    return _hashed("portal visitor", value).hex()


def _hashed(purpose: str, value: str) -> bytes:
    return call().run.services.plane.keys.blind_index(purpose, value)


def _masked(pad: bytes, value: bytes) -> bytes:
    return bytes(left ^ right for left, right in zip(pad, value, strict=True))
