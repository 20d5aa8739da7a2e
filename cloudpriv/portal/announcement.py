"""/portal/announcement: a major change of the policy, shown to an owner until they say that they saw it."""

from typing import Final

from flask import Blueprint, Response

from cloudpriv.api.runtime import runtime
from cloudpriv.platform.db import Tx
from cloudpriv.portal import guard, pages
from cloudpriv.rights import announcements

blueprint: Final = Blueprint("announcement", __name__, url_prefix="/portal/announcement")


@blueprint.get("")
@guard.page()
def show(tx: Tx) -> Response:
    """What changed, where to read it, and what can be done about it."""
    session, account, _person = guard.signed_in()
    policy = runtime().services.policy
    return pages.render(
        "announcement.html",
        valid_from=policy.valid_from,
        pending=announcements.pending(tx, policy, session.account_id, session.person_id),
        controller=policy.controller_of(account.row.service),
    )


@blueprint.post("")
@guard.page()
def acknowledge(tx: Tx) -> Response:
    """Note that it was seen; it is not shown again."""
    session, _account, _person = guard.signed_in()
    announcements.acknowledge(tx, runtime().services.policy, session.account_id, session.person_id)
    return guard.redirected(guard.HOME)
