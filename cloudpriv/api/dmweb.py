"""The DataMailbox API (DMWeb), which customers' programs already read their log data with.

Parameters come in the query or a form. A token of this plane stands in place of `t2mtoken` or `t2mpassword`: the password of
an account never reaches this plane.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, Final

from flask import Response, g, jsonify, request
from marshmallow import Schema
from werkzeug.exceptions import HTTPException

from cloudpriv.api import dmweb_answers as answers
from cloudpriv.api import limits, problems
from cloudpriv.api.answers import OF_REFUSALS, headers
from cloudpriv.api.body import Blueprint, whole_body
from cloudpriv.api.dmweb_parameters import Parameters, described
from cloudpriv.api.endpoint import endpoint, now
from cloudpriv.api.logdata.access import customer_of, runtime
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import DomainError, InvalidError, UnauthenticatedError, UnreadableError
from cloudpriv.platform.objectstore import ObjectStore
from cloudpriv.processor.datamailbox import mailbox, sync

blueprint: Final = Blueprint("dmweb", __name__, url_prefix="/dmweb", description="The DataMailbox API.")
READ: Final = "logdata:read"
DELETE: Final = "logdata:delete"
RESOLUTION: Final = timedelta(
    microseconds=1
)  # of times: `to` is the last that counts, the spine's `until` the first that does not
LAST: Final = datetime.max.replace(tzinfo=UTC)
REFUSED: Final = {
    400: "A parameter cannot be taken, or names a transaction that there is not (any more).",
    401: "No token, or none of this plane.",
    403: "The token is one that may not do this.",
    404: "No such device or tag.",
    413: "The form is too large.",
    415: "The form is encoded.",
    429: "Too many requests.",
    503: "The database or the object store is away.",
}
View = Callable[[Tx, Parameters], Any]


def _service(path: str, scope: str, schema: type[Schema], *parameters: str) -> Callable[[View], View]:
    """Serve a view at a path, by GET with a query and by POST with a form."""

    def decorate(view: View) -> View:
        def answered(tx: Tx) -> Response:
            return jsonify(view(tx, _parameters()))

        answered.__doc__ = view.__doc__
        for method, place in (("GET", "query"), ("POST", "form")):
            documented = blueprint.response(200, schema)(endpoint(scope)(answered))
            for status, description in REFUSED.items():
                told = headers(*OF_REFUSALS.get(status, ()))
                documented = blueprint.alt_response(status, schema=answers.ErrorOut, description=description, headers=told)(
                    documented
                )
            documented = blueprint.doc(**described(parameters, place))(documented)
            name = path.removeprefix("/") if place == "query" else f"{path.removeprefix('/')}_by_form"
            blueprint.route(path, methods=[method], endpoint=name)(documented)
        return view

    return decorate


@_service("/getstatus", READ, answers.StatusOut)
def get_status(tx: Tx, _: Parameters) -> Any:
    """Tell how many points are kept, of which devices and from when to when."""
    kept = mailbox.status(tx, _objects())
    return {
        "historyCount": sum(device.points for device in kept),
        "ewonsCount": len(kept),
        "ewons": [answers.kept_out(device) for device in kept],
    }


@_service("/getewons", READ, answers.DevicesOut)
def get_devices(tx: Tx, _: Parameters) -> Any:
    """List the devices."""
    found = [{**answers.device_out(device), "timeZone": answers.TIME_ZONE} for device in mailbox.list_devices(tx)]
    return {"success": True, "ewons": found}


@_service("/getewon", READ, answers.DeviceStateOut, "id", "name")
def get_device(tx: Tx, given: Parameters) -> Any:
    """Tell of one device, by its number or its name, its tags and the latest point of each."""
    if not given.has_any("id", "name"):
        raise InvalidError("Send id or name.")
    device = mailbox.find_device(tx, number=given.number("id"), name=given.text("name"))
    return {"success": True, **answers.state_out(mailbox.state(tx, _objects(), device))}


@_service("/getdata", READ, answers.HistoryOut, "ewonId", "tagId", "from", "to", "limit", "fullConfig")
def get_data(tx: Tx, given: Parameters) -> Any:
    """Read points by time, the oldest first: of each tag up to `limit`, of all together no more than the service's own."""
    asked = mailbox.Asked(given.number("ewonId"), given.number("tagId"), given.time("from"), _until(given), _limit(given))
    read = mailbox.history(tx, _objects(), asked, whole=given.truth("fullConfig"))
    return {"success": True, "moreDataAvailable": read.more, "ewons": answers.ewons_out(read.devices)}


