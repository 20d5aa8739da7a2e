"""A restriction that its holder obtained: whoever asked for it may end it, and needs nobody for that.

What staff restricted stays until staff lifts it; what is restricted while an objection is looked into is free again when the
objection is withdrawn.
"""

from uuid import UUID

from cloudpriv.controller.tables import Account, Person
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ForbiddenError
from cloudpriv.rights import restriction
from cloudpriv.rights.restriction import Standing


def is_obtained(row: Account | Person) -> bool:
    """Whether an account, or a person's data, is restricted by what a granted request asked for, among other causes."""
    return "request" in restriction.causes(row)


def lift_account(tx: Tx, account_id: UUID) -> Standing:
    """End a restriction that was obtained, at once. Raises ForbiddenError for another, and for anybody but an owner."""
    if tx.actor.kind != "owner":
        raise ForbiddenError
    return _lift(tx, account_id, None)


def lift_person(tx: Tx, account_id: UUID, person_id: UUID) -> Standing:
    """End a restriction of one's own data that was obtained. Raises ForbiddenError for another, and for anybody else."""
    if str(person_id) != tx.actor.id:
        raise ForbiddenError
    return _lift(tx, account_id, person_id)


def _lift(tx: Tx, account_id: UUID, person_id: UUID | None) -> Standing:
    if "request" not in restriction.standing(tx, account_id, person_id).causes:
        raise ForbiddenError
    return restriction.end(tx, account_id, person_id, "request")
