"""/portal/ask: a request about one's own data without signing in, by a one-time code to the registered address.

Whoever exists and whoever does not is answered the same; a name and an e-mail address alone make nobody a request.
"""

from typing import Final
from uuid import UUID

from flask import Blueprint, Response, request
from flask_babel import gettext as _

from cloudpriv.api import throttle
from cloudpriv.api.endpoint import call
from cloudpriv.api.runtime import runtime
from cloudpriv.controller import people
from cloudpriv.platform.actor import HOLDER, Actor
from cloudpriv.platform.db import Tx
from cloudpriv.portal import cookies, guard, i18n, pages, request_words
from cloudpriv.portal.password import code_id_given
from cloudpriv.portal.request_forms import LONGEST
from cloudpriv.portal.request_words import KINDS
from cloudpriv.portal.sign_in import Names, names_given, services, waiting
from cloudpriv.rights import codes, handling
from cloudpriv.rights.requests import Identity, KnownRequest

blueprint: Final = Blueprint("ask", __name__, url_prefix="/portal/ask")
START: Final = "/portal/ask"
IN_WORDS: Final = frozenset({"rectification", "restriction", "objection"})  # nobody can do these without a word
TYPED: Final = ("code", "type", "text", "sure")


@blueprint.get("")
@guard.page(public=True, unit=False)
def show() -> Response:
    """The form that asks for a code."""
    return _start(status=200)


@blueprint.post("")
@guard.page(public=True, unit=False)
def send() -> Response:
    """Have a code mailed to whoever has these names; the answer is the same if nobody has."""
    names = names_given()
    if names is None:
        return _start(status=422, fault=_("Fill in all three fields."))
    wait = throttle.take(throttle.counts_of_code(cookies.device_of(*names)))
    if wait:
        return waiting(_start(status=429, wait=wait), wait)
    with guard.transaction(guard.stranger(names.service)) as tx:
        code_id = codes.ask(tx, *names, "identity", known=cookies.knows(*names))
    return _form(names, code_id, status=200)


@blueprint.get("/request")
@guard.page(public=True, unit=False)
def restart() -> Response:
    """The form of the request follows the one that asks for a code."""
    return guard.redirected(START)


@blueprint.post("/request")
@guard.page(public=True, unit=False)
def ask() -> Response:
    """Make a request about whoever typed the right code. One that says too little uses up no code."""
    names, code_id = names_given(), code_id_given()
    if names is None or code_id is None:
        return guard.redirected(START)
    faults = _faults()
    if faults:
        return _form(names, code_id, status=422, faults=faults)
    wait = throttle.take(throttle.counts_of_code(cookies.device_of(*names)))
    if wait:
        return waiting(_form(names, code_id, status=429, wait=wait), wait)
    known = _taken(names, code_id)
    if known is None:
        wrong = {"code": _("This code does not fit, or is no longer good.")}
        return _form(names, code_id, status=403, faults=wrong)
    throttle.forgive(throttle.counts_of_code(cookies.device_of(*names)))
    return _told(known)


def _taken(names: Names, code_id: UUID) -> KnownRequest | None:
    """The request of whoever typed the right code; None, and the try counted, for a wrong one.

    A code is used up by the request that it makes, or not at all.
    """
    with guard.transaction(guard.stranger(names.service)) as tx:
        account_id, person_id = codes.find_by_names(tx, *names)
        typed = request.form.get("code", "")
        used = codes.use(tx, account_id or code_id, code_id, typed, purpose="identity", person_id=person_id)
        if used is None or account_id is None or used.person_id != person_id:
            return None
        asker = _asker(tx, names, account_id, used.person_id)
        call().act_as(asker)
        return _received(tx.on_behalf_of(asker), account_id, used.person_id)


def _asker(tx: Tx, names: Names, account_id: UUID, person_id: UUID) -> Actor:
    kind: Final = "owner" if people.find_person(tx, account_id, person_id).role == "owner" else "member"
    return Actor(kind, str(person_id), names.service, frozenset({HOLDER}), account_id)


def _received(tx: Tx, account_id: UUID, person_id: UUID) -> KnownRequest:
    """The request, about the asker alone: for the account they sign in."""
    text = _text()
    return handling.receive(
        tx,
        runtime().services.policy,
        account_id,
        request.form["type"],
        person_id=person_id,
        channel="portal",
        details={"text": text} if text else None,
        identity=Identity("code", tx.actor.name),
        language=i18n.language(),
    )


def _faults() -> dict[str, str]:
    """What the form says too little or too much of, by the names of its fields."""
    type_, text = request.form.get("type", ""), _text()
    if type_ not in KINDS:
        return {"type": _("Choose what you ask for.")}
    if len(text) > LONGEST or "\0" in text:
        return {"text": _("Write at most 4,000 characters.")}
    if type_ in IN_WORDS and not text:
        return {"text": _("Write what it is about, and why.")}
    if type_ == "erasure" and request.form.get("sure") != "yes":
        return {"sure": _("Tick this if you want your data erased.")}
    return {}


def _text() -> str:
    return request.form.get("text", "").replace("\r\n", "\n").strip()


def _start(*, status: int, fault: str | None = None, wait: int = 0) -> Response:
    given = {name: request.form.get(name, "") for name in Names._fields}
    return pages.render("ask.html", status=status, given=given, services=services(), fault=fault, wait=wait)


def _form(names: Names, code_id: UUID, *, status: int, faults: dict[str, str] | None = None, wait: int = 0) -> Response:
    return pages.render(
        "ask_request.html",
        status=status,
        names=names,
        code_id=code_id,
        kinds=[(type_, kind.name) for type_, kind in KINDS.items()],
        given={name: request.form.get(name, "") for name in TYPED},
        faults=faults or {},
        wait=wait,
    )


def _told(known: KnownRequest) -> Response:
    outcome = known.details.get("outcome")
    told = None if outcome is None else request_words.phrase("outcomes", outcome)
    next_step = request_words.following(known, call().now.date())
    return pages.render("ask_taken.html", row=known.row, outcome=told, next_step=next_step, export=known.export)
