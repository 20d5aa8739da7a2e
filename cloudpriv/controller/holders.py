"""Account holders who come with a token: who they are in the account at this moment, whatever the token says."""

from dataclasses import replace
from typing import Final
from uuid import UUID

from cloudpriv.platform.actor import HOLDER, Actor
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ForbiddenError, UnauthenticatedError

FIND: Final = (
    "SELECT p.role FROM people p JOIN accounts a USING (account_id) WHERE p.account_id = %(account_id)s::uuid "
    "AND p.person_id = %(person_id)s::uuid AND p.erasure_requested_at IS NULL "
    "AND a.service = %(service)s::text AND a.status <> 'purging'"
)


def as_now(tx: Tx) -> Actor:
    """The acting account holder with the role that the person has now.

    One statement. Raises UnauthenticatedError when the person was erased, or the erasure of the account has begun.
    """
    actor = tx.actor
    values = {"account_id": actor.account_id, "person_id": actor.id, "service": actor.service}
    found = tx.fetch_one(FIND, values)
    if found is None:
        raise UnauthenticatedError
    return replace(actor, kind="owner" if found.role == "owner" else "member")


def own_ids(actor: Actor) -> tuple[UUID, UUID]:
    """Account and person of an acting account holder. Raises ForbiddenError for anybody else."""
    if actor.account_id is None or HOLDER not in actor.scopes:
        raise ForbiddenError
    return actor.account_id, UUID(actor.id)


def require_owner(actor: Actor) -> UUID:
    """The account of an acting owner. Raises ForbiddenError for a member, and for anybody else."""
    account_id, _ = own_ids(actor)
    if actor.kind != "owner":
        raise ForbiddenError
    return account_id
