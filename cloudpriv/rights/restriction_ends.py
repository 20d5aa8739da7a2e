"""The end of restrictions, as announced (GDPR Article 18(3)): the letter that says when and why, and then the end itself.

A row says when it ends, so that any schedule ends it, once, whoever was stopped before. It is judged by the clocks of host
and database both. Where somebody was not told by mail, it goes on until staff notes that they were (`restriction.lift_…`).
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy import ColumnElement, false, or_, select

from cloudpriv import mail_templates
from cloudpriv.audit import log as audit_log
from cloudpriv.controller import delivery, people
from cloudpriv.controller.accounts import OpenedAccount
from cloudpriv.controller.delivery import DroppedError, Values, Writer
from cloudpriv.controller.outbox import Mail
from cloudpriv.controller.tables import Account, Person
from cloudpriv.platform.actor import WORKER
from cloudpriv.platform.clock import APART
from cloudpriv.platform.db import Plane, Tx, database_time
from cloudpriv.rights import restriction
from cloudpriv.rights.letters import WORDS, told_of
from cloudpriv.rights.post import Post
from cloudpriv.rights.restriction_notice import ENDS, NOTICE, was_told

log = structlog.get_logger(__name__)

AT_ONCE: Final = 100


def advance(plane: Plane, clock: Callable[[], datetime]) -> int:
    """End every restriction whose end was told and has come by the clocks of host and database both; how many.

    In bounded transactions that skip what others have locked. One that was announced before the database was restored is
    announced again: nobody knows whether it was cancelled after the backup.
    """
    total, found = 0, AT_ONCE
    while found == AT_ONCE:
        with plane.transaction(WORKER, clock()) as tx:
            now = database_time(tx)
            if tx.now > now + APART:
                log.error("restrictions_wait", fault="clocks_apart")
                return total
            found = _end_due(tx, min(tx.now, now), _earliest_end(tx))
        total += found
    return total


def writers(post: Post) -> Mapping[str, Writer]:
    """How its mail is written, for `delivery.deliver`."""

    def ends(tx: Tx, account: OpenedAccount, mail: Mail) -> Values:
        person_id = mail.person_id or account.row.account_id  # `to_person` has found somebody
        whole = mail.subject_id == account.row.account_id
        row = account.row if whole else people.find_person(tx, account.row.account_id, person_id)
        if row.restriction_ends_at is None or row.restriction_end_ground is None:
            raise DroppedError("not_so_any_more")
        controller = post.policy.controller_of(account.row.service)
        return {
            "about": mail_templates.phrases(WORDS, "scopes")["account" if whole else "person"],
            "day": row.restriction_ends_at.date(),
            "ground": mail_templates.phrases(WORDS, "ends")[row.restriction_end_ground],
            "portal": post.portal,
            **told_of(post.policy.supervisory_authority),
            "controller": controller.name,
            "address": ", ".join(controller.address),
            "country": mail_templates.country_name(controller.country),
        }

    return {ENDS: delivery.to_person(ends)}


def _end_due(tx: Tx, now: datetime, earliest: datetime | None) -> int:
    """End up to AT_ONCE of accounts and of people each; the larger of both numbers, of what was looked at."""
    of_accounts = select(Account).where(Account.restriction_ends_at <= now, Account.status != "purging")
    of_accounts = of_accounts.where(_may_end(Account, earliest)).order_by(Account.restriction_ends_at).limit(AT_ONCE)
    whole = tx.session.scalars(of_accounts.with_for_update(key_share=True, skip_locked=True)).all()
    of_people = select(Person, Account).join(Account, Account.account_id == Person.account_id)
    of_people = of_people.where(Person.restriction_ends_at <= now, Account.status != "purging")
    of_people = of_people.where(_may_end(Person, earliest)).order_by(Person.restriction_ends_at).limit(AT_ONCE)
    locked = of_people.with_for_update(key_share=True, skip_locked=True)
    own = [person for person, _ in tx.session.execute(locked)]
    found: list[Account | Person] = [*whole, *own]
    for row in found:
        person_id = row.person_id if isinstance(row, Person) else None
        if earliest is not None and row.restriction_ends_at is not None and row.restriction_ends_at < earliest:
            restriction.announce(tx, row, person_id, earliest)
        else:
            for cause in restriction.causes(row):
                restriction.remove(tx, row, person_id, cause)
    return max(len(whole), len(own))


def _may_end(of: type[Account] | type[Person], earliest: datetime | None) -> ColumnElement[bool]:
    """That whoever obtained it was told, or is to be told again."""
    return or_(was_told(of), false() if earliest is None else of.restriction_ends_at < earliest)


def _earliest_end(tx: Tx) -> datetime | None:
    """Before when no restriction may end: the database was restored less than a notice ago. None where it never was."""
    newest = audit_log.newest_log(tx)
    return newest.begun_at + NOTICE if newest is not None and audit_log.has_begun_anew(tx) else None
