"""Whether whoever obtained a restriction was told of its end, as GDPR Article 18(3) wants before it is lifted.

By the mails that announced it: each was handed over, and none has come back. Where one was dropped, failed or bounced, or
nobody has an address, nothing is lifted, and staff tells the person by other means.
"""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, select

from cloudpriv.controller.outbox import Mail
from cloudpriv.controller.tables import Account, Person
from cloudpriv.platform.db import Tx

# From the letter that announces the end to the end: time to read it, and to complain or to ask for another restriction.
NOTICE: Final = timedelta(days=7)
ENDS: Final = "restriction_ends"  # the letter
LATE: Final = timedelta(days=2)  # after the announcement: by then the attempts at a mail are over


def was_told(of: type[Account] | type[Person]) -> ColumnElement[bool]:
    """That every mail which announced the end of a row's restriction reached its reader, and there was one."""
    subject = Person.person_id if of is Person else of.account_id
    about = and_(Mail.account_id == of.account_id, Mail.subject_id == subject, Mail.kind == ENDS)
    announced = and_(about, Mail.created_at >= of.restriction_ends_at - NOTICE)
    # Whoever was erased since has nothing to be told.
    missed = and_(announced, Mail.status != "sent", Mail.person_id.is_not(None))
    return and_(exists().where(announced, Mail.status == "sent").correlate(of), ~exists().where(missed).correlate(of))


def not_told(tx: Tx) -> list[tuple[UUID, UUID | None]]:
    """Whose restriction was to end though they were not told within LATE: account, and the person where it is of one."""
    alive = Account.status != "purging"
    of_accounts = select(Account.account_id).where(alive, Account.restriction_ends_at <= tx.now + NOTICE - LATE)
    whole = tx.session.scalars(of_accounts.where(~was_told(Account)).order_by(Account.restriction_ends_at)).all()
    of_people = select(Person.account_id, Person.person_id).join(Account, Account.account_id == Person.account_id)
    of_people = of_people.where(alive, Person.restriction_ends_at <= tx.now + NOTICE - LATE, ~was_told(Person))
    own = tx.session.execute(of_people.order_by(Person.restriction_ends_at))
    return [*((each, None) for each in whole), *((account_id, person_id) for account_id, person_id in own)]
