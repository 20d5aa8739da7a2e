"""Whether an account would be erased at this moment, and what stands in the way if not: one word and its reason."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from cloudpriv.audit import events
from cloudpriv.controller import people
from cloudpriv.controller.tables import Account
from cloudpriv.platform.db import Tx
from cloudpriv.platform.errors import NotFoundError
from cloudpriv.policy.register import Policy
from cloudpriv.retention import due, holds, notices
from cloudpriv.retention.due import DueAccount


class Word(StrEnum):
    """What becomes of an account."""

    FRESH = "fresh"  # not due
    DUE = "due"  # the next run erases it
    PARTLY = "partly"  # the next run erases what no hold covers
    NOTICE_PENDING = "notice_pending"  # its owners have not had their last notice for long enough
    HELD = "held"
    RESTRICTED = "restricted"  # GDPR Article 18
    CLOSING = "closing"  # on request, whatever its traffic
    PURGING = "purging"


@dataclass(frozen=True)
class Verdict:
    """The word, the day from which the account may be erased unless traffic comes, and why in words."""

    account_id: UUID
    verdict: Word
    purge_due_on: date
    reason: str


def judge(tx: Tx, policy: Policy, account_id: UUID) -> Verdict:
    """The verdict on an account at the time of the unit of work. Raises NotFoundError for one that is gone."""
    account = tx.session.get(Account, account_id)
    if account is None or tx.actor.service not in (None, account.service):
        raise NotFoundError
    events.record(tx, "retention.read", account_id=account_id)
    word, reason = _word(tx, policy, account)
    due_on = due.purge_due_on(policy, account.created_at, account.last_traffic_at)
    return Verdict(account_id, word, due_on, reason)


def _word(tx: Tx, policy: Policy, account: Account) -> tuple[Word, str]:
    held = holds.active(tx, account.account_id)
    kept = people.are_kept_by_restriction(tx, account.account_id)
    may_undo = "data of somebody in it is restricted" if kept else "may undo that" if account.closes_at else ""
    known = {
        "restricted": (Word.RESTRICTED, "its processing is restricted (GDPR Article 18)"),
        "closing": (Word.CLOSING, ", and ".join(filter(None, ["its holder asked for its erasure", may_undo]))),
        "purging": (Word.PURGING, "what a legal hold covers is left" if held else "its key is destroyed"),
    }
    if account.status != "purging" and any(each.scope == "account" for each in held):
        return Word.HELD, "a legal hold covers the account"
    if account.status in known:
        return known[account.status]
    if not due.is_due(policy, account, tx.now):
        return Word.FRESH, "it has been used within the period"
    if kept:
        return Word.RESTRICTED, "data of somebody in it is restricted (GDPR Article 18)"
    return _word_on_due(tx, policy, account, partly=bool(held))


def _word_on_due(tx: Tx, policy: Policy, account: Account, *, partly: bool) -> tuple[Word, str]:
    if notices.pending_among(tx, policy, [_as_due(policy, account)]):
        return Word.NOTICE_PENDING, f"its owners have not had the last notice for {notices.LAST_DAYS} days"
    if partly:
        return Word.PARTLY, "a legal hold covers a part of it; the rest is due"
    return Word.DUE, "it has not been used for the whole period"


def _as_due(policy: Policy, account: Account) -> DueAccount:
    anchor = due.last_activity(account.created_at, account.last_traffic_at)
    return DueAccount(account.account_id, account.service, anchor, due.rule(policy).erasable_from(anchor))
