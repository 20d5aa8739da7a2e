"""The closing of an account on its owner's word: a cooling-off of 14 days, in which it may be undone, then the purge.

While it lasts nothing is used or changed, and every owner is told by mail, so that a closing nobody meant, or that somebody
else ordered, is undone. When it is over by the clocks of host and database both, the purge is planned; it begins once the
recipients of the data are told (`rights.telling`). Every step is a row, so that it may be done twice, by any schedule.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import structlog
from sqlalchemy import exists, select

from cloudpriv import mail_templates
from cloudpriv.audit import events
from cloudpriv.audit import log as audit_log
from cloudpriv.controller import accounts, delivery, outbox, people, sessions
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.delivery import DroppedError, Writer
from cloudpriv.controller.outbox import Mail
from cloudpriv.controller.tables import Account, Person
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.clock import APART
from cloudpriv.platform.db import Plane, Tx, database_time
from cloudpriv.platform.errors import AccountClosingError, ConflictError
from cloudpriv.policy.register import Policy
from cloudpriv.retention import runs
from cloudpriv.retention.tables import OPEN, Purge
from cloudpriv.rights import requests, restriction
from cloudpriv.rights.cases import states
from cloudpriv.rights.cases.details import open_details
from cloudpriv.rights.post import Post
from cloudpriv.rights.tables import SubjectRequest
from cloudpriv.rights.telling import FAREWELL

log = structlog.get_logger(__name__)

Stage = Literal["cooling_off", "held", "waits", "over"]
UNDONE_WHILE: Final[frozenset[Stage]] = frozenset({"cooling_off", "held"})
COOLING_OFF: Final = timedelta(days=14)
BEGUN: Final = "closing_begun"
UNDONE: Final = "closing_undone"
AT_ONCE: Final = 100
FINAL: Final = ("request", "replay")  # of purges that a closing changes nothing about, above all none after a restore


def close(tx: Tx, _: Policy, account_id: UUID, request: SubjectRequest) -> datetime:
    """Begin to close an account on a request for its erasure; when the cooling-off ends, which `request` then says too.

    Sessions of others end, and every owner is told by mail. A restriction goes on meanwhile. Raises NotFoundError,
    AccountClosingError.
    """
    account = accounts.lock_account(tx, account_id, restricted=True).row
    if account.status == "closing":
        raise AccountClosingError
    ends = tx.now + COOLING_OFF
    account.restricted_for = list(restriction.causes(account)) or None
    account.status, account.closes_at, account.closing_since = "closing", ends, tx.now
    account.version += 1
    request.effective_at = ends
    for person_id in _people(tx, account_id):
        if str(person_id) != tx.actor.id:
            sessions.end_all(tx, account_id, person_id)
    events.record(tx, "account.close", account_id=account_id, subject_id=request.request_id)
    _tell_owners(tx, BEGUN, account_id, request.request_id)
    return ends


def undo(tx: Tx, account_id: UUID) -> None:
    """Have the account stay, as it was; whoever asked for its erasure has withdrawn that. Every owner is told.

    So is what an objection asked for meanwhile, the restriction until it is decided. Raises NotFoundError, ConflictError for
    one that is not being closed, AccountClosingError when the time for it is over (`stage`).
    """
    account = accounts.find_account(tx, account_id, lock=True).row
    if account.status != "closing":
        raise ConflictError("The account is not being closed.")
    if stage(tx, account) not in UNDONE_WHILE:
        raise AccountClosingError
    account.status = "restricted" if account.restricted_for else "active"
    account.closes_at, account.closing_since, account.version = None, None, account.version + 1
    undone = _open_requests(tx, account_id)
    for request_id in undone:
        requests.withdraw(tx, request_id)
    _restrict_for_objections(tx, account_id)
    events.record(tx, "account.reopen", account_id=account_id)
    _tell_owners(tx, UNDONE, account_id, next(iter(undone), None))


def advance(plane: Plane, policy: Policy, clock: Callable[[], datetime]) -> int:
    """Plan the purge of every account whose cooling-off is over by the clocks of host and database both; how many.

    In bounded transactions that skip what another schedule has locked: two of them plan nothing twice. A cooling-off that
    began before the database was restored begins again, since nobody knows whether the closing was undone after the backup.
    """
    total, found = 0, AT_ONCE
    while found == AT_ONCE:
        with plane.transaction(WORKER, clock()) as tx:
            now = database_time(tx)
            if tx.now > now + APART:
                log.error("closings_wait", fault="clocks_apart")
                return total
            earliest = _earliest_end(tx)
            _begin_again(tx, earliest)
            found = _plan_over(tx, policy, min(tx.now, now), earliest)
        total += found
    return total


def stage(tx: Tx, account: Account) -> Stage:
    """How far a closing is. It may be undone while it is `cooling_off`, by the clock of host or database, and `held`.

    Held by somebody's restriction when its time has come (`people.kept_by_restriction`). Once its purge is planned it
    `waits` for the end of that.
    """
    kept = people.are_kept_by_restriction(tx, account.account_id)
    if account.closes_at is None or _is_planned(tx, account.account_id):
        return "waits" if kept else "over"
    if account.closes_at > min(tx.now, database_time(tx)):
        return "cooling_off"
    return "held" if kept else "over"


def writers(post: Post) -> Mapping[str, Writer]:
    """How its mails are written, for `delivery.deliver`."""

    def begun(_: Tx, account: OpenedAccount, __: Mail) -> Mapping[str, mail_templates.Value]:
        closes_at = account.row.closes_at
        if account.row.status != "closing" or closes_at is None:
            raise DroppedError("undone")
        return {
            **common(account),
            "day": closes_at.date(),
            "time": f"{closes_at:%H:%M} UTC",
            "portal": post.portal,
        }

    def undone(_: Tx, account: OpenedAccount, __: Mail) -> Mapping[str, mail_templates.Value]:
        if account.row.status == "closing":
            raise DroppedError("closing_again")
        return {**common(account), "portal": post.portal}

    def ended(_: Tx, account: OpenedAccount, __: Mail) -> Mapping[str, mail_templates.Value]:
        return common(account)

    def common(account: OpenedAccount) -> dict[str, mail_templates.Value]:
        controller = post.policy.controller_of(account.row.service)
        return {
            "controller": controller.name,
            "address": ", ".join(controller.address),
            "country": mail_templates.country_name(controller.country),
        }

    return {kind: delivery.to_person(content) for kind, content in ((BEGUN, begun), (UNDONE, undone), (FAREWELL, ended))}


def _earliest_end(tx: Tx) -> datetime | None:
    """Before when no cooling-off may end: the database was restored less than one ago. None where it never was."""
    newest = audit_log.newest_log(tx)
    return newest.begun_at + COOLING_OFF if newest is not None and audit_log.has_begun_anew(tx) else None


def _begin_again(tx: Tx, earliest: datetime | None) -> None:
    """Have up to AT_ONCE closings end then that would end before, and tell the owners as if they had just begun."""
    if earliest is None:
        return
    query = select(Account).where(Account.status == "closing", Account.closes_at < earliest).order_by(Account.account_id)
    for account in tx.session.scalars(query.limit(AT_ONCE).with_for_update(key_share=True, skip_locked=True)).all():
        account.closes_at, account.version = earliest, account.version + 1
        asked = next(iter(_open_requests(tx, account.account_id)), None)
        if asked is not None:
            row = tx.session.get_one(SubjectRequest, (account.account_id, asked))
            row.effective_at, row.version = earliest, row.version + 1
        events.record(tx, "account.close", account_id=account.account_id, subject_id=asked)
        _tell_owners(tx, BEGUN, account.account_id, asked)


def _plan_over(tx: Tx, policy: Policy, now: datetime, earliest: datetime | None = None) -> int:
    """Plan up to AT_ONCE purges; how many accounts were looked at.

    Not where somebody's data was restricted since the closing began: they may need it for legal claims (Article 18(1)).
    """
    planned = exists().where(Purge.account_id == Account.account_id, Purge.trigger.in_(FINAL), Purge.status.in_(OPEN))
    query = select(Account).where(Account.status == "closing", Account.closes_at <= now)
    query = query.where(~planned, ~people.kept_by_restriction())
    if earliest is not None:  # what another transaction has locked may not have begun again yet
        query = query.where(Account.closes_at >= earliest)
    query = query.order_by(Account.account_id).limit(AT_ONCE)
    found = tx.session.scalars(query.with_for_update(key_share=True, skip_locked=True)).all()
    for account in found:
        if _is_planned(tx, account.account_id):  # by another schedule, between the look and the lock
            continue
        _tell_owners(tx, FAREWELL, account.account_id)
        runs.plan_request(tx, policy, account.account_id, account.service, trigger="request", rule=runs.ON_REQUEST)
    return len(found)


def _is_planned(tx: Tx, account_id: UUID) -> bool:
    purge = runs.open_purge(tx, account_id)
    return purge is not None and purge.trigger in FINAL


def _open_requests(tx: Tx, account_id: UUID) -> Sequence[UUID]:
    """The request that had the account closed; those tied to it end with it."""
    query = select(SubjectRequest.request_id).where(
        SubjectRequest.account_id == account_id,
        SubjectRequest.type == "erasure",
        SubjectRequest.scope == "account",
        SubjectRequest.status.in_(states.RUNNING),
        SubjectRequest.duplicate_of.is_(None),
    )
    return tx.session.scalars(query.order_by(SubjectRequest.effective_at.nulls_last(), SubjectRequest.request_id)).all()


def _restrict_for_objections(tx: Tx, account_id: UUID) -> None:
    """What was objected to while the account was closing is restricted from now on, where that was asked for."""
    key = accounts.find_account(tx, account_id).key
    query = select(SubjectRequest).where(
        SubjectRequest.account_id == account_id,
        SubjectRequest.type == "objection",
        SubjectRequest.scope == "account",
        SubjectRequest.status.in_(states.RUNNING),
        SubjectRequest.duplicate_of.is_(None),
    )
    for row in tx.session.scalars(query).all():
        if open_details(key, row).get("restrict"):
            restriction.restrict_account(tx, account_id, request_id=row.request_id, cause="objection")


def _people(tx: Tx, account_id: UUID) -> list[UUID]:
    query = select(Person.person_id).where(Person.account_id == account_id, Person.erasure_requested_at.is_(None))
    return list(tx.session.scalars(query.order_by(Person.person_id)))


def _tell_owners(tx: Tx, kind: str, account_id: UUID, request_id: UUID | None = None) -> None:
    """By the request, so that a second closing soon after a first is told, too: the outbox sends nothing twice in a row."""
    for person_id in people.owners_of(tx, account_id):
        outbox.queue_mail(tx, kind, account_id, person_id, request_id)
