"""Announcements of a major change of the policy, to every owner by mail and in the portal.

A version of the policy that is marked `major` is announced to the owners of the accounts that were there before it, once to
each, by a row that only one schedule can add. So is the next version while its day has not come. Who came later came under
it, and is told nothing of a change.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

import structlog
from sqlalchemy import Row, Select, exists, select
from sqlalchemy.dialects.postgresql import insert

from cloudpriv import mail_templates
from cloudpriv.audit import events
from cloudpriv.controller import accounts, delivery, outbox, people
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.delivery import DroppedError, Values, Writer
from cloudpriv.controller.outbox import Mail
from cloudpriv.controller.tables import Account, AccountKey, Person
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.platform.keys import KeyFault, WrappedKey
from cloudpriv.platform.mail import check_address
from cloudpriv.policy.register import Policy
from cloudpriv.rights.post import Post
from cloudpriv.rights.tables import PolicyAnnouncement

log = structlog.get_logger(__name__)

KIND: Final = "policy_change"


def announce(tx: Tx, policy: Policy, *, limit: int, unreadable: set[UUID] | None = None) -> int:
    """Announce the policy to up to `limit` owners who were not told of this version yet; how many were seen to.

    Nothing for a version that is not major. Mails wait in the outbox; an owner without an address is told in the portal
    alone. Fewer than `limit` means that none is left. Accounts whose key does not open are reported and join the
    `unreadable`, who are left out.
    """
    if not policy.major:
        return 0
    failed = set() if unreadable is None else unreadable
    found = tx.session.execute(_untold(policy, failed).limit(limit)).all()
    reachable = {(row.Person.account_id, row.Person.person_id): _is_reachable(tx, row, failed) for row in found}
    told = [(account_id, person_id) for account_id, person_id in reachable if account_id not in failed]
    added = _added(tx, policy, told)
    outbox.queue_mails(tx, KIND, [owner for owner in added if reachable[owner]], _id_of(policy))
    for account_id, person_id in added:
        events.record(tx, "policy.announce", account_id=account_id, subject_id=person_id)
    return len(found)


def pending(tx: Tx, policy: Policy, account_id: UUID, person_id: UUID) -> bool:
    """Whether a person was told of this version of the policy, and has not said yet that they saw it."""
    if not policy.major:
        return False
    row = tx.session.get(PolicyAnnouncement, (account_id, person_id, policy.version))
    return row is not None and row.seen_at is None


def acknowledge(tx: Tx, policy: Policy, account_id: UUID, person_id: UUID) -> None:
    """Note that a person saw the announcement of this version of the policy, audited; nothing to do if they said so before.

    Raises NotFoundError for somebody who was told nothing, and for an account holder who speaks for somebody else.
    """
    if tx.actor.kind in ("owner", "member") and tx.actor.id != str(person_id):
        raise NotFoundError
    accounts.find_account(tx, account_id)
    row = tx.session.get(PolicyAnnouncement, (account_id, person_id, policy.version), with_for_update=True)
    if row is None:
        raise NotFoundError
    if row.seen_at is None:
        row.seen_at = tx.now
        events.record(tx, "policy.acknowledge", account_id=account_id, subject_id=person_id)


def writers(post: Post) -> Mapping[str, Writer]:
    """How its mails are written, for `delivery.deliver`."""
    return {KIND: delivery.to_person(lambda tx, account, mail: _change(tx, post, account, mail))}


def _untold(policy: Policy, failed: set[UUID]) -> Select[Person, AccountKey]:
    """Owners from before the policy, of accounts from before it, without a row for it; locked, so that none is erased."""
    since = datetime.combine(policy.valid_from, time.min, UTC)
    told = exists().where(
        PolicyAnnouncement.account_id == Person.account_id,
        PolicyAnnouncement.person_id == Person.person_id,
        PolicyAnnouncement.policy_version == policy.version,
    )
    query = select(Person, AccountKey).join(AccountKey, AccountKey.account_id == Person.account_id)
    query = query.join(Account, Account.account_id == Person.account_id).where(Account.created_at < since)
    query = query.where(Account.status != "purging", Account.account_id.not_in(failed), ~told)
    query = query.where(Person.role == "owner", Person.created_at < since, Person.erasure_requested_at.is_(None))
    # The key alone: what else changes of the person may go on meanwhile.
    query = query.with_for_update(key_share=True, read=True, of=Person, skip_locked=True)
    return query.order_by(Person.account_id, Person.person_id)


def _is_reachable(tx: Tx, row: Row[Person, AccountKey], failed: set[UUID]) -> bool:
    """Whether an owner has an address; the account is added to `failed` when that cannot be read."""
    person, stored = row.Person, row.AccountKey
    try:
        key = tx.keys.data_key(person.account_id, WrappedKey(stored.kek_id, stored.wrapped))
        check_address(people.open_identity(key, person)["email"] or "")
    except KeyFault:
        log.error("policy_not_announced", account=str(person.account_id), fault=KeyFault.__name__)
        failed.add(person.account_id)
        return False
    except ValueError:
        return False
    return True


def _added(tx: Tx, policy: Policy, told: list[tuple[UUID, UUID]]) -> list[tuple[UUID, UUID]]:
    """Enter that owners were told; those whose entry is ours, not another schedule's."""
    if not told:
        return []
    rows = [
        {"account_id": account, "person_id": person, "policy_version": policy.version, "announced_at": tx.now}
        for account, person in told
    ]
    statement = insert(PolicyAnnouncement).values(rows).on_conflict_do_nothing()
    entered = statement.returning(PolicyAnnouncement.account_id, PolicyAnnouncement.person_id)
    return [(account_id, person_id) for account_id, person_id in tx.session.execute(entered)]


def _change(tx: Tx, post: Post, account: OpenedAccount, mail: Mail) -> Values:
    """What a mail says. Raises DroppedError when its version is neither in force nor next by now: those have their own."""
    policy = _told_of(tx, post, account, mail)
    controller = policy.controller_of(account.row.service)
    return {
        "valid_from": policy.valid_from,
        "portal": post.portal,
        # The page of the next version leads to the one in force once that is the same.
        "notice": f"{post.url.rstrip('/')}/portal/notice{'/next' if policy is post.following else ''}",
        "controller": controller.name,
        "address": ", ".join(controller.address),
        "country": mail_templates.country_name(controller.country),
    }


def _told_of(tx: Tx, post: Post, account: OpenedAccount, mail: Mail) -> Policy:
    """The version that a mail was queued for, while its announcement stands. Raises DroppedError."""
    for policy in filter(None, (post.policy, post.following)):
        row = tx.session.get(PolicyAnnouncement, (account.row.account_id, mail.person_id, policy.version))
        if row is not None and mail.subject_id == _id_of(policy):
            return policy
    raise DroppedError("not_due")


def _id_of(policy: Policy) -> UUID:
    """What mails name a version by, so that those of two versions are not taken for the same."""
    return uuid5(NAMESPACE_URL, f"policy:{policy.version}")
