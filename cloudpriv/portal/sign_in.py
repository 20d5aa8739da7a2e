"""/portal/sign-in: with service, account name, username and password; whatever is wrong, the answer is the same."""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from flask import Blueprint, Response, request
from flask_babel import gettext as _

from cloudpriv.api import throttle
from cloudpriv.api.endpoint import call
from cloudpriv.api.runtime import runtime
from cloudpriv.api.throttle import Count
from cloudpriv.controller import credentials, sessions
from cloudpriv.controller.credentials import Verified
from cloudpriv.controller.delivery import SERVICE_NAMES
from cloudpriv.platform.actor import HOLDER, SERVICES, Actor, Service
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import InvalidCredentialsError
from cloudpriv.portal import browsers, cookies, guard, pages
from cloudpriv.rights import owners

blueprint: Final = Blueprint("sign_in", __name__, url_prefix="/portal")
LONGEST_NAME: Final = 100
LONGEST_PASSWORD: Final = 1024
OWNERS: Final = "/portal/owners"


class Names(NamedTuple):
    """Who somebody says they are."""

    service: Service
    account_name: str
    username: str


@blueprint.get("/sign-in")
@guard.page(public=True, unit=False)
def show() -> Response:
    """The form; whoever is signed in goes to the first page."""
    if guard.visit().session is not None:
        return led(request.args.get("next"))
    return _form(status=200)


@blueprint.post("/sign-in")
@guard.page(public=True, unit=False)
def enter() -> Response:
    """Begin a session, under a cookie that nobody knew before, and end the one that the browser had."""
    names, password = names_given(), request.form.get("password", "")
    if names is None or not 0 < len(password) <= LONGEST_PASSWORD:
        return _form(status=422, fault=_("Fill in all four fields."))
    counts = counts_of(names)
    wait = throttle.take(counts)
    if wait:
        return waiting(_form(status=429, wait=wait), wait)
    try:
        found = _verified(names, password)
        throttle.forgive(counts)
        return let_in(
            names, found.account_id, found.person_id, found.role, request.form.get("next"), changed_at=found.changed_at
        )
    except InvalidCredentialsError:
        return _form(status=403, fault=_("That did not fit. Check all four fields: we do not tell which one is wrong."))


@blueprint.post("/sign-out")
@guard.page()
def sign_out(tx: Tx) -> Response:
    """End this session."""
    session, _account, _person = guard.signed_in()
    sessions.end(tx, session)
    return cookies.drop(guard.redirected(guard.SIGN_IN), cookies.SESSION)


def names_given() -> Names | None:
    """The names that a form was filled in with; None when one is missing or longer than any is."""
    service, given = request.form.get("service", ""), [request.form.get(name, "") for name in ("account_name", "username")]
    known: Service | None = next((each for each in SERVICES if each == service), None)
    if known is None or not all(0 < len(name.strip()) <= LONGEST_NAME for name in given):
        return None
    return Names(known, *given)


def counts_of(names: Names) -> tuple[Count, ...]:
    """What an attempt at the password of somebody of these names is counted by, in this browser."""
    return throttle.counts_of_sign_in(*names, known=cookies.device_of(*names))


def let_in(
    names: Names, account_id: UUID, person_id: UUID, role: str, back: str | None, *, changed_at: datetime
) -> Response:
    """Begin a session of somebody who has just shown who they are, end the one that the browser had, and lead to a page.

    Raises InvalidCredentialsError when the password is another by now than that of `changed_at`.
    """
    person = Actor("owner" if role == "owner" else "member", str(person_id), names.service, frozenset({HOLDER}), account_id)
    call().act_as(person)
    with guard.transaction(person) as tx:
        credentials.require_unchanged(tx, account_id, person_id, changed_at)
        _session, cookie = sessions.begin(tx, account_id, person_id, browsers.family(request.headers.get("User-Agent")))
        asked = role == "owner" and owners.find_waiting(tx, account_id) is not None
    before = guard.visit().session
    if before is not None:
        with guard.transaction(before.actor) as tx:
            sessions.end(tx, before)
    response = cookies.put(led(OWNERS if asked else back), cookies.SESSION, cookie)
    return cookies.put_device(cookies.drop(response, cookies.VISIT), *names)


def led(to: str | None) -> Response:
    """Lead to a page of the portal, or to its first."""
    return guard.redirected(guard.own_path(to))


def waiting(response: Response, seconds: int) -> Response:
    """The response, saying to programs too when to come again."""
    response.headers["Retry-After"] = str(seconds)
    return response


def services() -> list[tuple[str, str]]:
    """What a person chooses their service from."""
    return [(each, SERVICE_NAMES[each]) for each in SERVICES]


def _verified(names: Names, password: str) -> Verified:
    stranger = guard.stranger(names.service)
    return credentials.verify(lambda: guard.transaction(stranger), runtime().passwords, **names._asdict(), password=password)


def _form(*, status: int, fault: str | None = None, wait: int = 0) -> Response:
    given = {name: request.form.get(name, "")[:LONGEST_NAME] for name in Names._fields}
    back = guard.own_path(request.values.get("next"))
    return pages.render("sign_in.html", status=status, given=given, services=services(), fault=fault, wait=wait, back=back)
