"""What tests of one-time codes start from: somebody, forms, codes, and what workers do about the mails."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select

from cloudpriv.bootstrap import Services
from cloudpriv.controller import accounts, delivery
from cloudpriv.controller.holder_tables import OneTimeCode
from cloudpriv.controller.outbox import Mail
from cloudpriv.platform.actor import Actor
from cloudpriv.platform.ids import new_id
from cloudpriv.rights import codes
from cloudpriv.rights.code_forms import LASTS, Purpose
from cloudpriv.rights.code_mails import written
from cloudpriv.rights.codes import UsedCode
from cloudpriv.rights.mail import writers
from tests.factories import NOW, make_account, make_person, transaction

INSTANT = timedelta.resolution
STRANGER = Actor("client", "unauthenticated", "talk2m")
Whose = tuple[UUID, UUID]


def somebody(services: Services) -> Whose:
    """Kim of acme-water, by account and id."""
    account_id = make_account(services, account_name="acme-water").row.account_id
    return account_id, make_person(services, account_id, username="kim").row.person_id


def send(services: Services, kim: Whose, purpose: Purpose = "identity", now: datetime = NOW) -> UUID:
    """A code that staff had sent."""
    with transaction(services, now=now) as tx:
        return codes.send(tx, *kim, purpose).code_id


def ask(services: Services, account_name: str = "acme-water", username: str = "kim", now: datetime = NOW, *,
        known: bool = False) -> UUID:  # fmt: skip
    """The form of a code that was asked for by names, by a stranger unless the browser is `known`."""
    with transaction(services, STRANGER, now) as tx:
        return codes.ask(tx, "talk2m", account_name, username, "identity", known=known)


def code_of(services: Services, kim: Whose, code_id: UUID) -> str:
    """The code of an id."""
    with transaction(services) as tx:
        return written(accounts.find_account(tx, kim[0]).key, code_id)


def use(services: Services, kim: Whose, code_id: UUID, typed: str, now: datetime = NOW,
        purpose: Purpose = "identity") -> UsedCode | None:  # fmt: skip
    """Type a code in a form."""
    with transaction(services, now=now) as tx:
        return codes.use(tx, kim[0], code_id, typed, purpose=purpose, person_id=kim[1])


def deliver_all(services: Services, now: datetime = NOW) -> list[str]:
    """Do what workers do about every mail; how each ended."""
    with transaction(services, now=now) as tx:
        waiting = delivery.unfinished(tx)
    for mail_id in waiting:
        delivery.deliver(services.controller, services.mailer, mail_id, lambda: now, writers(services.post))
    with transaction(services) as tx:
        mails = [tx.session.get_one(Mail, mail_id) for mail_id in waiting]
        return [each.status if each.status == "sent" else f"{each.status}: {each.failure}" for each in mails]


def fill_in(services: Services, kim: Whose, number: int, tries: int = 0) -> set[UUID]:
    """So many forms that strangers asked for at NOW, with these tries made; their ids."""
    whose = {"account_id": kim[0], "person_id": kim[1], "purpose": "identity", "known": False, "mailed": False}
    made = {new_id() for _ in range(number)}
    with transaction(services) as tx:
        when = {"created_at": NOW, "expires_at": NOW + LASTS}
        tx.session.add_all(OneTimeCode(code_id=code_id, tries=tries, **whose, **when) for code_id in made)
    return made


def mailed(services: Services) -> list[datetime]:
    """When codes were asked for that were mailed."""
    with transaction(services) as tx:
        query = select(OneTimeCode.created_at).where(OneTimeCode.mailed).order_by(OneTimeCode.created_at)
        return list(tx.session.scalars(query))
