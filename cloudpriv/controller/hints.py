"""Password hints: asked for by whoever signs in, sent by mail to the registered address, told to nobody else."""

from uuid import UUID

from sqlalchemy import select

from cloudpriv.audit import events
from cloudpriv.controller import accounts, outbox, people
from cloudpriv.controller.tables import Person
from cloudpriv.platform.db import Tx
from cloudpriv.platform.ids import new_id


def ask_for_hint(tx: Tx, service: str | None, account_name: str, username: str) -> None:
    """Have a person's hint mailed to them, audited.

    By the same statements whether account and person are there or not; whether there is a hint and an address, the worker
    finds out. So neither the answer nor the time that it takes tells anybody who exists.
    """
    account = accounts.find_by_name(tx, service or "", account_name)
    account_id, person_id = None, None
    if account is not None:
        account_id = account.row.account_id
        person_id = _lock_person(tx, account_id, people.username_index(account.key, username))
    else:
        _lock_person(tx, new_id(), tx.keys.blind_index(people.USERNAME, username))
    outbox.queue_mail(tx, "hint", account_id if person_id else None, person_id)
    events.record(tx, "credentials.hint", account_id=account_id, subject_id=person_id)


def _lock_person(tx: Tx, account_id: UUID, username_index: bytes) -> UUID | None:
    """The person's id; the person cannot be erased before the mail's row stands."""
    query = select(Person.person_id).where(Person.account_id == account_id, Person.username_index == username_index)
    return tx.session.scalar(query.with_for_update(read=True, key_share=True))
