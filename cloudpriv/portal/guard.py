"""What every page of the portal goes through: who is there, may they, is the form ours, one transaction.

A view is decorated with `page`, which names what it demands. Without a session it asks to sign in; what must not happen in
somebody else's browser asks for the password again. Pages with a `tx` are one unit of work on behalf of who is signed in.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from flask import Response, after_this_request, current_app, g, redirect, request
from flask_babel import gettext as _
from werkzeug.exceptions import HTTPException

from cloudpriv.api.endpoint import PUBLIC, Access, call
from cloudpriv.api.runtime import runtime
from cloudpriv.controller import accounts, people, sessions
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.people import KnownPerson
from cloudpriv.controller.sessions import Session
from cloudpriv.platform.actor import HOLDER, Actor, Service
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import AccountRestrictedError, ForbiddenError
from cloudpriv.portal import banners, cookies, i18n, pages
from cloudpriv.portal.banners import Banners
from cloudpriv.rights import announcements

HOME: Final = "/portal/"
SIGN_IN: Final = "/portal/sign-in"
PASSWORD: Final = "/portal/password"  # noqa: S105  a path
TOKEN: Final = "csrf_token"  # noqa: S105  the name of a form's field
NOBODY: Final = UUID(int=0)  # the account that somebody without a session sees: none
STRANGER: Final = Actor("client", "unauthenticated", account_id=NOBODY)
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
OUR_SITE: Final = frozenset({"same-origin", "none"})
View = Callable[..., Any]


@dataclass(frozen=True)
class Visit:
    """Who is there: the session with its person and account as they are now, and on whose behalf things are done.

    For somebody without a session only `actor` and `cookie` say anything. `cookie` is what forms are bound to.
    """

    actor: Actor
    cookie: str
    session: Session | None = None
    account: OpenedAccount | None = None
    person: KnownPerson | None = None
    announced: bool = False  # whether a change of the policy is to be shown until they say that they saw it
    banners: Banners = banners.NONE


def page(*, public: bool = False, owner: bool = False, fresh: bool = False, restricted_ok: bool = True,
         unit: bool = True, back: str | None = None, watching: bool = False) -> Callable[[View], View]:  # fmt: skip
    """Guard a view, which gets a transaction on behalf of who is signed in as its first argument.

    `public` lets in who is not signed in, too: the transaction is then a stranger's, who sees no account (see `stranger`).
    `owner` keeps members of an account out; `fresh` asks for the password unless it was given within five minutes;
    `restricted_ok=False` refuses accounts and people whose processing is restricted. `unit=False` leaves transactions to the
    view (see `transaction`). `back` is the page that the password leads back to, where this one cannot be opened by GET.
    `watching` is what a page asks for by itself, while nobody may be there: no session lasts longer for it.
    Every POST needs the token that `csrf_token` gives to forms.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(**kwargs: Any) -> Any:
            found = _visit(seen=not watching)
            if found.session is None and not public:
                return _led(SIGN_IN, here())
            if not _is_our_form(found.cookie):
                return stale_form()
            if found.session is None and not unit:
                return current_app.make_response(view(**kwargs))
            with transaction() as tx:
                _know(tx)
                instead = None if found.session is None else _instead(found.session, owner, fresh, restricted_ok, back)
                if instead is not None or unit:
                    return instead or current_app.make_response(view(tx, **kwargs))
            return current_app.make_response(view(**kwargs))

        guarded.owners_only = owner  # type: ignore[attr-defined]  # read by `pages.navigation`
        guarded.access = Access(PUBLIC if public else HOLDER, unit=True)  # type: ignore[attr-defined]  # read by `access_of`
        return guarded

    return decorate


def visit() -> Visit:
    """Who is there, in a page's view or what it calls; a stranger while that is not known."""
    found: Visit | None = g.get("visit")
    if found is None:
        found = g.visit = Visit(STRANGER, cookies.visitor())
    return found


def signed_in() -> tuple[Session, OpenedAccount, KnownPerson]:
    """Session, account and person of a page that is not public."""
    found = visit()
    if found.session is None or found.account is None or found.person is None:
        raise ForbiddenError
    return found.session, found.account, found.person


def csrf_token() -> str:
    """The token that a form of this answer posts as `csrf_token`; a visitor keeps the cookie that it is bound to."""
    found = visit()
    if found.session is None and cookies.read(cookies.VISIT) != found.cookie:

        @after_this_request
        def keep(response: Response) -> Response:
            return cookies.put(response, cookies.VISIT, found.cookie)

    return cookies.csrf_token(found.cookie)


