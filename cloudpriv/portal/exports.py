"""/portal/exports: a copy of the data to take along: begun, followed, and fetched with the password through a short link."""

from typing import Final
from uuid import UUID

from flask import Blueprint, Response, jsonify, request, url_for

from cloudpriv.api.endpoint import now
from cloudpriv.api.exports import archive_of
from cloudpriv.api.runtime import runtime
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.portal import guard, i18n, links, lists, own_requests, pages, said
from cloudpriv.rights import requests
from cloudpriv.rights.tables import Export

blueprint: Final = Blueprint("exports", __name__, url_prefix="/portal")
RUNNING: Final = frozenset({"pending", "running"})
LATE: Final = "late"  # what the page of an export says to whoever used a link that is over


@blueprint.get("/exports")
@guard.page()
def list_exports(tx: Tx) -> Response:
    """The exports that there were, latest first; owners see the account's, members their own."""
    session, _account, _person = guard.signed_in()
    rows = requests.list_latest(tx, session.account_id, exported=True, before=lists.begin_id(), limit=lists.LIMIT)
    shown, following = lists.split(rows, lambda each: each.row.request_id.bytes)
    found = [(each.answer, state_of(each.answer)) for each in shown]
    return pages.render("exports.html", exports=found, following=following, start=lists.start())


@blueprint.get("/exports/new")
@guard.page(fresh=True)
def show_new(_tx: Tx) -> Response:
    """Whose data, and in which language the readable page of the archive is."""
    return pages.render("export_new.html", languages_of_page=list(i18n.LANGUAGES.items()))


@blueprint.post("/exports/new")
@guard.page(fresh=True)
def begin(tx: Tx) -> Response:
    """Ask for a copy (GDPR Article 15); who asked for the same before is led to the export that runs."""
    whose = own_requests.about(request.form.get("about"))
    known = own_requests.ask(tx, "access", whose, language=request.form.get("language"))
    return guard.redirected(url_for("exports.show", export_id=known.answer.export_id))


@blueprint.get("/exports/<uuid:export_id>")
@guard.page()
def show(tx: Tx, export_id: UUID) -> Response:
    """How far an export is, or where to fetch it."""
    export = requests.read_export(tx, export_id)
    late = LATE in said.heard()
    return pages.render("export.html", export=export, state=state_of(export), late=late, period=_kept())


@blueprint.get("/exports/<uuid:export_id>/progress")
@guard.page(watching=True)
def progress(tx: Tx, export_id: UUID) -> Response:
    """What the page of an export asks for while it waits: percent, and whether there is something new to show."""
    status, percent = requests.progress_of(tx, export_id)
    return jsonify(progress=percent, ended=status not in RUNNING)


@blueprint.post("/exports/<uuid:export_id>")
@guard.page(fresh=True)
def fetch(tx: Tx, export_id: UUID) -> Response:
    """Make a link to the archive, for this session and five minutes, and lead there."""
    session, _account, _person = guard.signed_in()
    export = requests.read_export(tx, export_id)
    if state_of(export) != "ready":
        return guard.redirected(url_for("exports.show", export_id=export_id))
    return guard.redirected(url_for("exports.download", token=links.make(session.session_id, export_id)))


@blueprint.get("/download/<token>")
@guard.page(unit=False)
def download(token: str) -> Response:
    """The archive, as a stream. Raises NotFoundError for a link that is none of this session's."""
    session, _account, _person = guard.signed_in()
    link = links.read(session.session_id, token)
    if link is None:
        raise NotFoundError
    if link.expires_at <= now():
        return said.led(url_for("exports.show", export_id=link.export_id), LATE)
    return archive_of(link.export_id, guard.transaction)


def state_of(export: Export) -> str:
    """The state that a page tells: what is due to be erased is gone."""
    over = export.status == "ready" and (export.expires_at is None or export.expires_at <= now())
    return "expired" if over else export.status


def _kept() -> str:
    """How long archives are kept, in words."""
    period = runtime().services.policy.rule_for("export_archives").period
    return "" if period is None else i18n.period(period)
