"""/portal/password: the password once more, before what must not happen in somebody else's browser; and a new one by mail.

A code that was mailed to the registered address lets in whoever forgot the password, or has to wait because somebody else
guessed at it: by setting a new one. Who knows it sets a new one without a code.
"""

from typing import Final
from uuid import UUID

from flask import Blueprint, Response, request
from flask_babel import gettext as _

from cloudpriv.api import throttle
from cloudpriv.api.endpoint import now
from cloudpriv.api.runtime import runtime
from cloudpriv.controller import credentials, new_passwords, outbox, own_password, people, sessions
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import InvalidCredentialsError, UnauthenticatedError
from cloudpriv.portal import cookies, guard, pages, password_words
from cloudpriv.portal.password_words import NotTakenError
from cloudpriv.portal.sign_in import LONGEST_PASSWORD, Names, counts_of, led, let_in, names_given, services, waiting
from cloudpriv.rights import code_mails, codes

blueprint: Final = Blueprint("password", __name__, url_prefix="/portal")
CODE: Final = "/portal/sign-in/code"


@blueprint.get("/password")
@guard.page(unit=False)
def show() -> Response:
    """The form that asks for the password once more."""
    return _confirmation(status=200)


@blueprint.post("/password")
@guard.page(unit=False)
def confirm() -> Response:
    """Have the session go on under a new cookie, and do for five minutes what asks for the password."""
    session, _account, _person = guard.signed_in()
    names, password = _own_names(), request.form.get("password", "")
    counts = counts_of(names)
    wait = throttle.take(counts)
    if wait:
        return waiting(_confirmation(status=429, wait=wait), wait)
    try:
        _check(names, password)
    except InvalidCredentialsError:
        return _confirmation(status=403, fault=_("That is not the password of this sign-in."))
    throttle.forgive(counts)
    with guard.transaction() as tx:
        _session, cookie = sessions.confirm_password(tx, session)
    return cookies.put(led(request.form.get("next")), cookies.SESSION, cookie)


@blueprint.get("/change-password")
@guard.page(fresh=True)
def show_change(_tx: Tx) -> Response:
    """The form of a new password, for who has just given the current one."""
    return pages.render("change_password.html", wrong={})


@blueprint.post("/change-password")
@guard.page(fresh=True, unit=False)
def change_own() -> Response:
    """Set a new password, sign out everywhere, and begin a new session here."""
    session, account, person = guard.signed_in()
    names, password = _own_names(), request.form.get("password", "")
    try:
        password_words.check(new_passwords.about(account, person.identity))
    except NotTakenError as fault:
        return pages.render("change_password.html", status=422, wrong={"password": str(fault)})
    password_hash = runtime().passwords.hash(password)
    try:
        with guard.transaction() as tx:
            sessions.require(tx, session)  # of two who change it at once, the other's change ended this session
            _set(tx, session.account_id, session.person_id, password_hash, session.session_id)
        return let_in(names, session.account_id, session.person_id, session.role, "/portal/sessions", changed_at=now())
    except (UnauthenticatedError, InvalidCredentialsError):
        return guard.redirected(guard.SIGN_IN)


@blueprint.get("/sign-in/code")
@guard.page(public=True, unit=False)
def show_code() -> Response:
    """The form that asks for a code."""
    return _asking(status=200)


@blueprint.post("/sign-in/code")
@guard.page(public=True, unit=False)
def ask() -> Response:
    """Have a code mailed to whoever has these names; the answer is the same if nobody has."""
    names = names_given()
    if names is None:
        return _asking(status=422, fault=_("Fill in all three fields."))
    wait = throttle.take(throttle.counts_of_code(cookies.device_of(*names)))
    if wait:
        return waiting(_asking(status=429, wait=wait), wait)
    with guard.transaction(guard.stranger(names.service)) as tx:
        code_id = codes.ask(tx, *names, "password", known=cookies.knows(*names))
    return _new_password(names, code_id, status=200)


@blueprint.get("/new-password")
@guard.page(public=True, unit=False)
def restart() -> Response:
    """The form of a new password follows the one that asks for a code."""
    return guard.redirected(CODE)


