"""Account holders who come with a token: whether its session lives, and who they are in the account at this moment.

A token names its session (see `sessions.begin_token`), so that it opens nothing from the moment on in which that has ended.
"""

from contextlib import suppress
from dataclasses import replace
from typing import Final
from uuid import UUID

from cloudpriv.controller import sessions
from cloudpriv.platform.actor import HOLDER, Actor
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import ForbiddenError, NotFoundError, UnauthenticatedError

# The session is looked up, and at most once a minute seen, in the statement that looks up the person.
FIND: Final = (
    "WITH alive AS (SELECT account_id, person_id, session_id FROM holder_sessions "
    "WHERE account_id = %(account_id)s::uuid AND person_id = %(person_id)s::uuid AND session_id = %(session_id)s::uuid "
    "AND expires_at > %(now)s AND last_seen_at > %(idle)s), "
    "seen AS (UPDATE holder_sessions s SET last_seen_at = %(now)s FROM alive WHERE s.account_id = alive.account_id "
    "AND s.session_id = alive.session_id AND s.last_seen_at <= %(before)s) "
    "SELECT p.role FROM alive JOIN people p USING (account_id, person_id) JOIN accounts a USING (account_id) "
    "WHERE p.erasure_requested_at IS NULL AND a.service = %(service)s::text AND a.status <> 'purging'"
)


def as_now(tx: Tx) -> Actor:
    """The acting account holder with the role that the person has now.

    One statement. Raises UnauthenticatedError when the session has ended, the person was erased, or the account's erasure
    has begun.
    """
    actor = tx.actor
    whose = {"account_id": actor.account_id, "person_id": actor.id, "service": actor.service}
    times = {"now": tx.now, "idle": tx.now - sessions.IDLE, "before": tx.now - sessions.SEEN_EVERY}
    values = {**whose, **times, "session_id": actor.session_id}
    found = tx.fetch_one(FIND, values)
    if found is None:
        raise UnauthenticatedError
    return replace(actor, kind="owner" if found.role == "owner" else "member")


def own_ids(actor: Actor) -> tuple[UUID, UUID]:
    """Account and person of an acting account holder. Raises ForbiddenError for anybody else."""
    if actor.account_id is None or HOLDER not in actor.scopes:
        raise ForbiddenError
    return actor.account_id, UUID(actor.id)


def sign_out(tx: Tx) -> None:
    """End the session that the acting account holder came with, audited; nothing to do when it has ended meanwhile.

    Raises ForbiddenError for anybody else.
    """
    account_id, person_id = own_ids(tx.actor)
    if tx.actor.session_id is not None:
        with suppress(NotFoundError):
            sessions.end_one(tx, account_id, person_id, tx.actor.session_id)


def require_owner(actor: Actor) -> UUID:
    """The account of an acting owner. Raises ForbiddenError for a member, and for anybody else."""
    account_id, _ = own_ids(actor)
    if actor.kind != "owner":
        raise ForbiddenError
    return account_id