@_service("/syncdata", READ, answers.SyncOut, "lastTransactionId", "createTransaction", "ewonIds")
def sync_data(tx: Tx, given: Parameters) -> Any:
    """Read what came since a transaction, in the order of arrival: nothing missed, and nothing sent twice."""
    last = given.number("lastTransactionId") if given.text("lastTransactionId") else None
    create = given.truth("createTransaction")
    read = sync.sync(tx, _objects(), last=last, numbers=given.numbers("ewonIds"), create=create)
    numbered = {"transactionId": str(read.transaction_id)} if create else {}
    return {"success": True, "moreDataAvailable": read.more, **numbered, "ewons": answers.ewons_out(read.devices)}


@_service("/delete", DELETE, answers.DoneOut, "all", "ewonId", "tagId", "transactionId", "from", "to")
def delete(tx: Tx, given: Parameters) -> Any:
    """Delete points: from this answer on no answer holds them. Whatever is named narrows it; nothing named needs `all`."""
    _demand_something(given, "ewonId", "tagId", "transactionId", "from", "to")
    asked = mailbox.Asked(given.number("ewonId"), given.number("tagId"), given.time("from"), _until(given))
    sync.delete_points(tx, asked, given.number("transactionId"))
    return {"success": True}


@_service("/clean", DELETE, answers.DoneOut, "all", "ewonId")
def clean(tx: Tx, given: Parameters) -> Any:
    """Forget all transactions of the account, of whichever device: whoever reads on begins anew. No point is deleted."""
    _demand_something(given, "ewonId")
    sync.forget_transactions(tx, given.number("ewonId"))
    return {"success": True}


@blueprint.before_request
def _authenticate() -> None:
    """The caller is who the parameters' token stands for; without one, the bearer of the Authorization header.

    The request counts as this caller's, and as its address's where the token is wrong.
    """
    try:
        token = _parameters().token()
        if token is not None:
            customer_of(token, now())
    finally:
        limits.limit_caller()


@blueprint.errorhandler(DomainError)
def _refuse(error: DomainError) -> Response:
    """A refusal as these programs know it, with the headers that any other has."""
    response = problems.refuse(error)
    if isinstance(error, InvalidError | UnreadableError):
        response.status_code = 400
    message = "Invalid credentials" if isinstance(error, UnauthenticatedError) else error.detail
    return _error(response, message)


@blueprint.errorhandler(HTTPException)
def _refuse_http(fault: HTTPException) -> Response:
    return _error(Response(status=fault.code or 500), fault.name)


def _error(response: Response, message: str) -> Response:
    response.content_type = "application/json"
    response.set_data(jsonify(success=False, code=response.status_code, message=message).data)
    return response


def _parameters() -> Parameters:
    found: Parameters | None = g.get("parameters")
    if found is None:
        whole_body()
        given = chain(request.args.items(multi=True), request.form.items(multi=True))
        found = g.parameters = Parameters(given)
    return found


def _demand_something(given: Parameters, *narrower: str) -> None:
    if not given.has_any(*narrower) and not given.truth("all"):
        raise InvalidError(f"Send {', '.join(narrower)} or all=true.")


def _until(given: Parameters) -> datetime | None:
    to = given.time("to")
    return None if to is None or to > LAST - RESOLUTION else to + RESOLUTION


def _limit(given: Parameters) -> int:
    limit = given.number("limit")
    if limit == 0:
        raise InvalidError("limit must be at least 1.")
    return mailbox.MOST if limit is None else min(limit, mailbox.MOST)


def _objects() -> ObjectStore:
    return runtime().services.objects