@blueprint.post("/new-password")
@guard.page(public=True, unit=False)
def change() -> Response:
    """Set a new password with a code, and begin a session. A password that is not taken uses up no code."""
    names, code_id = names_given(), code_id_given()
    if names is None or code_id is None:
        return guard.redirected(CODE)
    try:
        return _taken(names, code_id)
    except NotTakenError as fault:
        return _new_password(names, code_id, status=422, wrong={"password": str(fault)})


def _taken(names: Names, code_id: UUID) -> Response:
    """Raises NotTakenError. A password is judged for whoever typed the right code: that takes long, and tells names."""
    password_words.check_same()
    counts = throttle.counts_of_code(cookies.device_of(*names))
    wait = throttle.take(counts)
    if wait:
        return waiting(_new_password(names, code_id, status=429, wait=wait), wait)
    try:
        changed = _changed(names, code_id)
    except NotTakenError:
        throttle.forgive(counts)
        raise
    return changed or _new_password(
        names, code_id, status=403, wrong={"code": _("This code does not fit, or is no longer good.")}
    )


def _changed(names: Names, code_id: UUID) -> Response | None:
    """Let in whoever typed the right code, with the new password; None, and the try counted, for a wrong one."""
    password_hash = runtime().passwords.hash(request.form["password"])
    with guard.transaction(guard.stranger(names.service)) as tx:
        account_id, person_id = codes.find_by_names(tx, *names)
        typed = request.form.get("code", "")
        used = codes.use(tx, account_id or code_id, code_id, typed, purpose="password", person_id=person_id)
        if used is None or account_id is None or used.person_id != person_id:
            return None
        password_words.check(new_passwords.read_about(tx, account_id, used.person_id))  # a fault leaves the code unused
        _set(tx, account_id, used.person_id, password_hash, code_id)
        role = people.find_person(tx, account_id, used.person_id).role
    throttle.forgive(throttle.own_counts(counts_of(names)))
    throttle.forgive(throttle.counts_of_code(cookies.device_of(*names)))
    return let_in(names, account_id, used.person_id, role, None, changed_at=now())


def _set(tx: Tx, account_id: UUID, person_id: UUID, password_hash: str, by: UUID) -> None:
    """Set a password and tell the person, by mail, that it was; `by` is the code or the session that did it."""
    own_password.set_own_password(tx, account_id, person_id, password_hash)
    outbox.queue_mail(tx, code_mails.CHANGED, account_id, person_id, by)


def _own_names() -> Names:
    session, account, person = guard.signed_in()
    return Names(session.actor.service or "talk2m", account.profile["account_name"], person.identity["username"])


def _check(names: Names, password: str) -> None:
    """Raises InvalidCredentialsError."""
    if not 0 < len(password) <= LONGEST_PASSWORD:
        raise InvalidCredentialsError
    found = credentials.verify(guard.transaction, runtime().passwords, **names._asdict(), password=password)
    session, _account, _person = guard.signed_in()
    if (found.account_id, found.person_id) != (session.account_id, session.person_id):
        raise InvalidCredentialsError


def code_id_given() -> UUID | None:
    """The id of the code that a form is about, if it has one."""
    try:
        return UUID(request.form.get("code_id", ""))
    except ValueError:
        return None


def _confirmation(*, status: int, fault: str | None = None, wait: int = 0) -> Response:
    session, account, person = guard.signed_in()
    if sessions.is_fresh(session, now()) and status == 200:
        return led(request.args.get("next"))
    username, name = person.identity["username"], account.profile["account_name"]
    back = guard.own_path(request.values.get("next"))
    return pages.render(
        "password.html", status=status, username=username, account_name=name, fault=fault, wait=wait, back=back
    )


def _asking(*, status: int, fault: str | None = None, wait: int = 0) -> Response:
    given = {name: request.form.get(name, "") for name in Names._fields}
    return pages.render("code.html", status=status, given=given, services=services(), fault=fault, wait=wait)


def _new_password(
    names: Names, code_id: UUID, *, status: int, wrong: dict[str, str] | None = None, wait: int = 0
) -> Response:
    return pages.render("new_password.html", status=status, names=names, code_id=code_id, wrong=wrong or {}, wait=wait)
