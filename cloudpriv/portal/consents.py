"""/portal/consents: what rests on consent, how it stands and how it came about; giving and withdrawing it."""

from dataclasses import dataclass
from typing import Final

from flask import Blueprint, Response, url_for

from cloudpriv.api.runtime import runtime
from cloudpriv.controller import delivery
from cloudpriv.controller.sessions import Session
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import InvalidError
from cloudpriv.portal import guard, i18n, pages, said
from cloudpriv.rights.consents import acts as consents
from cloudpriv.rights.consents import history as consent_history
from cloudpriv.rights.consents import mail as consent_mail
from cloudpriv.rights.consents import records as consent_records
from cloudpriv.rights.consents.acts import ConsentEvent, ConsentState
from cloudpriv.rights.consents.records import Offer

blueprint: Final = Blueprint("consents", __name__, url_prefix="/portal/consents")


@dataclass(frozen=True)
class Shown:
    """A purpose on the page: what is told about it, how consent stands, and its history, the latest first."""

    told: Offer
    state: ConsentState
    events: list[ConsentEvent]


@blueprint.get("")
@guard.page()
def show(tx: Tx) -> Response:
    """Every purpose that the policy knows."""
    return _page(tx)


@blueprint.post("/<purpose>/ask")
@guard.page()
def ask(tx: Tx, purpose: str) -> Response:
    """Say yes: a mail follows, whose link has to be confirmed."""
    session, _account, _person = guard.signed_in()
    policy = runtime().services.policy
    before = _was_just_mailed(tx, session, purpose)
    try:
        consents.ask(tx, policy, session.account_id, session.person_id, purpose, language=i18n.language())
    except InvalidError:
        return _page(tx, without_address=purpose)
    return said.led(url_for("consents.show"), "sent_before" if before else "asked")


@blueprint.post("/<purpose>/withdraw")
@guard.page()
def withdraw(tx: Tx, purpose: str) -> Response:
    """Say no, with effect at once."""
    session, _account, _person = guard.signed_in()
    consents.withdraw(tx, runtime().services.policy, session.account_id, session.person_id, purpose)
    return said.led(url_for("consents.show"), "withdrawn")


def _was_just_mailed(tx: Tx, session: Session, purpose: str) -> bool:
    """Whether a mail to confirm this was sent so short a time ago that no other follows."""
    rows = consent_history.rows_of(tx, session.account_id, session.person_id, purpose)
    reader = session.account_id, session.person_id
    return bool(rows) and delivery.was_just_sent(tx, consent_mail.CONFIRM, *reader, rows[-1].consent_id)


def _page(tx: Tx, without_address: str | None = None) -> Response:
    session, account, person = guard.signed_in()
    services = runtime().services
    states = consents.state_of(tx, services.settings.issuer, session.account_id, session.person_id)
    events = consents.read_history(tx, session.account_id, session.person_id)
    known = consent_records.offered(services.policy)
    shown = [
        Shown(
            consent_records.offer(services.policy, account.row.service, each.purpose, i18n.language()),
            each,
            [event for event in reversed(events) if event.purpose == each.purpose],
        )
        for each in states
        if each.purpose in known
    ]
    return pages.render(
        "consents.html",
        status=200 if without_address is None else 422,
        shown=shown,
        may_give=account.row.status == "active" and person.row.restricted_at is None,
        said=said.heard(),
        without_address=without_address,
    )