def stale_form() -> Response:
    """The page that answers a form which is too old, or was not sent from our page by this visitor."""
    advice = _("It was open for too long, or it was not sent from our page. Open the page again and repeat what you did.")
    return pages.render(
        "error.html", status=403, code=403, title=_("This form has expired"), advice=advice, problem="stale_form"
    )


def transaction(actor: Actor | None = None) -> AbstractContextManager[Tx]:
    """A unit of work on behalf of who is there, or of `actor`, in a view that was decorated with `unit=False`."""
    this = call()
    return runtime().services.controller.transaction(actor or visit().actor, this.now, request_id=this.id)


def stranger(service: Service) -> Actor:
    """Somebody who is not signed in and names a service: sees that service's accounts, as those who let them in do."""
    return Actor("client", "unauthenticated", service)


def redirected(path: str) -> Response:
    """Lead to a page by GET. The path is one of ours: of what a visitor sent, `own_path` makes one."""
    return current_app.make_response(redirect(path, 303))


def own_path(path: str | None) -> str:
    """`path` if it leads to a page of the portal, else the portal's first page: nobody is sent elsewhere."""
    if path is None or not path.startswith(HOME) or not path.isprintable() or "\\" in path or "//" in path or "/." in path:
        return HOME
    parts = urlsplit(path)
    return HOME if parts.scheme or parts.netloc else path


def here() -> str:
    """The page that was asked for, to come back to: one that can be opened, or the portal's first."""
    if request.method in SAFE:
        return own_path(request.path)
    try:
        current_app.create_url_adapter(request).match(request.path, method="GET")  # type: ignore[union-attr]  # of a request
    except HTTPException:
        return HOME
    return own_path(request.path)


def _visit(*, seen: bool) -> Visit:
    """Who is there by the session's cookie, kept for the rest of the request."""
    sent = cookies.read(cookies.SESSION)
    session = None if sent is None else _resumed(sent, seen=seen)
    found = Visit(STRANGER, cookies.visitor()) if session is None else Visit(session.actor, sent or "", session)
    g.visit = found
    call().act_as(found.actor)
    return found


def _resumed(cookie: str, *, seen: bool) -> Session | None:
    with transaction(STRANGER) as tx:
        return sessions.resume(tx, cookie, seen=seen)


def _know(tx: Tx) -> None:
    """Look up whose session it is; the frame around the page shows it, in that one's language."""
    found = visit()
    session = found.session
    if session is None:
        return
    account = accounts.find_account(tx, session.account_id)
    row = people.find_person(tx, session.account_id, session.person_id)
    person = KnownPerson(row, people.open_identity(account.key, row))
    policies = runtime().services.policies.known(call().now)
    announced = any(announcements.pending(tx, each, session.account_id, session.person_id) for each in policies)
    shown = banners.read(tx, session, account, person)
    g.visit = Visit(found.actor, found.cookie, session, account, person, announced, shown)
    setattr(g, pages.VISIT, g.visit)
    i18n.prefer(person.identity["locale"])


def _instead(session: Session, owner: bool, fresh: bool, restricted_ok: bool, back: str | None) -> Response | None:
    """Where to go before the page is shown, if anywhere. Raises ForbiddenError, AccountRestrictedError."""
    if owner and session.role != "owner":
        raise ForbiddenError
    if not restricted_ok and (session.account_status == "restricted" or session.restricted_at is not None):
        raise AccountRestrictedError
    if fresh and not sessions.is_fresh(session, call().now):
        return _led(PASSWORD, back or here())
    return None


def _led(to: str, back: str) -> Response:
    return redirected(to if back == HOME else f"{to}?{urlencode({'next': back})}")


def _is_our_form(cookie: str) -> bool:
    """Whether a change was sent from our page by this visitor; what changes nothing may come from anywhere."""
    return request.method in SAFE or (is_sent_from_here() and cookies.is_csrf_token(request.form.get(TOKEN, ""), cookie))


def is_sent_from_here() -> bool:
    """Whether the browser names no other site as the one that a form was sent from."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None and site not in OUR_SITE:
        return False
    # Browsers send the origin "null" from pages that send no Referer, ours among them.
    return origin is None or origin == "null" or _is_ours(origin)


def _is_ours(origin: str) -> bool:
    public = urlsplit(runtime().services.settings.issuer).netloc
    return origin.partition("://")[2] in {public, request.host}
