"""/portal/closing: an owner closes the account, undoes it within the cooling-off, and ends a restriction they obtained."""

from typing import Final

from flask import Blueprint, Response, request, url_for
from flask_babel import gettext as _

from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ConflictError
from cloudpriv.platform.text import normalised
from cloudpriv.portal import guard, own_requests, pages, said
from cloudpriv.rights import closure, own_restriction, restriction

blueprint: Final = Blueprint("closing", __name__, url_prefix="/portal")
PAGE: Final = "/portal/closing"
ASKED_TO_LIFT: Final = f"{guard.HOME}?lift=yes"  # the first page, with the question before a restriction is lifted


@blueprint.get("/closing")
@guard.page()
def show(_tx: Tx) -> Response:
    """What closing means, or how it stands."""
    _session, account, _person = guard.signed_in()
    return pages.render(
        "closing.html",
        status_of_account=account.row.status,
        by_staff=_is_restricted_by_staff(account),
        days=closure.COOLING_OFF.days,
        undone="undone" in said.heard(),
    )


@blueprint.get("/closing/confirm")
@guard.page(owner=True, fresh=True)
def show_confirm(_tx: Tx) -> Response:
    """The form in which the owner writes the account's name."""
    return _form(status=200)


@blueprint.post("/closing/confirm")
@guard.page(owner=True, fresh=True)
def close(tx: Tx) -> Response:
    """Begin to close the account, if its name was written; one that staff restricted waits for staff's decision."""
    _session, account, _person = guard.signed_in()
    if account.row.status == "closing":
        return guard.redirected(PAGE)
    if normalised(request.form.get("account_name", "")) != normalised(account.profile["account_name"]):
        return _form(status=422, fault=_("That is not the name of this account. Nothing was closed."))
    known = own_requests.ask(tx, "erasure", "account")
    if known.row.effective_at is None:  # it waits for staff
        return guard.redirected(url_for("requests.show", request_id=known.row.request_id))
    return guard.redirected(PAGE)


@blueprint.get("/closing/undo")
@guard.page()
def show_undo(_tx: Tx) -> Response:
    """The form to undo it stands on the page of the closing."""
    return guard.redirected(PAGE)


@blueprint.post("/closing/undo")
@guard.page(owner=True)
def undo(tx: Tx) -> Response:
    """Have the account stay. Raises AccountClosingError when the time for it is over."""
    session, _account, _person = guard.signed_in()
    try:
        closure.undo(tx, session.account_id)
    except ConflictError:  # somebody else undid it before
        return guard.redirected(PAGE)
    return said.led(PAGE, "undone")


@blueprint.post("/restriction/lift")
@guard.page(fresh=True, back=ASKED_TO_LIFT)
def lift(tx: Tx) -> Response:
    """End a restriction that who is signed in obtained, and say so. Raises ForbiddenError for another."""
    session, _account, person = guard.signed_in()
    if request.form.get("about") == "account":
        standing = own_restriction.lift_account(tx, session.account_id)
    elif person.row.restricted_at is not None:
        standing = own_restriction.lift_person(tx, session.account_id, session.person_id)
    else:  # it has ended meanwhile
        return guard.redirected(guard.HOME)
    return said.led(guard.HOME, "left" if standing.causes else "lifted")


def _is_restricted_by_staff(account: OpenedAccount) -> bool:
    return "staff" in restriction.causes(account.row)


def _form(*, status: int, fault: str | None = None) -> Response:
    _session, account, _person = guard.signed_in()
    name = account.profile["account_name"]
    return pages.render(
        "closing_confirm.html", status=status, account_name=name, state=account.row.status, fault=fault,
        by_staff=_is_restricted_by_staff(account),
        days=closure.COOLING_OFF.days,
    )  # fmt: skip
