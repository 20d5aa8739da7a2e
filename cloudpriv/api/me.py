"""/v1/me: what is held about the account holder who is signed in. An owner sees the account, a member what is about them."""

from typing import Any, Final

from cloudpriv.api import accounts as account_api
from cloudpriv.api import consents as consent_api
from cloudpriv.api import devices as device_api
from cloudpriv.api import people as people_api
from cloudpriv.api import traffic as traffic_api
from cloudpriv.api.accounts import AccountOut
from cloudpriv.api.answers import LISTED, VERSIONED
from cloudpriv.api.audit import EventOut
from cloudpriv.api.audit import shown as event_shown
from cloudpriv.api.body import Blueprint
from cloudpriv.api.consents import ConsentList
from cloudpriv.api.devices import DeviceOut
from cloudpriv.api.endpoint import endpoint, etag, expected_version
from cloudpriv.api.own_password import PASSWORD, confirm, password_field
from cloudpriv.api.people import IdentityFields, PersonOut
from cloudpriv.api.runtime import runtime
from cloudpriv.api.schemas import PageArgs, QueryFlag, UtcTime, after, after_id, page, page_of
from cloudpriv.api.traffic import SessionListArgs, SessionOut
from cloudpriv.audit import trail
from cloudpriv.controller import accounts, devices, people, traffic_reports
from cloudpriv.controller.holders import own_ids, require_owner
from cloudpriv.controller.people import KnownPerson
from cloudpriv.controller.traffic_reports import Span
from cloudpriv.platform.actor import HOLDER
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import FieldError, InvalidError
from cloudpriv.rights import effects
from cloudpriv.rights.consents import acts as consents

blueprint: Final = Blueprint("me", __name__, url_prefix="/v1/me", description="Account holders see and rectify their data.")
ADDRESS: Final = "email"  # which codes are mailed to


class MeOut(PersonOut):
    """The person who is signed in."""

    restricted_at = UtcTime(
        required=True,
        allow_none=True,
        metadata={"description": "Since when the processing of the person's data is restricted."},
    )
    restriction_ends_at = UtcTime(
        required=True, allow_none=True, metadata={"description": "When that ends, once it was announced."}
    )


class MePatch(IdentityFields):
    """Members to rectify; the e-mail address needs the password, too."""

    password = password_field(required=False)


class TrailArgs(PageArgs):
    """Query of the trail."""

    incoming = QueryFlag(load_default=False, metadata={"description": "Also that devices sent traffic."})


@blueprint.route("", methods=["GET"])
@endpoint(HOLDER)
@blueprint.response(200, MeOut, headers=VERSIONED)
def read_me(tx: Tx) -> Any:
    """Read what identifies the person who is signed in."""
    return _answer(people.read_person(tx, *own_ids(tx.actor)))


@blueprint.route("", methods=["PATCH"])
@endpoint(HOLDER, first=confirm)
@blueprint.arguments(MePatch)
@blueprint.response(200, MeOut, headers=VERSIONED)
@blueprint.alt_response(409, description="The account is being erased.")
def change_me(tx: Tx, body: dict[str, Any]) -> Any:
    """Rectify one's own data (GDPR Article 16); needs If-Match. Whoever was given it is told."""
    given = body.pop(PASSWORD, None)
    if ADDRESS in body and given is None:
        raise InvalidError(errors=(FieldError(f"/{PASSWORD}", "is needed to change the e-mail address"),))
    return _answer(effects.rectify_person(tx, *own_ids(tx.actor), expected_version(), body, restricted=True))


@blueprint.route("/account", methods=["GET"])
@endpoint(HOLDER)
@blueprint.response(200, AccountOut, headers=VERSIONED)
def read_own_account(tx: Tx) -> Any:
    """Read the account; a member sees nothing of the company behind it."""
    account = accounts.read_account(tx, own_ids(tx.actor)[0])
    told = account_api.shown(account)
    if tx.actor.kind != "owner":
        told["customer"] = dict.fromkeys(told["customer"])
    return told, 200, etag(account.row.version)


@blueprint.route("/devices", methods=["GET"])
@endpoint(HOLDER)
@blueprint.arguments(PageArgs, location="query")
@blueprint.response(200, page_of(DeviceOut, "Device"), headers=LISTED)
def list_own_devices(tx: Tx, query: dict[str, Any]) -> Any:
    """List the devices of the account; for its owners alone."""
    rows = devices.list_devices(tx, require_owner(tx.actor), after=after_id(query), limit=query["limit"])
    return page(rows, query, device_api.shown, lambda device: device.row.device_id.bytes)


@blueprint.route("/traffic", methods=["GET"])
@endpoint(HOLDER)
@blueprint.arguments(SessionListArgs, location="query")
@blueprint.response(200, page_of(SessionOut, "Session"), headers=LISTED)
def list_own_traffic(tx: Tx, query: dict[str, Any]) -> Any:
    """List the sessions of the account, or a member's own, latest start first."""
    account_id, person_id = own_ids(tx.actor)
    whose = None if tx.actor.kind == "owner" else person_id
    span = Span(query["since"], query["until"], person_id=whose)
    position = traffic_api.before(after(query))
    rows = traffic_reports.list_sessions(tx, account_id, span, before=position, limit=query["limit"])
    return page(rows, query, traffic_api.shown, traffic_api.position_of)


@blueprint.route("/access-log", methods=["GET"])
@endpoint(HOLDER)
@blueprint.arguments(TrailArgs, location="query")
@blueprint.response(200, page_of(EventOut, "Event"), headers=LISTED)
def list_own_access(tx: Tx, query: dict[str, Any]) -> Any:
    """List who read or changed the account's data, or what is about a member, latest first; reading it is an event too."""
    account_id, person_id = own_ids(tx.actor)
    rows = trail.list_latest(
        tx,
        account_id,
        person_id=None if tx.actor.kind == "owner" else person_id,
        incoming=query["incoming"],
        before=after_id(query),
        limit=query["limit"],
    )
    return page(rows, query, event_shown, lambda event: event.event_id.bytes)


@blueprint.route("/consents", methods=["GET"])
@endpoint(HOLDER)
@blueprint.response(200, ConsentList)
def list_own_consents(tx: Tx) -> Any:
    """List how the person's consents stand now."""
    return consent_api.shown(consents.state_of(tx, runtime().services.settings.issuer, *own_ids(tx.actor)))


def _answer(person: KnownPerson) -> Any:
    times = {name: getattr(person.row, name) for name in ("restricted_at", "restriction_ends_at")}
    return {**people_api.shown(person), **times}, 200, etag(person.row.version)
