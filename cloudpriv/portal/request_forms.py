"""What a form asks for, as a request keeps it: one form may ask for several corrections, each a request of its own."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from flask import request
from flask_babel import gettext as _
from marshmallow import ValidationError

from cloudpriv.api.schemas import Strict, short_text
from cloudpriv.portal import guard, own_requests
from cloudpriv.portal.own_requests import About
from cloudpriv.portal.request_words import RESTRICTION_GROUNDS

LONGEST: Final = 4000
NAMES: Final = ("username", "account_name")


class Asked(NamedTuple):
    """One request: about whom, and what it says."""

    about: About
    details: dict[str, Any]


class Names(Strict):
    """Names that people correct themselves; the rest of what identifies them is on the page of their identity."""

    username = short_text("kim", longest=100)
    account_name = short_text("acme-water", longest=100)


Faults = dict[str, str]


def read(type_: str) -> tuple[list[Asked], Faults]:
    """What the form of a type asks for, and what is wrong with it by the names of its fields.

    Raises ForbiddenError for a member who asks about the account.
    """
    if type_ == "rectification":
        return _corrections()
    whose: About = "person" if type_ == "erasure" else own_requests.about(request.form.get("about"))
    details, faults = {
        "erasure": _erasure,
        "restriction": _restriction,
        "objection": _objection,
    }.get(type_, _nothing)()
    return [Asked(whose, details)], faults


def present() -> dict[str, str]:
    """The names as they are."""
    _session, account, person = guard.signed_in()
    return {"username": person.identity["username"], "account_name": account.profile["account_name"]}


def _nothing() -> tuple[dict[str, Any], Faults]:
    return {}, {}


def _erasure() -> tuple[dict[str, Any], Faults]:
    sure = request.form.get("sure") == "yes"
    return {}, {} if sure else {"sure": _("Tick this if you want your data erased.")}


def _restriction() -> tuple[dict[str, Any], Faults]:
    text, faults = _text()
    ground = RESTRICTION_GROUNDS.get(request.form.get("ground", ""))
    if ground is None:
        faults["ground"] = _("Choose what applies.")
    return {"why": str(ground), **({"text": text} if text else {})}, faults


def _objection() -> tuple[dict[str, Any], Faults]:
    text, faults = _text()
    if not text and not faults:
        faults["text"] = _("Write what you object to, and why.")
    return {"text": text, "restrict": request.form.get("restrict") == "yes"}, faults


def _corrections() -> tuple[list[Asked], Faults]:
    text, faults = _text()
    changes, wrong = _changed_names()
    faults |= wrong
    found = [
        Asked("account" if name == "account_name" else "person", {"changes": {name: changes[name]}}) for name in changes
    ]
    if text:
        found.append(Asked(own_requests.about(request.form.get("about")), {"text": text}))
    if not found and not faults:
        faults["text"] = _("Change a name above, or write what is wrong and what is right.")
    return found, faults


def _changed_names() -> tuple[Mapping[str, str], Faults]:
    session, _account, _person = guard.signed_in()
    allowed = NAMES if session.role == "owner" else NAMES[:1]
    known = present()
    given = {name: request.form[name].strip() for name in allowed if name in request.form}
    changed = {name: value for name, value in given.items() if value != known[name]}
    try:
        loaded: dict[str, str] = Names().load(changed)
    except ValidationError as fault:
        return {}, {name: _("Write between 1 and 100 characters.") for name in fault.messages_dict}
    return loaded, {}


def _text() -> tuple[str, Faults]:
    text = request.form.get("text", "").replace("\r\n", "\n").strip()
    if len(text) > LONGEST or "\0" in text:
        return "", {"text": _("Write at most 4,000 characters.")}
    return text, {}
