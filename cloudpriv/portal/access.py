"""/portal/access: who read or changed what, in words. Owners see the account's trail, members what is about themselves."""

from collections.abc import Hashable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
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
SIGN_IN: Final = "session.create"


@dataclass(frozen=True)
class Line:
    """What is told in one line: when last, who, what, the fields that were changed, and how often within that minute."""

    at: datetime
    who: str | LazyString
    what: str | LazyString
    fields: list[LazyString]
    about_you: bool
    times: int


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
    lines = _lines(shown, session, others=others)
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


def _lines(shown: Sequence[AuditEvent], session: Session, *, others: bool) -> list[Line]:
    """The events as they are told: a sign-in in one line, and what the same caller did over and over within a minute."""
    signed_in = {event.request_id for event in shown if event.action == SIGN_IN} - {None}
    told = [event for event in shown if not _is_half(event, session, signed_in, others=others)]
    return [_line(list(same), session) for _, same in groupby(told, key=lambda event: _told_alike(event, session))]


def _is_half(event: AuditEvent, session: Session, signed_in: Set[UUID | None], *, others: bool) -> bool:
    """Whether it is the right password of a sign-in that has its own line, or of one's own, where those are left out."""
    of_own = others and event.subject_id == session.person_id
    return deeds.is_right_password(event.action, event.actor_id) and (event.request_id in signed_in or of_own)


def _told_alike(event: AuditEvent, session: Session) -> tuple[Hashable, ...]:
    minute = event.at.replace(second=0, microsecond=0)
    about_you = event.subject_id == session.person_id
    return minute, event.actor_kind, event.actor_id, event.action, tuple(event.fields), about_you


def _line(same: list[AuditEvent], session: Session) -> Line:
    event, own = same[0], session.person_id
    fields = [deeds.field(name) for name in event.fields]
    who = deeds.actor(event.actor_kind, event.actor_id, own, session.service, event.action)
    times = len({each.request_id or each.event_id for each in same})  # one page may look at the same twice
    return Line(event.at, who, deeds.told(event.action), fields, event.subject_id == own, times)
