"""Notices: an account's owners are told 90, 30 and 7 days before it is erased for want of traffic.

A notice belongs to the day that it announces, so traffic, which moves that day, makes those before it count for nothing. The
last of them stands between an account and its erasure by policy: nobody has less than a week after it. An account without an
owner who can be reached has been told as far as can be, and a mail that bounces holds up nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import Select, case, exists, func, select
from sqlalchemy.dialects.postgresql import insert

from cloudpriv import mail_templates
from cloudpriv.audit import events
from cloudpriv.controller import delivery, outbox, people
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.delivery import DroppedError, Writer
from cloudpriv.controller.outbox import Mail
from cloudpriv.controller.tables import Account, AccountKey, Person
from cloudpriv.platform.db import Tx
from cloudpriv.platform.keys import KeyFault, WrappedKey
from cloudpriv.platform.mail import check_address
from cloudpriv.policy.register import Policy
from cloudpriv.retention import due
from cloudpriv.retention.due import ACTIVITY, DueAccount
from cloudpriv.retention.tables import Notice

log = structlog.get_logger(__name__)

KIND: Final = "erasure_notice"
STAGES: Final = (90, 30, 7)  # days before the erasure
LAST_DAYS: Final = min(STAGES)
LAST_WORD: Final = timedelta(days=LAST_DAYS)  # from the last notice to the erasure, however late it was given


def give_due(tx: Tx, policy: Policy, *, limit: int, unreadable: set[UUID] | None = None) -> int:
    """Give up to `limit` accounts, longest idle first, the notice whose stage they have reached; how many were seen to.

    Only the most urgent one, and none that was given for the same day before, by another planner at this moment included.
    Fewer than `limit` means that none is left. Mails wait in the outbox. Cost follows what falls due within 90 days.
    An account whose owners cannot be read, since a key does not open, is reported, given nothing, and so not erased by
    policy. It joins the `unreadable`, who are left out.
    """
    failed = set() if unreadable is None else unreadable
    known = len(failed)
    query = to_be_told(policy, tx.now).where(Account.account_id.not_in(failed))
    reached = {row.account_id: row for row in tx.session.execute(query.limit(limit))}
    owners = _owners_with_address(tx, list(reached), failed)
    rows = [
        {
            "account_id": account_id,
            "due_on": row.due_on,
            "days": row.days,
            "given_at": tx.now,
            "mails": len(owners.get(account_id, ())),
        }
        for account_id, row in reached.items()
        if account_id not in failed
    ]
    given = _given(tx, rows)
    readers = [(account_id, person_id) for account_id in given for person_id in owners.get(account_id, ())]
    outbox.queue_mails(tx, KIND, readers)
    events.record_each(tx, "notice.give", given)
    return len(given) + len(failed) - known


def pending_among(tx: Tx, policy: Policy, accounts: Sequence[DueAccount]) -> set[UUID]:
    """Those of the due `accounts` whose last notice for their present day is not a full seven days old, or was not given.

    A person who approves of an erasure may do without it; the policy's clock may not.
    """
    erasable_from = due.rule(policy).erasable_from
    days = {each.account_id: erasable_from(each.last_activity_at).date() for each in accounts}
    told = select(Notice.account_id, Notice.due_on).where(
        Notice.account_id.in_(days),
        Notice.days == LAST_DAYS,
        Notice.given_at <= tx.now - LAST_WORD,
    )
    heard = {(account_id, due_on) for account_id, due_on in tx.session.execute(told)}
    return {account_id for account_id, due_on in days.items() if (account_id, due_on) not in heard}


def writers(policy: Policy) -> Mapping[str, Writer]:
    """How the mails of notices are written, for `delivery.deliver`."""

    def tell(tx: Tx, account: OpenedAccount, _: Mail) -> Mapping[str, mail_templates.Value]:
        return _told(tx, policy, account)

    return {KIND: delivery.to_person(tell)}


def to_be_told(policy: Policy, now: datetime) -> Select[Any]:
    """Active accounts that have reached a stage, for which nothing as urgent was given.

    But for those that a hold on all of them keeps, or the restriction of somebody in them.
    """
    rule = due.rule(policy)
    cutoffs = {days: rule.anchor_cutoff(now + timedelta(days=days)) for days in STAGES}
    day, stage = due.day_in_sql(rule), case(*((cutoffs[days] > ACTIVITY, days) for days in reversed(STAGES)))
    given = exists().where(Notice.account_id == Account.account_id, Notice.due_on == day, Notice.days <= stage)
    query = select(Account.account_id, day.label("due_on"), stage.label("days"))
    query = query.where(cutoffs[max(STAGES)] > ACTIVITY, Account.status == "active", due.not_held(now), ~given)
    query = query.where(~people.kept_by_restriction())
    # The key alone: ingest goes on meanwhile, while an account whose purge begins at this moment is left out.
    query = query.with_for_update(key_share=True, read=True, of=Account, skip_locked=True)
    return query.order_by(ACTIVITY, Account.account_id)


def _owners_with_address(tx: Tx, account_ids: Sequence[UUID], failed: set[UUID]) -> dict[UUID, list[UUID]]:
    """The owners of each account who can be sent mail; accounts of which that cannot be read are added to `failed`."""
    query = select(Person, AccountKey).join(AccountKey, AccountKey.account_id == Person.account_id)
    query = query.where(Person.account_id.in_(account_ids), Person.role == "owner", Person.erasure_requested_at.is_(None))
    found: dict[UUID, list[UUID]] = {}
    query = query.order_by(Person.account_id, Person.person_id)
    # The key alone, so that nobody's mail is queued while they are erased.
    for person, stored in tx.session.execute(query.with_for_update(key_share=True, read=True, of=Person)):
        try:
            key = tx.keys.data_key(person.account_id, WrappedKey(stored.kek_id, stored.wrapped))
            reachable = _has_address(people.open_identity(key, person))
        except KeyFault:
            log.error("notice_not_given", account=str(person.account_id), fault=KeyFault.__name__)
            failed.add(person.account_id)
            continue
        if reachable:
            found.setdefault(person.account_id, []).append(person.person_id)
    return found


def _has_address(identity: Mapping[str, Any]) -> bool:
    try:
        check_address(identity["email"] or "")
    except ValueError:
        return False
    return True


def _given(tx: Tx, rows: Sequence[dict[str, Any]]) -> list[UUID]:
    """Enter notices; the accounts whose entry is ours."""
    if not rows:
        return []
    statement = insert(Notice).values(rows).on_conflict_do_nothing().returning(Notice.account_id)
    return list(tx.session.scalars(statement))


def _told(tx: Tx, policy: Policy, account: OpenedAccount) -> Mapping[str, mail_templates.Value]:
    """The values of a notice as things stand now. Raises DroppedError("not_due") when the day it told of is no more."""
    row, controller = account.row, policy.controller_of(account.row.service)
    day = due.purge_due_on(policy, row.created_at, row.last_traffic_at)
    query = select(func.max(Notice.given_at)).where(Notice.account_id == row.account_id, Notice.due_on == day)
    given_at = tx.session.scalar(query)
    free = select(Account.account_id).where(due.not_held(tx.now), ~people.kept_by_restriction())
    is_free = tx.session.scalar(free.where(Account.account_id == row.account_id)) is not None
    if given_at is None or not is_free or row.status != "active":
        raise DroppedError("not_due")
    return {
        "idle_since": due.last_activity(row.created_at, row.last_traffic_at).date(),
        "erased_on": max(day, (given_at + LAST_WORD).date()),
        "controller": controller.name,
        "address": ", ".join(controller.address),
        "country": mail_templates.country_name(controller.country),
    }
