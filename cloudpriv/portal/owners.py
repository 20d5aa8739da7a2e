"""/portal/owners: what staff has begun to change about who owns the account, and how an owner stops it."""

from typing import Final
from uuid import UUID

from flask import Blueprint, Response

from cloudpriv.platform.db import Tx
from cloudpriv.portal import guard, pages
from cloudpriv.rights import owners

blueprint: Final = Blueprint("owners", __name__, url_prefix="/portal/owners")
LIST: Final = "/portal/owners"


@blueprint.get("")
@guard.page(owner=True)
def show(tx: Tx) -> Response:
    """Every replacement of an owner, with what staff checked."""
    session, _account, _person = guard.signed_in()
    return pages.render("owners.html", replacements=owners.list_replacements(tx, session.account_id))


@blueprint.post("/<uuid:replacement_id>/stop")
@guard.page(owner=True, fresh=True, back=LIST)
def stop(tx: Tx, replacement_id: UUID) -> Response:
    """Stop one that waits."""
    session, _account, _person = guard.signed_in()
    owners.stop(tx, session.account_id, replacement_id)
    return guard.redirected(LIST)
