"""/portal/requests: what was asked under the GDPR, on these pages or entered by staff: made, followed, withdrawn."""

from typing import Any, Final, cast
from uuid import UUID

from flask import Blueprint, Response, g, request, url_for
from flask_babel import gettext as _

from cloudpriv.api.runtime import runtime
from cloudpriv.controller.sessions import Session
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ConflictError, NotFoundError
from cloudpriv.portal import cookies, deeds, guard, i18n, lists, own_requests, pages, request_forms, request_words
from cloudpriv.portal.request_forms import Asked
from cloudpriv.portal.request_words import KINDS, RESTRICTION_GROUNDS
from cloudpriv.rights import handling, requests, restriction
from cloudpriv.rights.articles import cited
from cloudpriv.rights.cases.exports import EXPORTED
from cloudpriv.rights.cases.grounds import GROUNDS, RequestType
from cloudpriv.rights.cases.states import OPEN
from cloudpriv.rights.requests import KnownRequest
from cloudpriv.rights.tables import SubjectRequest

blueprint: Final = Blueprint("requests", __name__, url_prefix="/portal/requests")


@blueprint.get("")
@guard.page()
def list_requests(tx: Tx) -> Response:
    """The requests of the account, latest first; members see those about themselves."""
    session, _account, _person = guard.signed_in()
    rows = requests.list_latest(tx, session.account_id, before=lists.begin_id(), limit=lists.LIMIT)
    shown, following = lists.split(rows, lambda each: each.row.request_id.bytes)
    found = [(each.row, request_words.named(each.row)) for each in shown]
    return pages.render("requests.html", requests=found, following=following, start=lists.start(), today=tx.now.date())


@blueprint.get("/new")
@guard.page()
def show_types(_tx: Tx) -> Response:
    """What may be asked for, in plain words."""
    return pages.render("request_types.html", kinds=KINDS)


@blueprint.get("/new/<type_>")
@guard.page(fresh=True)
def show_new(_tx: Tx, type_: str) -> Response:
    """The form of one type."""
    return _form(_known(type_), status=200)


@blueprint.post("/new/<type_>")
@guard.page(fresh=True, unit=False)
def ask(type_: str) -> Response:
    """Make the requests that a form asks for; all of them, or none."""
    known = _known(type_)
    asked, faults = request_forms.read(known)
    if faults:
        return _form(known, status=422, faults=faults)
    made: list[KnownRequest] = []
    try:
        with guard.transaction() as tx:
            for each in asked:
                made.append(_made(tx, known, each))  # noqa: PERF401  how many were made is told by a conflict
    except ConflictError:
        return _form(known, status=409, faults=_conflict(asked[len(made) :]))
    return _after(made[0], several=len(made) > 1)


@blueprint.get("/<uuid:request_id>")
@guard.page()
def show(tx: Tx, request_id: UUID) -> Response:
    """How a request stands, what happens next, and what was decided."""
    session, account, _person = guard.signed_in()
    known = requests.read_request(tx, request_id)
    row, policy = known.row, runtime().services.policy
    return pages.render(
        "request.html",
        row=row,
        export=known.export,
        details=known.details,
        changes=[deeds.field(name) for name in known.details.get("fields") or known.details.get("changes") or ()],
        name=request_words.named(row),
        channel=request_words.CHANNELS[row.channel],
        method=request_words.METHODS[row.identity_method] if row.identity_method else None,
        next_step=request_words.following(known, tx.now.date()),
        today=tx.now.date(),
        withdrawable=_is_withdrawable(row, session),
        closing=_is_closing(row),
        lifted=_is_lifted(tx, known),
        controller=policy.controller_of(account.row.service),
        **_answer(known),
    )


@blueprint.post("/<uuid:request_id>/withdraw")
@guard.page()
def withdraw(tx: Tx, request_id: UUID) -> Response:
    """End a request on its asker's word."""
    handling.withdraw(tx, request_id)
    return guard.redirected(url_for("requests.show", request_id=request_id))


def _known(type_: str) -> RequestType:
    """Raises NotFoundError for a type that is none."""
    if type_ not in KINDS:
        raise NotFoundError
    return cast(RequestType, type_)


def _made(tx: Tx, type_: RequestType, asked: Asked) -> KnownRequest:
    return own_requests.ask(tx, type_, asked.about, details=asked.details, language=request.form.get("language"))


def _conflict(unmade: list[Asked]) -> dict[str, str]:
    """What is wrong by the name of its field, after the first of these could not be made."""
    changes = unmade[0].details.get("changes", {}) if unmade else {}
    taken = {name: _("This name is taken. Choose another one.") for name in changes}
    return taken or {"": _("That cannot be done: it was done before.")}


def _after(made: KnownRequest, *, several: bool) -> Response:
    """The page that shows what came of it; whoever had themselves erased can open none any more."""
    row = made.row
    if row.type == "erasure" and row.scope == "person" and row.status == "completed":  # not one that waits for staff
        return _farewell(made.details.get("outcome", "erased"))
    if row.type in EXPORTED and made.export is not None:
        return guard.redirected(url_for("exports.show", export_id=made.export.export_id))
    if several:
        return guard.redirected(url_for("requests.list_requests"))
    return guard.redirected(url_for("requests.show", request_id=row.request_id))


def _farewell(outcome: str) -> Response:
    setattr(g, pages.VISIT, None)
    page = pages.render("request_erased.html", outcome=request_words.phrase("outcomes", outcome))
    return cookies.drop(cookies.drop(page, cookies.SESSION), cookies.DEVICE)


def _form(type_: RequestType, *, status: int, faults: dict[str, str] | None = None) -> Response:
    given = {name: request.form.get(name, "") for name in ("about", "text", "ground", "restrict", "sure", "language")}
    names = request_forms.present()
    return pages.render(
        "request_new.html",
        status=status,
        type_=type_,
        kind=KINDS[type_],
        given={**given, **{name: request.form.get(name, value) for name, value in names.items()}},
        faults=faults or {},
        grounds=list(RESTRICTION_GROUNDS.items()),
        page_languages=list(i18n.LANGUAGES.items()),
    )


def _answer(known: KnownRequest) -> dict[str, Any]:
    """What was decided, in words, and whom to complain to."""
    row, details = known.row, known.details
    authority, language = runtime().services.policy.supervisory_authority, i18n.language()
    reason = details.get("decision", {}).get("reason")
    outcome, ground = details.get("outcome"), row.ground if known.is_told else None
    return {
        "outcome": None if outcome is None else request_words.phrase("outcomes", outcome),
        "ground": None if ground is None else request_words.phrase("grounds", ground),
        "article": None if ground is None else cited(GROUNDS[ground][row.type], language),
        "reason": None if reason is None else request_words.phrase("reasons", reason),
        "extension": details.get("extension", {}).get("reason"),
        "authority": authority,
        "authority_name": authority.name.get(language, authority.name["en"]),
    }


def _is_closing(row: SubjectRequest) -> bool:
    return row.status == "in_progress" and row.effective_at is not None


def _is_lifted(tx: Tx, known: KnownRequest) -> bool:
    """Whether what the request restricted is restricted no more."""
    row = known.row
    if known.details.get("outcome") != "restricted" or (row.scope == "person" and row.person_id is None):
        return False
    return not restriction.standing(tx, row.account_id, row.person_id).causes


def _is_withdrawable(row: SubjectRequest, session: Session) -> bool:
    """Whether who is signed in may withdraw it: an owner the account's, everybody their own."""
    own = session.role == "owner" if row.scope == "account" else row.person_id == session.person_id
    return row.status in OPEN and own
