"""/portal/access: who read or changed what, in words. Owners see the account's trail, members what is about themselves."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from flask import Blueprint, Response, request
from flask_babel import LazyString

from cloudpriv.audit import trail
from cloudpriv.audit.events import AuditEvent
from cloudpriv.controller.sessions import Session
from cloudpriv.platform.db import Tx
from cloudpriv.portal import deeds, guard, lists, pages

blueprint: Final = Blueprint("access", __name__, url_prefix="/portal/access")
INCOMING: Final = "incoming"
OTHERS: Final = "others"


@dataclass(frozen=True)
class Line:
    """One event as it is told: when, who, what, and the fields that were changed."""

    at: datetime
    who: str | LazyString
    what: str | LazyString
    fields: list[LazyString]
    about_you: bool


@blueprint.get("")
@guard.page()
def show(tx: Tx) -> Response:
    """The trail, latest first; that devices sent traffic is in it on demand."""
    session, _, _ = guard.signed_in()
    incoming, others = (request.args.get(name) == "yes" for name in (INCOMING, OTHERS))
    rows = trail.list_latest(
        tx,
        session.account_id,
        person_id=None if session.role == "owner" else session.person_id,
        incoming=incoming,
        but_of=session.person_id if others else None,
        before=lists.begin_id(),
        limit=lists.LIMIT,
    )
    shown, following = lists.split(rows, lambda event: event.event_id.bytes)
    lines = [_line(event, session) for event in shown]
    return pages.render(
        "access.html",
        lines=lines,
        incoming=incoming,
        others=others,
        switch_incoming=lists.address(incoming=None if incoming else "yes", cursor=None),
        switch_others=lists.address(others=None if others else "yes", cursor=None),
        following=following,
        start=lists.start(),
    )


def _line(event: AuditEvent, session: Session) -> Line:
    fields = [deeds.field(name) for name in event.fields]
    own: UUID = session.person_id
    who = deeds.actor(event.actor_kind, event.actor_id, own, session.service)
    return Line(event.at, who, deeds.told(event.action), fields, event.subject_id == own)
