"""/portal/: what the account is, how it stands, when it will be erased, and where to go from here."""

from typing import Final

from flask import Blueprint, Response

from cloudpriv.platform.db import Tx
from cloudpriv.portal import guard, pages

blueprint: Final = Blueprint("overview", __name__, url_prefix="/portal")


@blueprint.get("/")
@guard.page()
def show(tx: Tx) -> Response:
    """The first page after signing in."""
    return pages.render("overview.html")
