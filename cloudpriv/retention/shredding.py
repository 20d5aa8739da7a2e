"""The beginning of an erasure: recheck, tell whoever is to be told, and shred the account's key.

It ends in a commit that moves the purge's row, and may be done again from its start, as every step after it.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from cloudpriv.audit import events
from cloudpriv.controller import log_data as told
from cloudpriv.controller import people
from cloudpriv.controller.tables import Account
from cloudpriv.platform.db import Tx, database_time
from cloudpriv.policy.register import Policy
from cloudpriv.processor.upkeep import erasure
from cloudpriv.retention import due, erase, log_data, progress
from cloudpriv.retention.lease import Grip, Unit
from cloudpriv.retention.progress import Stores
from cloudpriv.retention.tables import Hold

TOLD_AGAIN: Final = timedelta(minutes=1)  # at whether the mails that an erasure waits for were taken


def begin(grip: Grip, stores: Stores, policy: Policy) -> tuple[UUID, str | None]:
    """Recheck and shred, unless that was done before: the account, and the step to go on with, None to end here.

    From the recheck to the commit log data takes no point, which would be traffic; its key goes right after the account's.
    """
    with ExitStack() as until_shredded:
        with grip.unit_with_account() as (unit, account):
            account_id = account.account_id
            if unit.purge.step != "keys":
                return account_id, unit.purge.step
            held, now = progress.held(unit, account_id), min(unit.tx.now, database_time(unit.tx))
            if _may_not_begin(unit, account, policy, held, now) or _has_to_tell(unit, stores, account_id):
                return account_id, None
            across = until_shredded.enter_context(log_data.closed(stores.eraser, unit.tx.now))
            if across and _has_log_data_of_late(unit, across, account, policy, now):
                return account_id, None
            step = _shred(unit, account_id, held, log_data_follows=across is not None)
            account.status = "purging"
        if across:
            erasure.order(across, account_id)
    return account_id, step


def _may_not_begin(unit: Unit, account: Account, policy: Policy, held: Sequence[Hold], now: datetime) -> bool:
    """Whether the erasure ends here, since the account is not due, or waits for the end of a hold or a restriction."""
    tx, purge = unit.tx, unit.purge
    if purge.trigger == "policy":
        told.hear(tx, account)
        if _is_over(unit, account, policy, now):
            return True
        purge.rule, purge.policy_version = due.rule_name(policy), policy.version
    kept_whole = any(each.scope == "account" for each in held)
    restricted = purge.trigger != "replay" and _is_restricted(tx, account)
    if kept_whole or restricted:
        progress.put_off(unit, [] if restricted else held)
        purge.status = "planned"
        return True
    if account.status == "closing" and account.closes_at is not None and account.closes_at > now:
        progress.wait(unit, account.closes_at)  # its owner may still undo it
        return True
    return False


def _is_restricted(tx: Tx, account: Account) -> bool:
    """Whether the account is, or somebody's data in it."""
    return account.status == "restricted" or people.are_kept_by_restriction(tx, account.account_id)


def _has_to_tell(unit: Unit, stores: Stores, account_id: UUID) -> bool:
    """Whether the erasure waits until recipients of the data are told. Before a restore they were told already."""
    if stores.farewell is None or unit.purge.trigger == "replay" or stores.farewell(unit.tx, account_id):
        return False
    progress.wait(unit, unit.tx.now + TOLD_AGAIN)
    return True


def _has_log_data_of_late(unit: Unit, across: Tx, account: Account, policy: Policy, now: datetime) -> bool:
    """Whether the erasure ends here, since log data had traffic that nobody has told of yet."""
    by_policy = unit.purge.trigger == "policy"
    log_data.close(unit.tx, across, account, due.rule(policy).anchor_cutoff(now) if by_policy else None)
    return by_policy and _is_over(unit, account, policy, now)


def _is_over(unit: Unit, account: Account, policy: Policy, now: datetime) -> bool:
    """Cancel a purge by policy of an account that is not due; `now` is the slower clock: neither alone makes one due."""
    if due.is_due(policy, account, now):
        return False
    progress.close(unit, "cancelled")
    events.record(unit.tx, "purge.cancel", account_id=account.account_id, subject_id=unit.purge.purge_id)
    return True


def _shred(unit: Unit, account_id: UUID, held: Sequence[Hold], *, log_data_follows: bool) -> str:
    """Delete the data key; the step after that of log data, which a crash must not find with the account still there."""
    progress.count(unit, erase.shred_key(unit.tx, account_id, held))
    following = progress.after_log_data(unit, account_id)
    unit.purge.step = "logdata" if log_data_follows else following
    if unit.purge.step == "rows":
        unit.tx.session.execute(progress.MAY_BE_REPEATED)
    return following
