"""/v1/…/restriction: the processing of an account or of a person's data restricted, and free again (GDPR Article 18)."""

from typing import Final
from uuid import UUID

from cloudpriv.api.body import Blueprint
from cloudpriv.api.endpoint import endpoint
from cloudpriv.platform.db import Tx
from cloudpriv.rights import restriction

blueprint: Final = Blueprint(
    "restriction", __name__, url_prefix="/v1/accounts/<uuid:account_id>", description="Restriction of processing."
)
OF_PERSON: Final = "/people/<uuid:person_id>/restriction"


@blueprint.route("/restriction", methods=["POST"])
@endpoint("privacy:write")
@blueprint.response(204)
def restrict_account(tx: Tx, account_id: UUID) -> None:
    """Restrict the processing of an account: whatever uses it is refused with 423; recipients of its data are told."""
    restriction.restrict_account(tx, account_id)


@blueprint.route("/restriction", methods=["DELETE"])
@endpoint("privacy:write")
@blueprint.response(204)
def lift_account(tx: Tx, account_id: UUID) -> None:
    """End the restriction of an account; whoever obtained it has been told before (GDPR Article 18(3))."""
    restriction.lift_account(tx, account_id)


@blueprint.route(OF_PERSON, methods=["POST"])
@endpoint("privacy:write")
@blueprint.response(204)
def restrict_person(tx: Tx, account_id: UUID, person_id: UUID) -> None:
    """Restrict the processing of a person's data, while the account goes on; recipients of the data are told."""
    restriction.restrict_person(tx, account_id, person_id)


@blueprint.route(OF_PERSON, methods=["DELETE"])
@endpoint("privacy:write")
@blueprint.response(204)
def lift_person(tx: Tx, account_id: UUID, person_id: UUID) -> None:
    """End the restriction of a person's data; whoever obtained it has been told before (GDPR Article 18(3))."""
    restriction.lift_person(tx, account_id, person_id)
