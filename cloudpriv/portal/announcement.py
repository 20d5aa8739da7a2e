"""/portal/announcement: a major change of the policy, shown to an owner until they say that they saw it."""

from typing import Final

from flask import Blueprint, Response, request

from cloudpriv.api.endpoint import call
from cloudpriv.api.runtime import runtime
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.policy.register import Policy
from cloudpriv.portal import guard, pages
from cloudpriv.rights import announcements

blueprint: Final = Blueprint("announcement", __name__, url_prefix="/portal/announcement")


@blueprint.get("")
@guard.page()
def show(tx: Tx) -> Response:
    """What changed or will change, where to read it, and what can be done about it."""
    session, account, _person = guard.signed_in()
    policies, now = runtime().services.policies, call().now
    waiting = [
        each for each in policies.known(now) if announcements.pending(tx, each, session.account_id, session.person_id)
    ]
    policy = waiting[0] if waiting else _last_announced(policies.known(now))
    return pages.render(
        "announcement.html",
        version=policy.version,
        valid_from=policy.valid_from,
        comes=policy is policies.after(now),
        pending=bool(waiting),
        controller=policy.controller_of(account.row.service),
    )


@blueprint.post("")
@guard.page()
def acknowledge(tx: Tx) -> Response:
    """Note that the version was seen that the form names; it is not shown again."""
    session, _account, _person = guard.signed_in()
    found = [each for each in runtime().services.policies.known(call().now) if each.version == request.form.get("version")]
    if not found:
        raise NotFoundError
    announcements.acknowledge(tx, found[0], session.account_id, session.person_id)
    return guard.redirected(guard.HOME)


def _last_announced(known: tuple[Policy, ...]) -> Policy:
    """The newest version that is told of at all; the one in force where none is."""
    return next((each for each in reversed(known) if each.major), known[0])
