"""/portal/: what the account is, how it stands, when it will be erased, and where to go from here."""

from typing import Final
from uuid import UUID

from flask import Blueprint, Response

from cloudpriv.api.runtime import runtime
from cloudpriv.controller import accounts, people
from cloudpriv.controller.outbox import SERVICE_NAMES
from cloudpriv.platform.db import Tx
from cloudpriv.policy.register import Policy
from cloudpriv.portal import guard, i18n, lists, pages
from cloudpriv.retention import due
from cloudpriv.rights import requests
from cloudpriv.rights.requests import KnownRequest

blueprint: Final = Blueprint("overview", __name__, url_prefix="/portal")
ENDED: Final = frozenset({"completed", "refused", "withdrawn"})
AT_ONCE: Final = 200


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
        open_requests=_open_requests(tx, session.account_id),
        erased_on=due.purge_due_on(policy, row.created_at, row.last_traffic_at),
        period=_period(policy),
    )


def _period(policy: Policy) -> str:
    """How long an account is kept after its latest traffic, in words."""
    period = due.rule(policy).period
    return "" if period is None else i18n.period(period)


def _open_requests(tx: Tx, account_id: UUID) -> list[KnownRequest]:
    """Requests that have not ended, that the visitor may see, the one that is due first before the others."""
    found: list[KnownRequest] = []
    after: UUID | None = None
    while True:
        rows = requests.list_requests(tx, account_id, after=after, limit=AT_ONCE)
        found += [request for request in rows[:AT_ONCE] if request.row.status not in ENDED]
        if len(rows) <= AT_ONCE:
            return sorted(found, key=lambda request: request.row.due_on)
        after = rows[AT_ONCE - 1].row.request_id
