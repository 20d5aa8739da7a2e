"""Consents without signing in: the links of mails, one-click unsubscribing, and a form for who cannot sign in.

Opening a link changes nothing, since mail scanners open every one. The parts of these paths that are no ids are never in the
access log.
"""

from typing import Final

from flask import Blueprint, Response, request
from flask_babel import gettext as _

from cloudpriv.api import throttle
from cloudpriv.api.endpoint import PUBLIC, endpoint
from cloudpriv.api.runtime import runtime
from cloudpriv.platform.db import Tx
from cloudpriv.portal import guard, i18n, pages, sign_in
from cloudpriv.rights.consents import doors
from cloudpriv.rights.consents import records as consent_records
from cloudpriv.rights.consents.records import PURPOSES

blueprint: Final = Blueprint("unsubscribe", __name__, url_prefix="/portal")
ONE_CLICK: Final = ("List-Unsubscribe", "One-Click")


@blueprint.get("/consents/confirm/<token>")
@guard.page(public=True)
def look(tx: Tx, token: str) -> Response:
    """What the link of a mail asks, and a button that answers."""
    question = doors.look(tx, runtime().services.policy, token, _speak)
    return pages.render("consent_confirm.html", question=question, done=False)


@blueprint.post("/consents/confirm/<token>")
@guard.page(public=True)
def confirm(tx: Tx, token: str) -> Response:
    """Do what the link asks."""
    question = doors.confirm(tx, runtime().services.policy, token, _speak)
    return pages.render("consent_confirm.html", question=question, done=True)


@blueprint.get("/unsubscribe/<token>")
@guard.page(public=True)
def before_leaving(tx: Tx, token: str) -> Response:
    """What the link unsubscribes from, and a button that does it."""
    leaving = doors.look_before_leaving(tx, token)
    return _unsubscribed(leaving)


@blueprint.post("/unsubscribe/<token>")
@endpoint(PUBLIC)
def leave(token: str) -> Response:
    """Unsubscribe at once, on the word of whoever has the link (RFC 8058): no cookie, no token of a form, no questions."""
    name, value = ONE_CLICK
    if request.form.get(name) != value:
        return pages.error(400, "invalid")
    with guard.transaction(guard.STRANGER) as tx:
        return _unsubscribed(doors.unsubscribe(tx, runtime().services.policy, token))


@blueprint.get("/unsubscribe")
@guard.page(public=True, unit=False)
def show_form() -> Response:
    """A form for who cannot sign in and has no mail with a link."""
    return _form(status=200)


@blueprint.post("/unsubscribe")
@guard.page(public=True, unit=False)
def ask_by_form() -> Response:
    """Have a link mailed to whoever has these names and consented; the answer is the same if nobody did."""
    names, purpose = sign_in.names_given(), request.form.get("purpose", "")
    if names is None or purpose not in PURPOSES:
        return _form(status=422, fault=_("Fill in all four fields."))
    wait = throttle.take(throttle.counts_of_code())
    if wait:
        return sign_in.waiting(_form(status=429, wait=wait), wait)
    with guard.transaction(guard.stranger(names.service)) as tx:
        doors.ask_to_withdraw(tx, runtime().services.policy, purpose, **names._asdict())
    return _form(status=200, sent=True)


def _speak(locale: str | None) -> str:
    """Show the page in the language of the person whom the mail was for, unless another one was chosen."""
    i18n.prefer(locale)
    return i18n.language()


def _unsubscribed(leaving: doors.Leaving) -> Response:
    title = consent_records.texts(leaving.purpose)["title"][_speak(leaving.locale)]
    return pages.render("unsubscribe.html", title=title, done=leaving.done)


def _form(*, status: int, fault: str | None = None, wait: int = 0, sent: bool = False) -> Response:
    given = {name: request.form.get(name, "")[: sign_in.LONGEST_NAME] for name in (*sign_in.Names._fields, "purpose")}
    purposes = [(each, consent_records.texts(each)["title"][i18n.language()]) for each in PURPOSES]
    return pages.render(
        "unsubscribe_form.html",
        status=status,
        given=given,
        services=sign_in.services(),
        purposes=purposes,
        fault=fault,
        wait=wait,
        sent=sent,
    )
