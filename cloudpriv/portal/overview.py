"""/portal/: what the account is, how it stands, when it will be erased, and where to go from here."""

from typing import Final

from flask import Blueprint, Response

from cloudpriv.api.runtime import runtime
from cloudpriv.controller import accounts, people
from cloudpriv.controller.delivery import SERVICE_NAMES
from cloudpriv.platform.db import Tx
from cloudpriv.policy.register import Policy
from cloudpriv.portal import guard, i18n, lists, pages, said
from cloudpriv.retention import due
from cloudpriv.rights import requests

blueprint: Final = Blueprint("overview", __name__, url_prefix="/portal")


@blueprint.get("/")
@guard.page()
def show(tx: Tx) -> Response:
    """The first page after signing in; owners see who is in the account."""
    session, _account, person = guard.signed_in()
    account = accounts.read_account(tx, session.account_id)
    policy, row = runtime().services.policy, account.row
    owner = session.role == "owner"
    rows = people.list_people(tx, session.account_id, after=lists.begin_id(), limit=lists.LIMIT) if owner else []
    found, following = lists.split(rows, lambda each: each.row.person_id.bytes)
    return pages.render(
        "overview.html",
        account=account,
        person=person,
        service=SERVICE_NAMES[row.service],
        people=found,
        following=following,
        start=lists.start(),
        waiting=requests.count_open(tx, session.account_id),
        today=tx.now.date(),
        kept=row.status == "active" and people.are_kept_by_restriction(tx, row.account_id),
        erased_on=due.purge_due_on(policy, row.created_at, row.last_traffic_at),
        period=_period(policy),
        said=said.heard(),
    )


def _period(policy: Policy) -> str:
    """How long an account is kept after its latest traffic, in words."""
    period = due.rule(policy).period
    return "" if period is None else i18n.period(period)
