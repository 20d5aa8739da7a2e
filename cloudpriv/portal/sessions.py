"""/portal/sessions: where a person is signed in, and signing out there."""

from typing import Final
from uuid import UUID

from flask import Blueprint, Response

from cloudpriv.controller import sessions
from cloudpriv.platform.db import Tx
from cloudpriv.portal import cookies, guard, pages

blueprint: Final = Blueprint("own_sessions", __name__, url_prefix="/portal/sessions")
LIST: Final = "/portal/sessions"


@blueprint.get("")
@guard.page()
def show(tx: Tx) -> Response:
    """The person's own sessions, this one among them."""
    session, _account, _person = guard.signed_in()
    found = sessions.list_sessions(tx, session.account_id, session.person_id)
    return pages.render("sessions.html", sessions=found, this=session.session_id)


@blueprint.post("/<uuid:session_id>/end")
@guard.page(fresh=True, back=LIST)
def end(tx: Tx, session_id: UUID) -> Response:
    """End one of them."""
    session, _account, _person = guard.signed_in()
    sessions.end_one(tx, session.account_id, session.person_id, session_id)
    return _signed_out() if session_id == session.session_id else guard.redirected(LIST)


@blueprint.post("/end-all")
@guard.page(fresh=True, back=LIST)
def end_all(tx: Tx) -> Response:
    """End all of them, this one too."""
    session, _account, _person = guard.signed_in()
    sessions.end_all(tx, session.account_id, session.person_id)
    return _signed_out()


def _signed_out() -> Response:
    return cookies.drop(guard.redirected(guard.SIGN_IN), cookies.SESSION)
